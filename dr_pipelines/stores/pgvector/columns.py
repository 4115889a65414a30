"""Columns of a collection in a table of ours, and how each travels: one for each of `store_schema`,
under the same name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
from psycopg import sql

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.collection import (
    CollectionSpec,
    Field,
    FieldType,
    Vector,
    VectorKind,
    VectorType,
)
from dr_pipelines.stores.pgvector import (
    decoding,
    decoding_lists,
    encoding,
    encoding_lists,
)
from dr_pipelines.stores.pgvector.catalog import Attribute
from dr_pipelines.stores.pgvector.decoding import Decoder, Fields
from dr_pipelines.stores.pgvector.encoding import Encoder, Piece
from dr_pipelines.stores.pgvector.names import table_name
from dr_pipelines.stores.pgvector.statements import SHOWN, qualified
from dr_pipelines.stores.pgvector.texts import escaped_column, unescaped_column

SYSTEM = frozenset(["tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"])
"""Names that no column may have."""
MAX_VECTOR = 16_000
"""Components of a vector or halfvec."""
MAX_SPARSE = 1_000_000_000
TEXT_OID, VARCHAR_OID = 25, 1043


BARE = sql.SQL("{0}")
TEXT = qualified("{0}::text")


def text_of(attribute: Attribute) -> sql.SQL:
    """The expression that reads a value as text from which its type restores the same value: a
    cast would drop blanks that no length brings back."""
    trimmed = attribute.kind == "bpchar" and attribute.modifier < 0
    return TEXT if attribute.plain and not trimmed else SHOWN


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a collection in a table. `type` is how the table declares it; `read` makes of it
    what `decode` takes; a `staged` one is written as text, of which its type makes a value;
    `any_text` is one that has texts as `texts` writes them, and holds every one; a `shared` one is
    in the table one with others, of which a row has one at most. `own` makes Arrow of a value's own
    bytes, where `read` asks for others; where neither does, it is what the type's output function
    writes. `beside` is where a value is that the column itself could not hold."""

    name: str
    native: str
    type: str
    decode: Decoder
    encode: Encoder
    read: sql.SQL = field(default_factory=lambda: BARE)
    staged: bool = False
    any_text: bool = False
    shared: bool = False
    own: Decoder | None = None
    beside: str | None = None

    @property
    def of_bytes(self) -> Decoder | None:
        """The decoder of the bytes that a plain COPY sends of the column; None if only the text
        of its type's output function has the value."""
        return self.decode if self.read is BARE or self.beside else self.own

    @property
    def identifier(self) -> sql.Identifier:
        """The name as SQL."""
        return sql.Identifier(self.native)


@dataclass(frozen=True, slots=True)
class Mapping:
    """The contract of a table, and its columns in order of the table's."""

    fields: tuple[Field, ...]
    vectors: tuple[Vector, ...]
    columns: tuple[Column, ...]

    def column(self, name: str) -> Column | None:
        """The column of this name, where the table has it."""
        return next((c for c in self.columns if c.name == name), None)


def native_name(name: str) -> str:
    """The name of a column in a table of ours."""
    return f"{name} (field)" if name in SYSTEM else name


def own_columns(spec: CollectionSpec, *, vector_oid: int) -> list[Column]:
    """The columns of a table of ours, in order of `store_schema`."""
    text = 'text COLLATE "C"'
    plain = {name: _texts(name, text) for name in ("id", "document_id", "text", "uri", "extra")}
    number = Column(
        "chunk_index",
        "chunk_index",
        "integer",
        decoding.numbers(">i4", pa.int32()),
        encoding.numbers(">i4"),
    )
    first = [plain["id"], plain["document_id"], number, plain["text"], plain["uri"]]
    fields = [_own_field(f) for f in spec.fields]
    vectors = [own_vector(v, vector_oid) for v in spec.vectors]
    beside = [_beside(v) for v in spec.vectors if _has_beside(v)]
    return [*first, *fields, plain["extra"], *vectors, *beside]


def _texts(name: str, type: str, native: str | None = None) -> Column:
    def decode(fields: Fields) -> pa.Array:
        return unescaped_column(decoding.strings(fields))

    def encode(column: pa.Array) -> list[Piece]:
        return encoding.strings(escaped_column(column))

    return Column(name, native or name, type, decode, encode, any_text=True)


def _text_lists(name: str, native: str) -> Column:
    def decode(fields: Fields) -> pa.Array:
        return unescaped_column(decoding_lists.string_lists(fields))

    encode = encoding_lists.string_lists(TEXT_OID, written=escaped_column)
    return Column(name, native, "text[]", decode, encode, any_text=True)


