"""Running a contract suite against something that should fail it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest


def failing(suite: type, *, only: str = "test_", **fixtures: Callable[[], Any]) -> set[str]:
    """Names of the suite's tests that fail, of those that start with `only`; each test gets its
    fixtures from fresh calls.

    Knows fixtures passed here and one `parametrize` per test; a test with other needs is an error.
    """
    return {
        name
        for name in dir(suite)
        if name.startswith(only) and not _passes(getattr(suite(), name), fixtures)
    }


def _passes(test: Callable[..., None], fixtures: dict[str, Callable[[], Any]]) -> bool:
    for arguments in _parameters(test):
        values = {name: make() for name, make in fixtures.items()}
        try:
            test(**values, **arguments)
        except (Exception, pytest.fail.Exception):  # noqa: BLE001 - a test fails by raising anything
            return False
    return True


def _parameters(test: Callable[..., None]) -> Iterator[dict[str, Any]]:
    marks = [mark for mark in getattr(test, "pytestmark", []) if mark.name == "parametrize"]
    if not marks:
        yield {}
    for mark in marks:
        for value in mark.args[1]:
            yield {mark.args[0]: value}
