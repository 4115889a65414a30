"""Tests that pages of the documentation name, as `path::name`."""

import ast
from collections.abc import Iterable
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]


def missing(names: Iterable[str]) -> list[str]:
    """Those that no file defines. Only the file is read: some need what this machine may lack."""
    return [name for name in names if not _is_there(name)]


def _is_there(name: str) -> bool:
    path, _, test = name.partition("::")
    return (ROOT / path).is_file() and test in _defined(path)


@cache
def _defined(path: str) -> frozenset[str]:
    body = ast.parse((ROOT / path).read_text()).body
    functions = (node.name for node in body if isinstance(node, ast.FunctionDef))
    return frozenset(name for name in functions if name.startswith("test_"))
