"""The measurement of the source tree, on a tiny tree whose figures are counted by hand."""

import ast
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import house
from benchmarks.corpora import ROOT

TREE = {
    "pyproject.toml": """
        [[tool.importlinter.contracts]]
        type = "layers"
        layers = ["b", "a | c", "base"]
        """,
    "README.md": "One sentence. Is this another?\n\n```\nno. sentence. here.\n```\n",
    "docs/deep/page.md": "Version 1.2 is one (sentence.) *Two!*\n",
    "dr_pipelines/__init__.py": '"""Nothing."""\n',
    "dr_pipelines/.hidden": "",
    "dr_pipelines/__pycache__/base.pyc": "",
    "dr_pipelines/base.py": '''
        """What all need."""


        def twice(value, *, times=2):
            """Whether it is long is no question."""
            return value * times
        ''',
    "dr_pipelines/a/__init__.py": "",
    "dr_pipelines/a/one.py": '''
        from dr_pipelines import base
        from . import two
        from .two import Held


        def outer(first, second, third, *, times, renamed):
            """Whatever `first`, `times`, `renamed` are is passed on; `third` is not used."""
            found = base.twice(first, times=times)
            base.twice(value=renamed)
            return found + base.twice(second) + second
        ''',
    "dr_pipelines/a/two.py": '''
        class Held:
            """With a capital it is no name in dialect; its attributes are."""

            kept: int

            def said(self, *told, **options):
                self.known = self.kept
                return twice(*told, **options)
        ''',
    "dr_pipelines/b/__init__.py": "",
    "dr_pipelines/b/deeper/__init__.py": "",
    "dr_pipelines/b/deeper/three.py": """
        import dr_pipelines.a.one


        def late():
            from dr_pipelines.c.four import Held
        """,
    "dr_pipelines/c/__init__.py": "from dr_pipelines.c.four import Held\n",
    "dr_pipelines/c/four.py": "from dr_pipelines.a.two import Held\n",
    "assets/__init__.py": "import dr_pipelines.base\n",
    "tests/test_it.py": """
        import pytest


        def test_short():
            pass


        @pytest.mark.long
        def test_long():
            pass
        """,
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, text in TREE.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(inspect.cleandoc(text) + "\n" if text.strip() else "")
    return tmp_path


def test_the_figures_of_a_small_tree(tree: Path) -> None:
    assert house.measure(tree)["figures"] == {
        "entries of `ls dr_pipelines`": 5,  # a, b, c, base.py, __init__.py
        "rooms": 3,
        "packages at every depth": 5,  # the three, the one inside b, and dr_pipelines itself
        "arrows between entries": 4,
        "arrows between packages": 4,
        "entries in circles": 0,
        "floors (longest chain of entries)": 4,  # b → c → a → base.py
        "layers of the import contract": 3,
        "modules": 11,
        "modules over 300 lines": 0,
        "modules over 400 lines": 0,
        "largest module": "10 (dr_pipelines/a/one.py)",
        "largest function": "5 (dr_pipelines/a/one.py:6 outer)",
        "largest class": "8 (dr_pipelines/a/two.py:1 Held)",
        "functions": 4,
        "functions over 20 lines": 0,
        "parameters": 7,
        "parameters only passed on": 3,
        "… each time as the keyword of their name": 1,  # `times`
        'docstrings that begin with "What" or "Whether"': 2,
        "names in dialect": 5,
        "sentences in docs": 4,
    }


def test_the_rows_of_a_small_tree(tree: Path) -> None:
    figures = house.measure(tree)
    assert figures["lines by package"] == {
        "assets": 1,
        "dr_pipelines": 7,
        "dr_pipelines/a": 18,
        "dr_pipelines/b/deeper": 5,
        "dr_pipelines/c": 2,
    }
    assert figures["arrows out of"] == {"a": 1, "b": 2, "c": 1}
    assert figures["arrows into"] == {"a": 2, "base.py": 1, "c": 1}
    assert figures["names in dialect"] == dict.fromkeys(
        ["found", "kept", "known", "said", "told"], 1
    )
    assert figures["lines"]["tests"] == 10


def test_entries_that_import_each_other_share_a_floor(tree: Path) -> None:
    (tree / "dr_pipelines/base.py").write_text("import dr_pipelines.c.four\n")
    figures = house.measure(tree)["figures"]
    assert figures["entries in circles"] == 3  # a → base.py → c → a
    assert figures["floors (longest chain of entries)"] == 2


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("g(x)", {"x": False}),
        ("g(x=x)", {"x": True}),
        ("g(x=x); h(x)", {"x": False}),
        ("g(x.y)", {}),
        ("g(*x)", {}),
        ("g(**x)", {}),
        ("g(x); return x", {}),
        ("x = g(x)", {}),
        ("x(1)", {}),
        ("pass", {}),
        ("(lambda: g(x))()", {"x": False}),
    ],
)
def test_a_parameter_is_only_passed_on(body: str, expected: dict[str, bool]) -> None:
    function = ast.parse(f"def f(self, x, *rest, **options): {body}").body[0]
    assert isinstance(function, ast.FunctionDef)
    assert house.passed_on(function) == expected


def test_two_measurements_stand_beside_each_other(tree: Path) -> None:
    before, after = tree / "before.json", tree / "after.json"
    program: list[str | Path] = [sys.executable, ROOT / "benchmarks" / "house.py"]
    options = ["--ids", "--add", "minutes of `make test`=12.1"]

    subprocess.run([*program, tree, *options, "--json", before], check=True, capture_output=True)
    figures = json.loads(before.read_text())
    figures["figures"] |= {"rooms": 17}
    del figures["lines"]["tests"]
    after.write_text(json.dumps(figures))
    printed = subprocess.run([*program, before, after], check=True, capture_output=True, text=True)

    rows = printed.stdout.splitlines()
    assert rows[:2] == ["| figures | before | after |", "| --- | --: | --: |"]
    assert "| rooms | 3 | 17 |" in rows
    assert "| tests | 10 | – |" in rows
    assert "| tests collected, without `long` | 1 | 1 |" in rows
    assert "| minutes of `make test` | 12.1 | 12.1 |" in rows
