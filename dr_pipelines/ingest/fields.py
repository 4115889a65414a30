"""Declared fields of a collection, taken from the metadata of documents."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.base import canonical_json
from dr_pipelines.model.collection import CollectionSpec, Field, FieldType
from dr_pipelines.model.record import ARROW_TYPES

EXAMPLES = 5
TITLE = "title"
"""A declared field of this name is the document's title unless the metadata have their own."""
LARGEST_INTEGER = 2**63 - 1


class WrongType(ValueError):
    """A value that is not of its field's type."""


def declared_and_extra(changes: pa.Table, spec: CollectionSpec) -> tuple[list[pa.Array], pa.Array]:
    """One array a declared field and the rest of the metadata as canonical JSON (null where there
    is no rest), a value a document. Raises `InvalidRequest` that lists up to five values of the
    wrong type."""
    documents: list[dict[str, Any]] = [
        json.loads(text) if text else {} for text in changes["metadata"].to_pylist()
    ]
    if spec.field(TITLE):
        for metadata, title in zip(documents, changes["title"].to_pylist(), strict=True):
            metadata.setdefault(TITLE, title)
    problems: list[str] = []
    ids = changes["document_id"].to_pylist()
    columns = [_column(field, documents, ids, problems) for field in spec.fields]
    if problems:
        shown = "; ".join(problems[:EXAMPLES])
        more = f"; and {len(problems) - EXAMPLES} more" if len(problems) > EXAMPLES else ""
        raise InvalidRequest(
            f"{len(problems)} values are not of the type their field declares: {shown}{more}. "
            "Correct the source, or declare another type"
        )
    return columns, pa.array([_rest(metadata, spec) for metadata in documents], pa.string())


def _column(
    field: Field, documents: Sequence[dict[str, Any]], ids: Sequence[str], problems: list[str]
) -> pa.Array:
    values: list[Any] = []
    for id_, metadata in zip(ids, documents, strict=True):
        value = metadata.get(field.name)
        try:
            values.append(None if value is None else _cast(value, field.type))
        except WrongType:
            shown = repr(value) if len(repr(value)) <= 60 else repr(value)[:57] + "..."
            problems.append(f"document {id_!r}: {field.name} is {shown}, expected {field.type}")
    return None if problems else pa.array(values, ARROW_TYPES[field.type])


def _rest(metadata: dict[str, Any], spec: CollectionSpec) -> str | None:
    rest = {key: value for key, value in metadata.items() if not spec.field(key)}
    return canonical_json(rest).decode() if rest else None


def _cast(value: Any, type_: FieldType) -> Any:
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
        found = aware.astimezone(UTC) if aware.tzinfo else None
    except (TypeError, ValueError, OverflowError) as error:
        raise WrongType from error
    if found is None:
        raise WrongType
    return found
