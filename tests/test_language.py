"""Names are the field's nouns, and docstrings begin with the thing that they describe."""

import ast
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks import house

ROOT = Path(__file__).resolve().parent.parent
TREES = ("assets", "benchmarks", "dr_pipelines", "examples", "tests")
INTERFACE = frozenset([("dr_pipelines/model/parts.py", "found")])
"""Names that are keys of the JSON which commands print."""

Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Offences:
    """Places in a file: names that are participles, docstrings that begin with a question word."""

    names: list[str]
    docstrings: list[str]


@pytest.fixture(scope="module")
def offences() -> dict[str, Offences]:
    """By file. Each is parsed once, and no tree is kept: all together are 200 MB."""
    files = (path for tree in TREES for path in sorted((ROOT / tree).rglob("*.py")))
    return {path.relative_to(ROOT).as_posix(): _offences(path) for path in files}


def _offences(path: Path) -> Offences:
    name, tree = path.relative_to(ROOT).as_posix(), ast.parse(path.read_text())
    return Offences(participles(name, tree), indirect_docstrings(name, tree))


def participles(path: str, tree: ast.Module) -> list[str]:
    """Places where a module binds a name in dialect."""
    return [
        f"{path}:{getattr(node, 'lineno', 1)}: {name}"
        for node in ast.walk(tree)
        for name in house.bound_names(node)
        if name.lstrip("_") in house.DIALECT and (path, name) not in INTERFACE
    ]


def indirect_docstrings(path: str, tree: ast.Module) -> list[str]:
    """Places of docstrings that begin with a question word."""
    return [
        f"{path}:{getattr(node, 'lineno', 1)}: {text.splitlines()[0]}"
        for node in ast.walk(tree)
        if isinstance(node, Documented)
        if re.match(r"What\b|Whether\b", text := ast.get_docstring(node) or "")
    ]


def test_names_say_what_a_value_is(offences: dict[str, Offences]) -> None:
    assert [place for places in offences.values() for place in places.names] == []


def test_no_docstring_begins_with_a_question_word(offences: dict[str, Offences]) -> None:
    assert [place for places in offences.values() for place in places.docstrings] == []


@pytest.mark.parametrize(
    "line",
    [
        "found = 1",
        "for kept in (): pass",
        "def wanted(): pass",
        "def f(*, said): pass",
        "class A:\n    known: int",
        "self._asked = 1",
        "with f() as held: pass",
        "(given := 1)",
        "try: pass\nexcept Error as told: pass",
        "match f():\n    case [*_] as found: pass",
        "match f():\n    case [*kept]: pass",
        "match f():\n    case {**held}: pass",
        "async def wanted(): pass",
        "class asked: pass",
        "import a as known",
        "from a import b as said",
    ],
)
def test_a_participle_is_recognised(line: str) -> None:
    assert len(participles("a.py", ast.parse(line))) == 1


def test_reading_what_others_named_is_no_offence() -> None:
    tree = ast.parse("from hypothesis import given\n@given(x)\ndef f(x):\n    return x.found")
    assert participles("a.py", tree) == []


@pytest.mark.parametrize("word", ["What it is.", "Whether it is."])
def test_a_question_word_is_recognised(word: str) -> None:
    assert len(indirect_docstrings("a.py", ast.parse(f'def f():\n    """{word}"""'))) == 1
