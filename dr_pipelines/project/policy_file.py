"""`policies.yaml` → `Policies`, or every problem of the file at once, each with its place."""

import json
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.notation import Surroundings, did_you_mean
from dr_pipelines.model.policy import Policies
from dr_pipelines.project.policy_places import (
    START,
    Document,
    Mark,
    Problem,
    read_document,
)
from dr_pipelines.project.policy_places import Path as KeyPath
from dr_pipelines.project.policy_schema import Schema, kinds, policy_schema, schema_at
from dr_pipelines.stores import engines

MAX_BYTES = 1 << 20
WAY_OUT = "give another file with --policies FILE, or write one: dr init WHAT"

QUOTE = "'"
CHOICE = re.compile(r"'([^']+)'")
EXPECTED = {
    "bool_type": "true or false",
    "date_from_datetime_inexact": "a date such as 2026-01-05",
    "date_from_datetime_parsing": "a date such as 2026-01-05",
    "date_parsing": "a date such as 2026-01-05",
    "date_type": "a date such as 2026-01-05",
    "dict_type": "a mapping",
    "enum": "{expected}",
    "float_type": "a number",
    "greater_than": "a number above {gt:g}",
    "greater_than_equal": "a number of at least {ge:g}",
    "int_from_float": "a whole number",
    "int_type": "a whole number",
    "less_than_equal": "a number of at most {le:g}",
    "literal_error": "{expected}",
    "model_type": "a mapping",
    "string_pattern_mismatch": "text that matches {pattern}",
    "string_too_long": "at most {max_length} characters",
    "string_too_short": "text that is not empty",
    "string_type": "text",
    "too_short": "at least {min_length} entry",
    "tuple_type": "a list",
    "union_tag_invalid": "one of {expected_tags}",
}
"""What pydantic's errors mean, by type."""


class InvalidPolicy(InvalidRequest):
    """Ask for something else: the policies file is missing, unreadable or wrong."""


def load_policies(path: Path, environ: Mapping[str, str]) -> Policies:
    """Read and check a policies file.

    Variables must be set, and what they hold is checked, but `Policies` keeps `${NAME}`. Raises
    `InvalidPolicy`, whose text has a line `file:line:column: key: found …, expected …` for every
    problem, in the order of the file. A text that was checked before with the same variables is not
    checked again: a scheduler opens the file for each of many collections, every few seconds.
    """
    policies, problems = _checked(text_of(path), frozenset(environ.items()))
    if problems or policies is None:
        raise InvalidPolicy(in_lines(path, problems))
    return policies


def in_lines(path: Path, problems: Iterable[Problem]) -> str:
    """A line for each problem, in the order of the file."""
    lines = [_line(path, problem) for problem in sorted(problems)]
    return "\n".join(dict.fromkeys(lines))


def text_of(path: Path, *, what: str = "a policies file", way_out: str = WAY_OUT) -> str:
    """The text of a file of people's. Raises `InvalidPolicy`."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise InvalidPolicy(f"{path}: there is no such file; {way_out}") from None
    except OSError as error:
        raise InvalidPolicy(f"{path}: cannot be read: {error.strerror}; {way_out}") from None
    if len(data) > MAX_BYTES:
        raise InvalidPolicy(f"{path}: larger than {MAX_BYTES} bytes, too large for {what}")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InvalidPolicy(f"{path}:{line}:1: this is not text in UTF-8") from None
    return text


@lru_cache(maxsize=2)
def _checked(
    text: str, environ: frozenset[tuple[str, str]]
) -> tuple[Policies | None, tuple[Problem, ...]]:
    policies, problems = _validate(read_document(text), dict(environ))
    return policies, tuple(problems)


def _validate(
    document: Document, environ: Mapping[str, str]
) -> tuple[Policies | None, list[Problem]]:
    if not document.spots:
        empty = Problem(START, (), f"the file is empty; {WAY_OUT}")
        return None, document.problems or [empty]
    try:
        policies = Policies.model_validate_json(
            json.dumps(document.value), context=_surroundings(document.value, environ)
        )
    except ValidationError as error:
        paths = {problem.path for problem in document.problems}
        problems = problems_of(document, error, policy_schema())
        return None, document.problems + [p for p in problems if p.path not in paths]
    return policies, document.problems


def problems_of(document: Document, error: ValidationError, schema: Schema) -> list[Problem]:
    """The errors of a model, in the words of the file; `schema` is the model's."""
    details = error.errors(include_url=False)
    return [_problem(document, detail, schema) for detail in details]


