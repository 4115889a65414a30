"""Values of declared fields: whether a source's JSON value is of its field's type."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dr_pipelines.model.collection import Field, FieldType

TITLE = "title"
"""A declared field of this name is the document's title unless the metadata have their own."""
LARGEST_INTEGER = 2**63 - 1
SHOWN_CHARACTERS = 60

FindMisfit = Callable[[dict[str, Any], str | None], str | None]
"""What of a document's metadata and title does not fit the declared fields; None where all does."""


class WrongType(ValueError):
    """A value that is not of its field's type."""


@dataclass(frozen=True, slots=True)
class FieldTypes:
    """How a source finds documents whose values are not of the types that a collection declares.
    Equal ones look equal when they are printed: a glance at a source goes by that."""

    fields: tuple[Field, ...]

    def __call__(self, metadata: dict[str, Any], title: str | None) -> str | None:
        for field in self.fields:
            value = metadata.get(field.name)
            if value is None and field.name == TITLE and TITLE not in metadata:
                value = title
            try:
                if value is not None:
                    cast(value, field.type)
            except WrongType:
                return described(field, value)
        return None


def described(field: Field, value: Any) -> str:
    """The problem with a value, in words."""
    shown = repr(value)
    if len(shown) > SHOWN_CHARACTERS:
        shown = shown[: SHOWN_CHARACTERS - 3] + "..."
    return f"{field.name} is {shown}, expected {field.type}"


def cast(value: Any, type_: FieldType) -> Any:
    """The value as its field keeps it; raises `WrongType`."""
    if type_ is FieldType.TIMESTAMP:
        return _timestamp(value)
    if type_ is FieldType.STRINGS:
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return value
        raise WrongType
    return _scalar(value, type_)


def _scalar(value: Any, type_: FieldType) -> Any:
    boolean = isinstance(value, bool)
    whole = isinstance(value, int) and not boolean and abs(value) <= LARGEST_INTEGER
    fits = {
        FieldType.STRING: isinstance(value, str),
        FieldType.INTEGER: whole,
        FieldType.NUMBER: whole or isinstance(value, float),
        FieldType.BOOLEAN: boolean,
    }
    if not fits[type_]:
        raise WrongType
    return float(value) if type_ is FieldType.NUMBER else value


def _timestamp(value: Any) -> datetime:
    """An aware ISO 8601 time, or a date: its first instant in UTC."""
    try:
        time = datetime.fromisoformat(value)
        aware = time if time.tzinfo or len(value) > len("2026-01-01") else time.replace(tzinfo=UTC)
        instant = aware.astimezone(UTC) if aware.tzinfo else None
    except (TypeError, ValueError, OverflowError) as error:
        raise WrongType from error
    if instant is None:
        raise WrongType
    return instant
