"""YAML as plain values, with the place where each was written.

The core schema of YAML 1.2: `yes`, `on`, `1:30` and `2026-01-05` are text. Tags, merge keys and
keys that are not text are refused; anchors and aliases are allowed within bounds.
"""

import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import yaml

from dr_pipelines.model.notation import VARIABLE, holds_secret

Path = tuple[str | int, ...]

MAX_DEPTH = 16
MAX_NODES = 20_000
SHOWN = 60
PLAIN_TYPES = ("null", "bool", "int", "float", "str", "timestamp", "value", "seq", "map")
PLAIN_TAGS = frozenset(f"tag:yaml.org,2002:{name}" for name in PLAIN_TYPES)
INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
NUMBER = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})(\.[0-9]{1,17})?([eE][-+]?[0-9]{1,2})?")
CONSTANTS = {"": None, "~": None, "null": None, "true": True, "false": False}


class Mark(NamedTuple):
    """A place in the text, counted from 1."""

    line: int
    column: int


class Spot(NamedTuple):
    """Where a key and its value stand, and the value as it may be shown."""

    key: Mark
    value: Mark
    shown: str


class Problem(NamedTuple):
    """Something wrong at a path; ordered by place."""

    mark: Mark
    path: Path
    text: str


@dataclass(frozen=True, slots=True)
class Document:
    """The values of a text; what could not be understood is None and has a problem."""

    value: Any = None
    spots: dict[Path, Spot] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


START = Mark(1, 1)


def read_document(text: str) -> Document:
    """Read the only document of a text; never raises for what the text says."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        return Document(problems=[_syntax_problem(error)])
    except RecursionError:
        return Document(problems=[_too_large()])
    if node is None:
        return Document()
    reader = _Reader()
    try:
        value = reader.read(node, (), key=START)
    except _TooLarge:
        return Document(problems=[_too_large()])
    return Document(value, reader.spots, reader.problems)


def scalar(text: str) -> str | int | float | bool | None:
    """The value of an unquoted scalar."""
    if text in CONSTANTS:
        return CONSTANTS[text]
    if INTEGER.fullmatch(text):
        return int(text)
    return float(text) if NUMBER.fullmatch(text) else text


def shown(text: str, value: Any) -> str:
    """A scalar for a message: as written, cut when long, without a secret."""
    if value is None:
        return "nothing"
    if holds_secret(text):
        return "a URL with a secret"
    cut = text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
    return repr(cut) if isinstance(value, str) else cut


def _mark(mark: yaml.Mark) -> Mark:
    return Mark(mark.line + 1, mark.column + 1)


class _TooLarge(Exception):
    """More levels or values, aliases followed, than policies can have."""


def _too_large() -> Problem:
    message = f"found too much, expected at most {MAX_DEPTH} levels and {MAX_NODES} values"
    return Problem(START, (), message)


def _syntax_problem(error: yaml.YAMLError) -> Problem:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        message = ", ".join(part for part in (error.context, error.problem) if part)
        return Problem(_mark(error.problem_mark), (), f"this is not YAML: {message}")
    if isinstance(error, yaml.reader.ReaderError):
        return Problem(START, (), f"this is not YAML: it holds the character {error.character!r}")
    return Problem(START, (), "this is not YAML")


class _Reader:
    """Walks the nodes once, noting places and problems."""

    def __init__(self) -> None:
        self.spots: dict[Path, Spot] = {}
        self.problems: list[Problem] = []

    def read(self, node: yaml.Node, path: Path, *, key: Mark) -> Any:
        """The node's plain value."""
        mark = _mark(node.start_mark)
        if len(path) > MAX_DEPTH or len(self.spots) >= MAX_NODES:
            raise _TooLarge
        self.spots[path] = Spot(key, mark, "a value")
        if node.tag not in PLAIN_TAGS:
            return self._refuse(mark, path, "found a tag, expected a plain value")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        return self._sequence(node.value, path)

    def _refuse(self, mark: Mark, path: Path, message: str) -> None:
        self.problems.append(Problem(mark, path, message))

    def _scalar(self, node: yaml.ScalarNode, path: Path) -> Any:
        mark, text = _mark(node.start_mark), node.value
        value = scalar(text) if node.style is None else text
        is_key = path[-1:] == ("api_key",) and not VARIABLE.fullmatch(text)
        message = "a key" if is_key else shown(text, value)
        self.spots[path] = self.spots[path]._replace(shown=message)
        if not text.replace("\n", "").replace("\t", "").isprintable():
            return self._refuse(mark, path, "found a control character, expected text")
        if holds_secret(text):
            message = f"found {shown(text, value)}, expected ${{NAME}} in its place"
            return self._refuse(mark, path, message)
        return value

    def _sequence(self, nodes: list[yaml.Node], path: Path) -> list[Any]:
        words = "a list" if nodes else "an empty list"
        self.spots[path] = self.spots[path]._replace(shown=words)
        return [
            self.read(node, (*path, index), key=_mark(node.start_mark))
            for index, node in enumerate(nodes)
        ]

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        message = "a mapping" if node.value else "an empty mapping"
        self.spots[path] = self.spots[path]._replace(shown=message)
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            mark, name = _mark(key_node.start_mark), self._key(key_node, path)
            if name is None:
                continue
            if name in values:
                first = self.spots[(*path, name)].key.line
                message = f"found the key twice, expected it once; it is also on line {first}"
                self._refuse(mark, (*path, name), message)
                continue
            values[name] = self.read(value_node, (*path, name), key=mark)
        return values

    def _key(self, node: yaml.Node, path: Path) -> str | None:
        plain = isinstance(node, yaml.ScalarNode) and node.tag in PLAIN_TAGS
        if not plain or not node.value.isprintable():
            message = "found a key that is not plain text, expected the name of a key"
            self._refuse(_mark(node.start_mark), path, message)
            return None
        return str(node.value)
