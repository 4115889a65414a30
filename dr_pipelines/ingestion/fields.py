"""Declared fields of a collection, taken from the metadata of documents."""

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.base import canonical_json
from dr_pipelines.model.collection import CollectionSpec, Field
from dr_pipelines.model.record import ARROW_TYPES
from dr_pipelines.sources.values import (
    TITLE,
    WrongType,
    cast,
    described,
)

EXAMPLES = 5


def declared_and_extra(changes: pa.Table, spec: CollectionSpec) -> tuple[list[pa.Array], pa.Array]:
    """One array a declared field and the rest of the metadata as canonical JSON (null where there
    is no rest), a value a document. Raises `InvalidRequest` that lists up to five values of the
    wrong type: a source that knows the fields has quarantined their documents before."""
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
            values.append(None if value is None else cast(value, field.type))
        except WrongType:
            problems.append(f"document {id_!r}: {described(field, value)}")
    return None if problems else pa.array(values, ARROW_TYPES[field.type])


def _rest(metadata: dict[str, Any], spec: CollectionSpec) -> str | None:
    rest = {key: value for key, value in metadata.items() if not spec.field(key)}
    return canonical_json(rest).decode() if rest else None
