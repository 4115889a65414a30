"""Ids of parametrised tests: what a value is, where pytest would give it a number."""

import dataclasses
from collections.abc import Iterable, Mapping, Set
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import partial
from pathlib import PurePath
from types import FunctionType
from uuid import UUID

import pytest
from pydantic import BaseModel

LONGEST = 60
PLAIN = (str, int, float, complex, bool, type(None), Enum)
WRITTEN = (date, time, timedelta, Decimal, PurePath, UUID)


def pytest_make_parametrize_id(val: object) -> str | None:
    """A name made of a value's parts; None where pytest's own is one already."""
    if isinstance(val, (str, bytes)):
        return _written(val)
    if isinstance(val, (*PLAIN, type)):
        return None
    name = "-".join(_parts(val))
    return _written(name) or type(val).__name__


def _written(text: str | bytes) -> str:
    """The beginning of a text, on one line of ASCII."""
    beginning = text[:LONGEST]
    decoded = beginning if isinstance(beginning, str) else beginning.decode("latin-1")
    return decoded.encode("unicode_escape").decode("ascii")[:LONGEST]


def _parts(value: object) -> Iterable[str]:
    if isinstance(value, FunctionType):
        yield from _named_by(value)
    elif isinstance(value, partial):
        yield from _parts(value.func)
        yield from _parts(value.args)
    elif isinstance(value, BaseException):
        yield f"{type(value).__name__}({value})"
    elif isinstance(value, type):
        yield value.__name__
    elif isinstance(value, Enum):
        yield value.name
    elif isinstance(value, (*PLAIN, *WRITTEN)):
        yield str(value)
    elif isinstance(value, bytes):
        yield value.decode("latin-1")
    else:
        yield from _members(value)


def _members(value: object) -> Iterable[str]:
    """Of something that has parts; other things are named by their type."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield f"{key}={','.join(_parts(each))}"
    elif isinstance(value, Set):
        yield from sorted(",".join(_parts(each)) for each in value)
    elif isinstance(value, (tuple, list)):
        for each in value:
            yield ",".join(_parts(each))
    elif isinstance(value, BaseModel):
        yield from _members({name: getattr(value, name) for name in sorted(value.model_fields_set)})
    elif dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
        yield type(value).__name__
        yield from _members({name: getattr(value, name) for name in names})
    else:
        yield str(getattr(value, "__name__", None) or type(value).__name__)


def _named_by(function: FunctionType) -> Iterable[str]:
    """A function's name, or what a lambda calls."""
    if function.__name__ != "<lambda>":
        yield function.__name__
    else:
        constants = [c for c in function.__code__.co_consts if isinstance(c, (str, int, float))]
        yield from function.__code__.co_names
        yield from map(str, constants)


def numbered(items: Iterable[pytest.Item]) -> list[str]:
    """Ids of which a part is a parameter's name, or `<lambda>`, with a number."""
    places = []
    for item in items:
        call = getattr(item, "callspec", None)
        parts = item.name.partition("[")[2].removesuffix("]").split("-") if call else []
        names = {*call.params, "<lambda>"} if call else set()
        if any(part.rstrip("0123456789") in names and part not in names for part in parts):
            places.append(item.nodeid)
    return places
