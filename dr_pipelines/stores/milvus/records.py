"""The layout of collections that this package makes: a typed column for each part of a record.

Beside `id`, `document_id`, `chunk_index`, `text`, `uri`, `extra`, the fields and the vectors there
are `dr_kept` (see `kept`), `dr_has_NAME` for each vector, because not every server has null vectors
(a record without one has zeros there), and `dr_terms`, which the engine makes from `text` for
keyword search. A field with a name that Milvus reserves has `dr_` before it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.collection import (
    CollectionSpec,
    FieldType,
    Metric,
    Vector,
    VectorKind,
)
from dr_pipelines.model.record import store_schema
from dr_pipelines.stores.milvus import beside
from dr_pipelines.stores.milvus.column import Column, T
from dr_pipelines.stores.milvus.layout import Parts
from dr_pipelines.stores.shared.columns import all_rows, of_rows, whole

TERMS, POINT = "dr_terms", "dr_point"
PREFIX = "dr_"
RESERVED = frozenset(
    {"all", "and", "any", "contains", "exists", "false", "in", "interval", "is", "iso", "like"}
    | {"array_contains", "array_contains_all", "array_contains_any", "array_length", "not", "null"}
    | {"json_contains", "json_contains_all", "json_contains_any", "json_length", "or", "rowid"}
    | {"phrase_match", "random_sample", "text_match", "timestamp", "true"}
)
"""Words of expressions, and names that Milvus keeps for itself, lower-cased."""
LIST_ITEMS = 4_096
TEXT = {"max_length": str(beside.TEXT_BYTES)}
TYPES: dict[FieldType, Column] = {
    FieldType.STRING: Column("", T.VarChar, params=TEXT),
    FieldType.INTEGER: Column("", T.Int64),
    FieldType.NUMBER: Column("", T.Double),
    FieldType.BOOLEAN: Column("", T.Bool),
    FieldType.TIMESTAMP: Column("", T.Int64),  # microseconds: ordered as times are
    FieldType.STRINGS: Column(
        "", T.Array, T.VarChar, params=TEXT | {"max_capacity": str(LIST_ITEMS)}
    ),
}
SEARCHED = frozenset([Metric.COSINE, Metric.DOT, Metric.L2])
NULLABLE = frozenset(["nullable"])
WHOLE = ("id", "document_id", "chunk_index")
"""Columns of which nothing is kept beside them; vectors are others."""


class ManagedLayout:
    """See `layout.RecordLayout`."""

    def __init__(self, spec: CollectionSpec) -> None:
        self.spec = spec
        self.columns = tuple(_columns(spec))
        self.key = self.columns[0]
        self.ordered = True
        self.document_column = "document_id"
        self.text_column: str | None = "text"
        self._written = [c for c in self.columns if not c.generated]

    def needed(self, selected: Sequence[str]) -> list[Column]:
        needed = {"id"}
        for name in selected:
            vector = next((v for v in self.spec.vectors if v.name == name), None)
            if vector is not None:
                needed |= {self.column_of(name), _flag(vector)}
            else:
                needed.add(self.column_of(name))
            if vector is None or vector.kind is not VectorKind.DENSE:
                needed |= {beside.NAME} - ({beside.NAME} if name in WHOLE else set())
        return [column for column in self.columns if column.name in needed]

    def to_records(
        self, arrays: Mapping[str, pa.Array], count: int, selected: Sequence[str], *, partition: str
    ) -> pa.RecordBatch:
        del partition  # there is one
        schema = store_schema(self.spec)
        columns = {name: self._record_column(name, arrays, count) for name in selected}
        if beside.NAME in arrays:
            columns = beside.restored(columns, arrays[beside.NAME])
        return pa.record_batch(columns, schema=pa.schema([schema.field(name) for name in selected]))

    def to_parts(self, rows: pa.Table) -> Parts:
        self._check(rows)
        made = {column.name: self._engine_column(column, rows) for column in self._written}
        return {"": pa.table(made)}

    def column_of(self, name: str) -> str:
        return _column_name(name)

    def present(self, vector: Vector) -> str | None:
        return f"{_flag(vector)} == true"

    def _record_column(self, name: str, arrays: Mapping[str, pa.Array], count: int) -> pa.Array:
        kind = store_schema(self.spec).field(name).type
        values = arrays.get(self.column_of(name))
        vector = next((v for v in self.spec.vectors if v.name == name), None)
        if values is None:  # only kept beside
            return pa.nulls(count, kind)
        if vector is not None:
            has = arrays[_flag(vector)].to_numpy(zero_copy_only=False)
            if vector.kind is VectorKind.SPARSE:
                return values.take(pa.array(np.arange(count), mask=~has))
            return pa.FixedSizeListArray.from_arrays(
                values.flatten(), vector.dimension, mask=pa.array(~has)
            )
        return values.cast(kind)

    def _engine_column(self, column: Column, rows: pa.Table) -> pa.Array:
        name = column.name
        if name == beside.NAME:
            return beside.encoded(rows, self.spec)
        if name == POINT:
            zeros = pa.array(np.zeros(2 * len(rows), np.float32))
            return pa.FixedSizeListArray.from_arrays(zeros, 2)
        for vector in self.spec.vectors:
            values = whole(rows.column(vector.name))
            if name == _flag(vector):
                return values.is_valid()
            if name == self.column_of(vector.name):
                return _without_gaps(values, vector)
        field = next((f for f in self.spec.fields if self.column_of(f.name) == name), None)
        values = whole(rows.column(name if field is None else field.name))
        return _scalars(values, column)

    def _check(self, rows: pa.Table) -> None:
        """Refuse rows with a value too long for a column that filters or keys need whole: it is
        not cut."""
        limited = [f.name for f in self.spec.fields if f.filterable and f.type is FieldType.STRING]
        for name in ("id", "document_id", *limited):
            self._check_length(rows, name, whole(rows.column(name)), None)
        for field in self.spec.fields:
            if field.type is FieldType.STRINGS:
                lists = whole(rows.column(field.name))
                parents = pc.list_parent_indices(lists)
                self._check_length(rows, field.name, pc.list_flatten(lists), parents)
                lengths = pc.fill_null(pc.list_value_length(lists), 0)
                self._refuse(rows, pc.greater(lengths, LIST_ITEMS), field.name, "4,096 items")

    def _check_length(self, rows: pa.Table, name: str, texts: pa.Array, parents: Any) -> None:
        long = pc.greater(pc.fill_null(pc.binary_length(texts), 0), beside.TEXT_BYTES)
        place = pc.index(long, pa.scalar(True)).as_py()
        if place >= 0:
            row = place if parents is None else parents[place].as_py()
            self._refuse(rows, pa.array(np.arange(len(rows)) == row), name, "65,535 bytes")

    def _refuse(self, rows: pa.Table, mask: pa.Array, name: str, limit: str) -> None:
        row = pc.index(mask, pa.scalar(True)).as_py()
        if row >= 0:
            raise InvalidRequest(
                f"record {rows.column('id')[row].as_py()!r} of {self.spec.name!r}: {name!r} has "
                f"more than the {limit} that Milvus keeps of such a column"
            )


def functions(spec: CollectionSpec) -> list[dict[str, Any]]:
    """Functions that the engine itself runs on a collection: the terms for keyword search."""
    if not spec.keyword_index:
        return []
    return [{"name": "dr_bm25", "type": "BM25", "inputs": ["text"], "outputs": [TERMS]}]


def searched(vector: Vector) -> bool:
    """True if the engine's column of this vector has the vector's own metric."""
    if vector.kind is VectorKind.SPARSE:
        return vector.metric is Metric.DOT
    return vector.kind is VectorKind.DENSE and vector.metric in SEARCHED


def _columns(spec: CollectionSpec) -> list[Column]:
    analysed = {"enable_analyzer": "true"} if spec.keyword_index else {}
    made = [
        Column("id", T.VarChar, params=TEXT, flags=frozenset(["primary"])),
        Column("document_id", T.VarChar, params=TEXT),
        Column("chunk_index", T.Int32),
        # not nullable: servers before 2.6 refuse a null where a function reads
        Column(
            "text",
            T.VarChar,
            params=TEXT | analysed,
            flags=frozenset() if spec.keyword_index else NULLABLE,
        ),
        Column("uri", T.VarChar, params=TEXT, flags=NULLABLE),
    ]
    for field in spec.fields:
        like = TYPES[field.type]
        name = _column_name(field.name)
        made.append(Column(name, like.type, like.element, like.params, NULLABLE))
    made.append(Column("extra", T.VarChar, params=TEXT, flags=NULLABLE))
    pieces = TEXT | {"max_capacity": str(beside.PIECES)}
    made.append(Column(beside.NAME, T.Array, T.VarChar, params=pieces))
    for vector in spec.vectors:
        made += _vector_columns(vector)
    if spec.keyword_index:
        made.append(Column(TERMS, T.SparseFloatVector, flags=frozenset(["generated"])))
    elif all(v.kind is VectorKind.MULTI for v in spec.vectors):
        made.append(Column(POINT, T.FloatVector, params={"dim": "2"}))  # Milvus wants a vector
    return made


def _vector_columns(vector: Vector) -> list[Column]:
    if vector.kind is VectorKind.MULTI:
        return []
    name = _column_name(vector.name)
    if vector.kind is VectorKind.SPARSE:
        column = Column(name, T.SparseFloatVector)
    else:
        column = Column(name, T.FloatVector, params={"dim": str(vector.dimension)})
    return [column, Column(_flag(vector), T.Bool)]


def _column_name(name: str) -> str:
    taken = name.lower() in RESERVED or name.startswith((PREFIX, "_"))
    return PREFIX + name if taken else name


def _flag(vector: Vector) -> str:
    return f"dr_has_{vector.name}"


def _without_gaps(values: pa.Array, vector: Vector) -> pa.Array:
    if vector.kind is VectorKind.SPARSE:
        return beside.positive(values)
    if not values.null_count:
        return values
    rows, _ = all_rows(values)
    return of_rows(rows, np.full(len(rows), True), values.type)


def _scalars(values: pa.Array, column: Column) -> pa.Array:
    if column.type == T.Double:
        return beside.finite(values)
    if column.type == T.Array:
        return beside.without_nulls(values)
    if column.type == T.VarChar:
        texts = beside.cut(values)
        return texts if column.nullable else pc.fill_null(texts, "")
    if column.type in (T.Int64, T.Int32):
        return values.cast(pa.int64())
    return values
