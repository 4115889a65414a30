"""The layout of collections that something else made, and of their copies.

Each record is a document of its own: its id is the primary key as text. `text` is the column that a
BM25 function reads, or the first one named as in `TEXT_NAMES`. Columns of the six types of fields
become fields; every other one becomes a field of text: JSON and arrays as canonical JSON. Values of
columns that nobody declared are `extra`. In a collection with partitions of its own, the field
`dr_partition` says in which a record is.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.collection import (
    UNBOUNDED,
    CollectionSpec,
    Field,
    FieldType,
    Vector,
    VectorKind,
    VectorType,
)
from dr_pipelines.model.record import store_schema
from dr_pipelines.stores.milvus import index as indexes
from dr_pipelines.stores.milvus.column import (
    DENSE,
    INTEGERS,
    TEXTS,
    VECTORS,
    Column,
    T,
)
from dr_pipelines.stores.milvus.layout import Parts, key_of
from dr_pipelines.stores.milvus.live import Live
from dr_pipelines.stores.milvus.messages import arrow_type
from dr_pipelines.stores.shared.columns import whole
from dr_pipelines.stores.shared.layout import column_name

TEXT_NAMES = ("text", "content", "page_content", "chunk_text", "chunk", "passage", "body")
PARTITION = "dr_partition"
META = Column("$meta", T.JSON)
DTYPES = {
    T.FloatVector: VectorType.FLOAT32,
    T.Float16Vector: VectorType.FLOAT16,
    T.BFloat16Vector: VectorType.BFLOAT16,
    T.Int8Vector: VectorType.INT8,
    T.BinaryVector: VectorType.BIT,
}


@dataclass(frozen=True, slots=True)
class Mapped:
    """Native columns by the names that they have in a record, and what records are made of."""

    columns: dict[str, Column]
    vectors: tuple[Vector, ...]
    fields: tuple[Field, ...]


class ForeignLayout:
    """See `layout.RecordLayout`."""

    def __init__(self, live: Live, spec: CollectionSpec) -> None:
        self.spec = spec
        self.key = live.key
        self.columns = (*live.columns, META) if live.dynamic else live.columns
        self.ordered = self.key.type == T.VarChar
        self.document_column = self.key.name
        self._dynamic = live.dynamic
        self._mapped = mapped(live).columns
        text = self._mapped.get("text")
        self.text_column: str | None = text.name if text else None
        self._partitioned = bool(live.partitions)

    def needed(self, selected: Sequence[str]) -> list[Column]:
        needed = [self.key]
        needed += [self._mapped[name] for name in selected if name in self._mapped and name != "id"]
        if "extra" in selected and self._dynamic:
            needed.append(META)
        return [column for column in needed if not column.generated]

    def to_records(
        self,
        arrays: Mapping[str, pa.Array],
        count: int,
        selected: Sequence[str],
        *,
        partition: str,
    ) -> pa.RecordBatch:
        schema = store_schema(self.spec)
        made = [self._record_column(name, arrays, count, partition) for name in selected]
        return pa.record_batch(made, schema=pa.schema([schema.field(name) for name in selected]))

    def to_parts(self, rows: pa.Table) -> Parts:
        made = {}
        for name, column in self._mapped.items():
            if not column.generated:
                made[column.name] = self._engine_column(column, name, rows)
        if self._dynamic:
            made[META.name] = pc.fill_null(whole(rows.column("extra")), "{}")
            _check_objects(made[META.name], rows, self.spec.name)
        elif rows.column("extra").null_count < len(rows):
            raise InvalidRequest(f"{self.spec.name!r} takes no values beyond its columns (extra)")
        table = pa.table(made)
        if not self._partitioned:
            return {"": table}
        places = pc.fill_null(whole(rows.column(PARTITION)), "_default")
        return {
            name: table.filter(pc.equal(places, name)) for name in pc.unique(places).to_pylist()
        }

    def column_of(self, name: str) -> str:
        return self._mapped[name].name

    def present(self, vector: Vector) -> str | None:
        del vector  # null vectors are in no index
        return None

    def _record_column(
        self, name: str, arrays: Mapping[str, pa.Array], count: int, partition: str
    ) -> pa.Array:
        kind = store_schema(self.spec).field(name).type
        if name in ("id", "document_id"):
            return arrays[self.key.name].cast(pa.string())
        if name == "chunk_index":
            return pa.array(np.zeros(count, np.int32))
        if name == PARTITION and self._partitioned:
            return pa.array([partition or None] * count, kind)
        if name == "extra" and self._dynamic:
            values = arrays[META.name]
            return pc.if_else(pc.equal(values, "{}"), pa.scalar(None, kind), values)
        column = self._mapped.get(name)
        if column is None or column.generated:
            return pa.nulls(count, kind)
        values = arrays[column.name]
        if column.type == T.Array and column.element != T.VarChar:
            return _as_json(values)
        return values if values.type == kind else values.cast(kind)

    def _engine_column(self, column: Column, name: str, rows: pa.Table) -> pa.Array:
        if name == "id":
            keys = [key_of(self, key) for key in rows.column("id").to_pylist()]
            return pa.array(keys, arrow_type(column))
        values = whole(rows.column(name))
        self._check(column, values, rows)
        if column.type == T.Array and column.element != T.VarChar:
            return _from_json(values, column, rows, self.spec.name)
        kind = arrow_type(column)
        return values if values.type == kind else values.cast(kind)

    def _check(self, column: Column, values: pa.Array, rows: pa.Table) -> None:
        if not column.nullable and column.default is None:
            self._refuse(values.is_null(), column, rows, "a null, which it does not take")
        limit = int(column.params.get("max_length", 0))
        if column.type == T.VarChar and limit:  # servers count bytes, milvus-lite characters
            long = pc.fill_null(pc.greater(pc.utf8_length(values), limit), False)
            self._refuse(long, column, rows, f"more than {limit} characters")

    def _refuse(self, wrong: pa.Array, column: Column, rows: pa.Table, reason: str) -> None:
        place = pc.index(wrong, pa.scalar(True)).as_py()
        if place >= 0:
            raise InvalidRequest(
                f"record {rows.column('id')[place].as_py()!r} of {self.spec.name!r}: column "
                f"{column.name!r} would get {reason}"
            )


def mapped(live: Live) -> Mapped:
    """Which column becomes what: the same for the same columns."""
    text = _text_column(live)
    columns: dict[str, Column] = {"id": live.key}
    vectors, fields = list[Vector](), list[Field]()
    every = [c for c in live.columns if c.type in VECTORS]
    shown = [c for c in every if not c.generated] or every  # a record has one at least
    if text is not None:
        columns["text"] = text
    for column in live.columns:
        if column in (live.key, text) or (column.generated and column not in shown):
            continue
        name = column_name(column.name, taken=[*columns, PARTITION])
        columns[name] = column
        if column.type in VECTORS:
            vectors.append(_vector(name, column, live))
        else:
            kind, filterable = _field_type(column)
            fields.append(Field(name=name, type=kind, filterable=filterable))
    if live.partitions:
        fields.append(Field(name=PARTITION, type=FieldType.STRING, filterable=False))
    return Mapped(columns, tuple(vectors), tuple(fields))


def searches_text(live: Live) -> bool:
    """True if the engine has a keyword index of the column that is the record's text."""
    text = _text_column(live)
    return text is not None and any(
        function["type"] == "BM25" and function["inputs"] == [text.name]
        for function in live.functions
    )


