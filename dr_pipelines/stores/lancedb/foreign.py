"""Tables that users made: what of them is the id, the text, a field and a vector, and the way back.

The mapping is a part of the engine's section (`columns`, `column_roles`), beside the table's own
Arrow schema (`schema`, serialized): with them `create` makes the table again.
"""

import base64
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.errors import Damaged
from dr_pipelines.model.collection import (
    MAX_DIMENSION,
    CollectionSpec,
    Field,
    FieldType,
    Metric,
    Vector,
    VectorKind,
    VectorType,
)
from dr_pipelines.model.query import Filter, Scalar
from dr_pipelines.model.record import store_schema
from dr_pipelines.stores.lancedb import blobs, values, vectors
from dr_pipelines.stores.lancedb.digests import digests
from dr_pipelines.stores.lancedb.records import (
    PRIMARY_KEY,
    Entry,
    plain_filter,
    refused,
)
from dr_pipelines.stores.shared.columns import whole
from dr_pipelines.stores.shared.layout import Layout, Role, column_name, column_roles_of, laid_out
from dr_pipelines.stores.shared.misfits import Batch, Problem, problem

KEYS = ("id", "_id", "uuid", "pk")
TEXTS = ("text", "content", "chunk", "page_content", "body", "document")
URIS = ("uri", "url")
EXACT = "_float64"
NUMBER = r"0|-?[1-9][0-9]{0,19}"
DTYPES = {
    pa.float16(): VectorType.FLOAT16,
    pa.float32(): VectorType.FLOAT32,
    pa.float64(): VectorType.FLOAT32,
    pa.int8(): VectorType.INT8,
    pa.uint8(): VectorType.BIT,
}

Section = dict[str, Any]


class ForeignRecords:
    """A table as its section says it is mapped."""

    def __init__(self, spec: CollectionSpec, section: Mapping[str, Any]) -> None:
        self.spec = spec
        try:
            self.schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(section["schema"])))
            roles = column_roles_of(section)
            self.key: str | None = roles.get(Role.ID)
            self.text: str | None = roles.get(Role.TEXT)
            self._uri: str | None = roles.get(Role.URI)
            self._columns: dict[str, str] = dict(section["columns"])
        except (KeyError, TypeError, ValueError, pa.ArrowException) as error:
            raise Damaged(f"{spec.name!r}: its section says nothing usable of its table") from error
        named = {vector.name for vector in spec.vectors} | {field.name for field in spec.fields}
        unknown = named - set(self._columns)
        if unknown or not set(self._columns.values()) <= set(self.schema.names):
            raise Damaged(f"{spec.name!r}: its section says nothing of {sorted(unknown)}")
        self.blobs = frozenset(f.name for f in self.schema if blobs.holds_blobs(f))
        self._store = store_schema(spec)
        self._vectors = {vector.name: vector for vector in spec.vectors}
        vector_of = {self._columns[name]: name for name in self._vectors}
        self._exact = {
            vector_of[column]: name
            for name, column in self._columns.items()
            if name not in self._vectors and column in vector_of
        }
        """Vector of float64 → field that holds all its digits."""
        fixed = {"id": self.key, "text": self.text, "uri": self._uri}
        self._sources: dict[str, str | None] = {**self._columns, **fixed, "document_id": self.key}
        self._same = frozenset(
            field.name
            for field in spec.fields
            if "`" not in self._columns[field.name]
            and self._columns[field.name] == field.name  # the SQL names fields
            and values.is_same(self.schema.field(field.name).type)
        )

    @property
    def document(self) -> str | None:
        return self.key

    def columns(self, selected: Sequence[str]) -> list[str]:
        if self.key is None and not {"id", "document_id"}.isdisjoint(selected):
            return list(self.schema.names)  # an id is a digest of the whole row
        needed = [self._sources.get(column) for column in selected]
        return list(dict.fromkeys(column for column in needed if column is not None))

    def read(self, rows: pa.RecordBatch, selected: Sequence[str]) -> pa.RecordBatch:
        schema = pa.schema([self._store.field(column) for column in selected])
        arrays = {name: self._read(rows, name) for name in dict.fromkeys(selected)}
        return pa.RecordBatch.from_arrays([arrays[name] for name in selected], schema=schema)

    def _read(self, rows: pa.RecordBatch, column: str) -> pa.Array:
        target = self._store.field(column).type
        if column == "chunk_index":
            return pa.repeat(pa.scalar(0, target), rows.num_rows)
        if column in ("id", "document_id"):
            return digests(rows) if self.key is None else rows.column(self.key).cast(target)
        source = self._sources.get(column)
        if source is None:
            return pa.nulls(rows.num_rows, target)
        array = rows.column(source)
        if column in self._vectors:
            return vectors.from_stored(array, self._vectors[column])
        if column in self._exact.values():
            return values.to_field(vectors.exact_bytes(array))
        return values.to_field(array)

    def written(self, rows: pa.Table) -> pa.Table:
        return pa.table([self._written(rows, f) for f in self.schema], schema=self.schema)

    def problems(self, rows: Batch) -> Iterator[Problem]:
        """The table has no place for chunks, perhaps none for texts and addresses, and not always
        one for nothing."""
        ids, documents = rows.column("id"), rows.column("document_id")
        reason = "in a table of its own layout a document is one record"
        yield problem("document_id", pc.not_equal(documents, ids), reason)
        if self.key is not None and pa.types.is_integer(self.schema.field(self.key).type):
            number = pc.match_substring_regex(ids, f"^({NUMBER})$")
            yield problem("id", pc.invert(number), f"the table's key {self.key!r} is a number")
        absent = ["extra", *([] if self.text else ["text"]), *([] if self._uri else ["uri"])]
        for column in absent:
            there = rows.column(column).is_valid()
            yield problem(column, there, f"the table has no column for its {column!r}")
        for field in self.schema:
            ours = self._column_of(field.name)
            if not field.nullable and ours is not None:
                empty = rows.column(ours).is_null()
                yield problem(ours, empty, f"{field.name!r} of the table cannot be null")

    def _column_of(self, source: str) -> str | None:
        """The column of ours that is one of the table's."""
        ours = [name for name, column in self._sources.items() if column == source]
        return next((name for name in ours if name not in self._exact.values()), None)

    def _written(self, rows: pa.Table, field: pa.Field) -> pa.Array:
        column = self._column_of(field.name)
        if column is None:
            raise Damaged(f"{self.spec.name!r}: nothing of it is the table's {field.name!r}")
        if field.name in self.blobs:
            data = self._converted(rows, column, blobs.read_type(field))
            return blobs.of_bytes(data, field.type)
        if column not in self._vectors:
            return self._converted(rows, column, field.type)
        vector = whole(rows.column(column))
        if column in self._exact:
            digits = whole(rows.column(self._exact[column]))
            if digits.null_count == vector.null_count:  # else they came from elsewhere
                return vectors.of_exact_bytes(values.from_field(digits, pa.binary()), field.type)
        return vectors.to_stored(vector, field.type)

    def _converted(self, rows: pa.Table, column: str, type: pa.DataType) -> pa.Array:
        array = whole(rows.column(column))
        try:
            return values.from_field(array, type)
        except (pa.ArrowException, ValueError, KeyError, TypeError):
            for row in range(len(array)):
                try:
                    values.from_field(array.slice(row, 1), type)
                except (pa.ArrowException, ValueError, KeyError, TypeError) as error:
                    reason = f"its {column!r} is not a {type}, which the table keeps ({error})"
                    raise refused(rows, row, reason) from error
            raise

    def column(self, vector: str) -> str:
        return self._columns[vector]

    def understands(self, filter: Filter | None) -> bool:
        return plain_filter(filter, self._same)

    def key_value(self, id: str) -> Scalar | None:
        if self.key is None or not pa.types.is_integer(self.schema.field(self.key).type):
            return id
        return int(id) if re.fullmatch(NUMBER, id) else None

    def indexes(self) -> list[Entry]:
        return []  # those that the section lists, and no others


