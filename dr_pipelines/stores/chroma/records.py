"""Records of our own layout: columns as metadata that Chroma can hold and filter by.

A record has its text as document (empty where it is null), its URI, the first vector as embedding
(zeros where it is null, or where the space cannot hold it), and metadata:

| key | what |
|---|---|
| `document_id`, `chunk_index`, `extra` | the columns |
| a string, integer or boolean field | its value |
| a timestamp field | microseconds since 1970 |
| a number field | its value, for people and their filters: Chroma's parser moves some numbers by one unit in the last place, and has neither NaN nor infinity |
| a number field + `:bits` | its value exactly: an integer that ascends as numbers do |
| a list field | its items that are not null, for filters |
| a list field + `:json` | its value exactly, unless it is one item |
| a vector but the first | text, see `vectors` |
| `dr:odd` | `COLUMN=null` of what filters and searches must know to be null, `VECTOR=beside` where the embedding is not the vector, which is text under its name |

Columns have no `:` in their names. Other keys of a record, which something else has added, are read
as part of `extra`.
"""  # noqa: E501 - rows of a table

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from dr_pipelines.errors import Damaged
from dr_pipelines.model.base import canonical_json
from dr_pipelines.model.collection import (
    CollectionSpec,
    FieldType,
    Vector,
    VectorKind,
)
from dr_pipelines.model.query import FloatArray
from dr_pipelines.model.record import store_schema
from dr_pipelines.stores.chroma import vectors
from dr_pipelines.stores.chroma.fields import (
    BITS,
    JSON,
    from_keys,
    to_keys,
)
from dr_pipelines.stores.shared.columns import Mask, from_base64, valid, whole

ODD = "dr:odd"
NULLS_MATTER = (FieldType.INTEGER, FieldType.NUMBER, FieldType.TIMESTAMP)
"""Fields that ranges compare: their complement needs to know what is null."""
PLACEHOLDER_DIMENSION = 1
"""Of the embedding where the first vector is not dense."""

Metadata = dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Rows:
    """Records as Chroma's client takes them."""

    ids: list[str]
    embeddings: FloatArray
    metadatas: Sequence[Metadata]
    documents: Sequence[str | None]
    uris: Sequence[str | None]

    def part(self, start: int, stop: int) -> dict[str, Any]:
        """Arguments of a call for some of them."""
        return {
            "ids": self.ids[start:stop],
            "embeddings": list(self.embeddings[start:stop]),
            "metadatas": list(self.metadatas[start:stop]),
            "documents": list(self.documents[start:stop]),
            "uris": list(self.uris[start:stop]),
        }


def is_dense(spec: CollectionSpec) -> bool:
    """True if the first vector is the embedding; otherwise it is stored as text like the others."""
    return spec.vectors[0].kind is VectorKind.DENSE


def null(column: str) -> str:
    return f"{column}=null"


def beside(vector: str) -> str:
    return f"{vector}=beside"


def encoded(batch: pa.Table, spec: CollectionSpec, space: str) -> Rows:
    """A checked batch. One dictionary a record: the client takes nothing else (making them is a
    tenth of the time that Chroma takes to write them)."""
    count = batch.num_rows
    odd: list[list[str]] = [[] for _ in range(count)]
    metadata = {key: _values(batch, key) for key in ("document_id", "chunk_index", "extra")}
    for field in spec.fields:
        metadata |= to_keys(whole(batch.column(field.name)), field)
        if field.type in NULLS_MATTER:
            _mark(odd, ~_valid(batch, field.name), null(field.name))
    embeddings = np.zeros((count, PLACEHOLDER_DIMENSION), np.float32)
    for place, vector in enumerate(spec.vectors):
        if place > 0 or not is_dense(spec):
            metadata[vector.name] = vectors.to_texts(whole(batch.column(vector.name)), vector)
        else:
            embeddings, texts = _embedding(whole(batch.column(vector.name)), vector, space, odd)
            metadata[vector.name] = texts
    for column in ("text", "uri"):
        _mark(odd, ~_valid(batch, column), null(column))
    metadata[ODD] = [marks or None for marks in odd]
    keys = list(metadata)
    return Rows(
        ids=_values(batch, "id"),
        embeddings=embeddings,
        metadatas=[
            dict(zip(keys, row, strict=True)) for row in zip(*metadata.values(), strict=True)
        ],
        documents=[text or "" for text in _values(batch, "text")],
        uris=[uri or "" for uri in _values(batch, "uri")],
    )


def included(columns: Sequence[str], spec: CollectionSpec) -> list[str]:
    """The parts of Chroma's answer that these columns are made of."""
    first = spec.vectors[0].name
    parts = {
        "metadatas": set(columns) != {"id"},
        "documents": "text" in columns,
        "uris": "uri" in columns,
        "embeddings": first in columns and is_dense(spec),
    }
    return [part for part, needed in parts.items() if needed]