def _text_column(live: Live) -> Column | None:
    texts = {c.name: c for c in live.columns if c.type in (T.VarChar, T.Text) and c != live.key}
    read = [f["inputs"][0] for f in live.functions if f["type"] == "BM25" and f["inputs"]]
    return next((texts[name] for name in (*read, *TEXT_NAMES) if name in texts), None)


def _vector(name: str, column: Column, live: Live) -> Vector:
    index = live.index_of(column.name)
    kind = VectorKind.DENSE if column.type in DENSE else VectorKind.SPARSE
    dtype = DTYPES.get(column.type, VectorType.FLOAT32)
    declared = live.label and next(
        (v.index for v in live.label.spec.vectors if v.name == name), None
    )
    return Vector(
        name=name,
        dimension=column.dimension if kind is VectorKind.DENSE else UNBOUNDED,
        metric=indexes.metric_of(index, dtype, kind),
        dtype=dtype,
        kind=kind,
        index=indexes.to_vector(index, declared or None),
    )


def _field_type(column: Column) -> tuple[FieldType, bool]:
    if column.type in INTEGERS:
        return FieldType.INTEGER, True
    if column.type in (T.Float, T.Double):
        return FieldType.NUMBER, True
    if column.type == T.Bool:
        return FieldType.BOOLEAN, True
    if column.type == T.Timestamptz:
        return FieldType.TIMESTAMP, False
    if column.type == T.Array and column.element == T.VarChar:
        return FieldType.STRINGS, True
    return FieldType.STRING, column.type in TEXTS - {T.Geometry, T.Text}


def _as_json(lists: pa.Array) -> pa.Array:
    rows = lists.to_pylist()
    texts = [None if row is None else json.dumps(row, separators=(",", ":")) for row in rows]
    return pa.array(texts, pa.string())


def _from_json(texts: pa.Array, column: Column, rows: pa.Table, name: str) -> pa.Array:
    made = []
    for place, text in enumerate(texts.to_pylist()):
        try:
            made.append(None if text is None else json.loads(text))
        except ValueError:
            raise InvalidRequest(
                f"record {rows.column('id')[place].as_py()!r} of {name!r}: {column.name!r} is no "
                "JSON array"
            ) from None
    return pa.array(made, arrow_type(column))


def _check_objects(texts: pa.Array, rows: pa.Table, name: str) -> None:
    for place, text in enumerate(texts.to_pylist()):
        try:
            good = isinstance(json.loads(text), dict)
        except ValueError:
            good = False
        if not good:
            raise InvalidRequest(
                f"record {rows.column('id')[place].as_py()!r} of {name!r}: extra is no JSON object"
            )