def _own_field(field: Field) -> Column:
    name, native = field.name, native_name(field.name)
    match field.type:
        case FieldType.STRING:
            return _texts(name, 'text COLLATE "C"', native)
        case FieldType.STRINGS:
            return _text_lists(name, native)
        case FieldType.BOOLEAN:
            return Column(name, native, "boolean", decoding.booleans, encoding.booleans)
        case FieldType.TIMESTAMP:
            zoned = "timestamp with time zone"
            return Column(name, native, zoned, decoding.times, encoding.times)
        case FieldType.INTEGER:
            decode = decoding.numbers(">i8", pa.int64())
            return Column(name, native, "bigint", decode, encoding.numbers(">i8"))
        case FieldType.NUMBER:
            decode = decoding.numbers(">f8", pa.float64())
            return Column(name, native, "double precision", decode, encoding.numbers(">f8"))


def vector_type(vector: Vector) -> str | None:
    """The engine's type for a vector; None where it has none."""
    size = vector.dimension
    match vector.kind:
        case VectorKind.SPARSE:
            return f"sparsevec({size})" if size <= MAX_SPARSE else None
        case VectorKind.MULTI:
            return "vector[]" if size <= MAX_VECTOR else None
        case VectorKind.DENSE if vector.dtype is VectorType.BIT:
            return f"bit({size})"
        case VectorKind.DENSE if size <= MAX_VECTOR:
            return f"{'halfvec' if vector.dtype is VectorType.FLOAT16 else 'vector'}({size})"
        case _:
            return None


def own_vector(vector: Vector, vector_oid: int) -> Column:
    """The column of a vector in a table of ours."""
    name, native, size = vector.name, native_name(vector.name), vector.dimension
    match vector.kind, vector_type(vector):
        case VectorKind.MULTI, str():
            arrays = encoding_lists.several(vector_oid)
            return Column(name, native, "vector[]", decoding_lists.several(size), arrays)
        case VectorKind.MULTI, None:
            several = decoding_lists.packed_several(size)
            return Column(name, native, "bytea", several, encoding_lists.packed_several)
        case VectorKind.SPARSE, None:
            lists, packed = decoding_lists.packed_sparse, encoding_lists.packed_sparse
            return Column(name, native, "bytea", lists, packed)
        case VectorKind.DENSE, None:
            dense = decoding.packed_vectors(size)
            return Column(name, native, "bytea", dense, encoding.packed_vectors)
        case _, declared:
            decode, encode = vector_codec(str(declared).partition("(")[0], size)
            read = BARE
            if _has_beside(vector):
                read = sql.SQL(
                    f'coalesce("{_beside_name(vector)}", {{extension}}.sparsevec_send({{0}}))'
                )
            beside = _beside_name(vector) if _has_beside(vector) else None
            return Column(name, native, str(declared), decode, encode, read, beside=beside)


def _has_beside(vector: Vector) -> bool:
    return vector.kind is VectorKind.SPARSE and vector_type(vector) is not None


def _beside(vector: Vector) -> Column:
    """A column for sparse vectors that the engine's type does not hold, in the bytes that it would
    send: with components that are 0, or with too many."""
    size = vector.dimension
    encode = encoding_lists.sparse_beyond(size)
    return Column(vector.name, _beside_name(vector), "bytea", decoding_lists.sparse(size), encode)


def _beside_name(vector: Vector) -> str:
    return table_name(f"{native_name(vector.name)} (exact)")


def vector_codec(type: str, size: int) -> tuple[Decoder, Encoder]:
    """How vectors of one of the engine's types travel."""
    codecs: dict[str, Callable[[], tuple[Decoder, Encoder]]] = {
        "vector": lambda: (decoding.vectors(size), encoding.vectors),
        "halfvec": lambda: (decoding.vectors(size, kind=">f2"), encoding.halves),
        "sparsevec": lambda: (decoding_lists.sparse(size), encoding_lists.sparse(size)),
        "bit": lambda: (decoding.bits(size), encoding.bits),
    }
    return codecs[type]()


def written(columns: Sequence[Column], batch: pa.Table) -> tuple[list[Column], pa.Table]:
    """The columns that a table has, and a batch with one for each: those that are shared are one.

    Raises:
        InvalidRequest: a record has two values for one column; names the record.
    """
    own = [column for column in columns if not column.shared]
    for native in dict.fromkeys(column.native for column in columns if column.shared):
        parts = [column for column in columns if column.shared and column.native == native]
        values = [batch.column(part.name).combine_chunks() for part in parts]
        _require_one(batch, native, values)
        name = f"{native} (any)"
        whole = pa.StructArray.from_arrays(values, [part.name for part in parts])
        batch = batch.append_column(name, whole)
        encode = encoding.alternatives([part.encode for part in parts])
        own.append(replace(parts[0], name=name, encode=encode, read=BARE))
    return own, batch


def _require_one(batch: pa.Table, native: str, values: list[pa.Array]) -> None:
    several = np.sum([v.is_valid().to_numpy(zero_copy_only=False) for v in values], axis=0) > 1
    if several.any():
        record = batch.column("id")[int(several.argmax())].as_py()
        raise InvalidRequest(
            f"record {record!r}: it has vectors of two dimensions, and column {native!r} holds one"
        )