def _surroundings(value: Any, environ: Mapping[str, str]) -> Surroundings:
    """The names that may be used, read before anything is known to be well formed."""
    top = value if isinstance(value, dict) else {}
    stores, embedders = (_mapping(top.get(key)) for key in ("stores", "embedders"))
    named = {name: str(_mapping(part).get("kind")) for name, part in embedders.items()}
    return Surroundings(
        stores=tuple(stores),
        embedders=named,
        environ=environ,
        require_store_url=_require_store_url,
    )


def _require_store_url(url: str) -> None:
    if not engines.is_store_url(url):
        raise ValueError(f"expected {engines.url_forms()}")


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _problem(document: Document, detail: ErrorDetails, schema: Schema) -> Problem:
    """A pydantic error in the words of the file."""
    location, kind = detail["loc"], detail["type"]
    path = _path(document, location)
    if kind.startswith("union_tag"):
        path = (*path, "kind")
    spot = document.spots.get(path)
    if spot is None:
        return Problem(_parent_mark(document, path), path, _missing(detail, schema))
    if kind == "extra_forbidden":
        return Problem(spot.key, path, _unknown_key(location, schema))
    at_key = location[-1:] == ("[key]",) or spot.shown.endswith("mapping")
    shown = repr(path[-1]) if location[-1:] == ("[key]",) else spot.shown
    message = f"found {shown}, {_expected(detail, shown)}"
    return Problem(spot.key if at_key else spot.value, path, message)


def _path(document: Document, location: tuple[str | int, ...]) -> KeyPath:
    """The error's place in the file: without the kinds that pydantic puts into its own."""
    path: KeyPath = ()
    for step in location:
        tag = document.spots.get((*path, "kind"))
        is_kind = (*path, step) not in document.spots and tag and tag.shown == repr(step)
        path = path if is_kind or step == "[key]" else (*path, step)
    return path


def _parent_mark(document: Document, path: KeyPath) -> Mark:
    """Where the nearest enclosing key stands."""
    while path not in document.spots:
        path = path[:-1]
    return document.spots[path].key


def _missing(detail: ErrorDetails, schema: Schema) -> str:
    error = detail.get("ctx", {}).get("error")
    if error is not None:
        return f"missing, {error}"
    here = schema_at(schema, detail["loc"])
    return f"missing, expected: {' or '.join(kinds(here)) or here['description']}"


def _unknown_key(location: tuple[str | int, ...], schema: Schema) -> str:
    keys = schema_at(schema, location[:-1]).get("properties", {})
    hint = did_you_mean(str(location[-1]), keys)
    return f"found an unknown key, expected one of: {', '.join(sorted(keys))}{hint}"


def _expected(detail: ErrorDetails, shown: str) -> str:
    context = detail.get("ctx", {})
    if detail["type"] == "value_error":
        return str(context["error"])
    template = EXPECTED.get(detail["type"])
    if template is None:
        return f"which is wrong: {detail['msg']}"
    expected = template.format_map(context)
    return f"expected {expected}{did_you_mean(shown.strip(QUOTE), re.findall(CHOICE, expected))}"


def _line(path: Path, problem: Problem) -> str:
    key = ".".join(map(str, problem.path))
    where = f"{path}:{problem.mark.line}:{problem.mark.column}"
    return f"{where}: {key}: {problem.text}" if key else f"{where}: {problem.text}"