def decoded(
    answer: Mapping[str, Any], spec: CollectionSpec, columns: Sequence[str]
) -> pa.RecordBatch:
    """Chroma's answer as records, in its order."""
    full = store_schema(spec)
    schema = pa.schema([full.field(name) for name in columns])
    records = [metadata or {} for metadata in answer.get("metadatas") or ()]
    marks = [frozenset(record.get(ODD) or ()) for record in records]
    return pa.RecordBatch.from_arrays(
        [_decoded(column, answer, records, marks, spec) for column in columns], schema=schema
    )


def _decoded(
    column: str,
    answer: Mapping[str, Any],
    records: Sequence[dict[str, Any]],
    marks: Sequence[frozenset[str]],
    spec: CollectionSpec,
) -> pa.Array:
    match column:
        case "id":
            return pa.array(answer["ids"], pa.string())
        case "text" | "uri":
            texts = answer["documents" if column == "text" else "uris"]
            present = [None if null(column) in m else v for v, m in zip(texts, marks, strict=True)]
            return pa.array(present, pa.string())
        case "document_id":  # written by something else: a document of its own
            texts = [r.get(column, i) for r, i in zip(records, answer["ids"], strict=True)]
            return pa.array(texts, pa.string())
        case "chunk_index":
            return pa.array([record.get(column, 0) for record in records], pa.int32())
        case "extra":
            return pa.array(list(_extras(records, spec)), pa.string())
        case _:
            field = spec.field(column)
            if field is not None:
                return from_keys(records, field)
            vector = next(v for v in spec.vectors if v.name == column)
            if vector is spec.vectors[0] and is_dense(spec):
                return _from_embedding(answer, records, marks, vector)
            return vectors.from_texts([record.get(column) for record in records], vector)


def _embedding(
    column: pa.Array, vector: Vector, space: str, odd: list[list[str]]
) -> tuple[FloatArray, list[str | None]]:
    rows, valid = vectors.matrix(column)
    outside = vectors.beyond(rows, space)
    _mark(odd, ~valid, null(vector.name))
    _mark(odd, outside, beside(vector.name))
    texts: list[str | None] = [None] * len(rows)
    for place in np.flatnonzero(outside).tolist():
        (texts[place],) = vectors.to_texts(column.slice(place, 1), vector)
    rows[outside] = 0
    return rows, texts


def _from_embedding(
    answer: Mapping[str, Any],
    records: Sequence[dict[str, Any]],
    marks: Sequence[frozenset[str]],
    vector: Vector,
) -> pa.Array:
    rows = embeddings(answer, vector)
    valid = np.array([null(vector.name) not in mark for mark in marks], bool)
    for place, (record, mark) in enumerate(zip(records, marks, strict=True)):
        if beside(vector.name) in mark:
            rows[place] = from_base64(record[vector.name])
    return vectors.column(rows, valid, vector)


def embeddings(answer: Mapping[str, Any], vector: Vector) -> FloatArray:
    """The matrix of an answer.

    Raises:
        Damaged: a vector has components that are no numbers, which is what Chroma makes of one that
            is too long for its cosine space.
    """
    rows = answer["embeddings"]
    if not len(rows):
        return np.zeros((0, vector.dimension), np.float32)
    matrix = np.array(rows, np.float32)
    bad = np.flatnonzero(~np.isfinite(matrix).all(axis=1))
    if len(bad):
        raise Damaged(
            f"the vector of record {answer['ids'][bad[0]]!r} was too long for Chroma's cosine "
            "space and is lost; write it again, shorter, or delete the record"
        )
    return matrix


def _extras(records: Sequence[dict[str, Any]], spec: CollectionSpec) -> Iterator[str | None]:
    declared = {"document_id", "chunk_index", "extra", ODD}
    for name in [f.name for f in spec.fields] + [v.name for v in spec.vectors]:
        declared |= {name, name + BITS, name + JSON}
    for record in records:
        added = record.keys() - declared
        extra = record.get("extra")
        yield _merged(extra, {key: record[key] for key in added}) if added else extra


def _merged(extra: str | None, added: dict[str, Any]) -> str:
    try:
        value = json.loads(extra or "{}")
    except ValueError:
        value = {"extra": extra}
    return canonical_json((value if isinstance(value, dict) else {"extra": value}) | added).decode()


def _mark(odd: list[list[str]], rows: Mask, mark: str) -> None:
    for place in np.flatnonzero(rows).tolist():
        odd[place].append(mark)


def _valid(batch: pa.Table, column: str) -> Mask:
    return valid(whole(batch.column(column)))


def _values(batch: pa.Table, column: str) -> list[Any]:
    values: list[Any] = batch.column(column).to_pylist()
    return values