def mapped(
    schema: pa.Schema, searched: Collection[str]
) -> tuple[Section, list[Field], list[Vector]]:
    """How a table is read: its section, fields and vectors; `searched` are columns with a full-text
    index. Without a vector it is no collection."""
    key, text, uri = _key(schema), _text(schema, searched), _named(schema, URIS)
    columns: dict[str, str] = {}
    fields, described = list[Field](), list[Vector]()
    for field in schema:
        if field.name in (key, text, uri):
            continue
        name = column_name(field.name, taken=columns)
        columns[name] = field.name
        vector = _vector(name, field.type)
        if vector is None:
            fields.append(Field(name=name, type=values.field_type(field.type)))
            continue
        described.append(vector)
        if _is_double(field.type):
            exact = column_name(name + EXACT, taken=columns)
            columns[exact] = field.name
            fields.append(Field(name=exact, type=FieldType.STRING, filterable=False))
    section = {
        **laid_out(Layout.FOREIGN, {Role.ID: key, Role.TEXT: text, Role.URI: uri}),
        "schema": base64.b64encode(schema.remove_metadata().serialize()).decode(),
        "columns": columns,
    }
    return section, fields, described


def _vector(name: str, type: pa.DataType) -> Vector | None:
    item = vectors.component(type)
    if item is None:
        return None
    several = not pa.types.is_fixed_size_list(type)
    dense = type.value_type if several else type
    if several and item == pa.uint8():
        return None  # Lance has no search for several vectors of bits
    dimension = dense.list_size * (8 if item == pa.uint8() else 1)
    if not 1 <= dimension <= MAX_DIMENSION or (several and item == pa.float64()):
        return None
    metric = Metric.COSINE if several else Metric.L2  # those that Lance assumes
    return Vector(
        name=name,
        dimension=dimension,
        metric=Metric.HAMMING if item == pa.uint8() else metric,
        dtype=DTYPES[item],
        kind=VectorKind.MULTI if several else VectorKind.DENSE,
    )


def _key(schema: pa.Schema) -> str | None:
    marked = [f.name for f in schema if (f.metadata or {}).get(PRIMARY_KEY) == b"true"]
    if len(marked) == 1 and _can_be_key(schema.field(marked[0]).type):
        return str(marked[0])
    for name in KEYS:
        if name in schema.names and _can_be_key(schema.field(name).type):
            return name
    return None


def _text(schema: pa.Schema, searched: Collection[str]) -> str | None:
    texts = [f.name for f in schema if f.type == pa.string() and f.name != _key(schema)]
    chosen = [n for n in ("text",) if n in texts] + [n for n in texts if n in searched]
    chosen += [n for n in TEXTS if n in texts]
    return chosen[0] if chosen else None


def _named(schema: pa.Schema, names: Sequence[str]) -> str | None:
    return next(
        (n for n in names if n in schema.names and schema.field(n).type == pa.string()), None
    )


def _can_be_key(type: pa.DataType) -> bool:
    return bool(type in (pa.string(), pa.large_string()) or pa.types.is_integer(type))


def _is_double(type: pa.DataType) -> bool:
    return bool(pa.types.is_fixed_size_list(type) and type.value_type == pa.float64())
