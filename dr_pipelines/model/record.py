"""The Arrow schemas in which records travel. Order of columns is part of the format."""

import pyarrow as pa

from dr_pipelines.model.collection import (
    CollectionSpec,
    Field,
    FieldType,
    Vector,
    VectorKind,
)

ARROW_TYPES: dict[FieldType, pa.DataType] = {
    FieldType.STRING: pa.string(),
    FieldType.INTEGER: pa.int64(),
    FieldType.NUMBER: pa.float64(),
    FieldType.BOOLEAN: pa.bool_(),
    FieldType.TIMESTAMP: pa.timestamp("us", tz="UTC"),
    FieldType.STRINGS: pa.list_(pa.string()),
}

VERSION_COLUMNS = ("epoch", "position", "ordinal")
ORDER_COLUMNS = (*VERSION_COLUMNS, "edit", "generation", "sequence")
DOCUMENT_ROW = -1
"""The chunk_index of a document row: one per version of a document, beside its records."""


class Presence:
    """State of a document, as its row records it."""

    PRESENT = "present"
    DELETED = "deleted"  # the source said so
    ABSENT = "absent"  # a snapshot found it gone from the store; lost and deleted look the same


def record_id(document_id: str, chunk_index: int) -> str:
    """The id of a chunk's record: stable, readable, unique within a collection."""
    return f"{document_id}#{chunk_index:06d}"


def _declared(fields: tuple[Field, ...]) -> list[pa.Field]:
    return [pa.field(f.name, ARROW_TYPES[f.type]) for f in fields]


SPARSE = pa.struct(
    [
        pa.field("indices", pa.list_(pa.int64())),
        pa.field("values", pa.list_(pa.float32())),
    ]
)
"""Components that are not 0: indices ascending, each once, as many values."""


def vector_type(vector: Vector) -> pa.DataType:
    """`float32[dimension]`, `SPARSE`, or a list of `float32[dimension]`."""
    if vector.kind is VectorKind.SPARSE:
        return SPARSE
    dense = pa.list_(pa.float32(), vector.dimension)
    return pa.list_(dense) if vector.kind is VectorKind.MULTI else dense


def vector_fields(spec: CollectionSpec) -> list[pa.Field]:
    """Vector columns in declared order; null where a record has no such vector."""
    return [pa.field(v.name, vector_type(v)) for v in spec.vectors]


def store_schema(spec: CollectionSpec) -> pa.Schema:
    """The schema of rows in a store: `id, document_id, chunk_index, text, uri`, fields, `extra`,
    vectors.
    """
    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("document_id", pa.string(), nullable=False),
            pa.field("chunk_index", pa.int32(), nullable=False),
            pa.field("text", pa.string()),
            pa.field("uri", pa.string()),
            *_declared(spec.fields),
            pa.field("extra", pa.string()),
            *vector_fields(spec),
        ]
    )


ORDER_FIELDS = [
    pa.field("epoch", pa.int32(), nullable=False),
    pa.field("position", pa.int64(), nullable=False),
    pa.field("ordinal", pa.int32(), nullable=False),
    pa.field("edit", pa.int32(), nullable=False),
    pa.field("generation", pa.int64(), nullable=False),
    pa.field("sequence", pa.int64()),  # null: the entry that introduced the segment
]
DOCUMENT_FIELDS = [
    pa.field("presence", pa.string()),  # document rows only
    pa.field("chunk_count", pa.int32()),  # document rows only
    pa.field("document_sha256", pa.binary(32)),
]
DIGEST_FIELDS = [
    pa.field("content_digest", pa.binary(32)),  # record rows only
    pa.field("vector_digest", pa.binary(32)),  # record rows of segments only
]
LINEAGE_FIELDS = [
    pa.field("provenance", pa.string()),
    pa.field("batch", pa.string()),
    pa.field("updated_at", pa.timestamp("us", tz="UTC")),
]


def segment_schema(spec: CollectionSpec) -> pa.Schema:
    """A segment in memory: document rows (`chunk_index` -1, no id, no vectors) and record rows,
    sorted bytewise by `document_id`, then version, edit, generation, chunk_index. It is stored in
    two, `narrow_schema` and `vector_schema`."""
    return pa.schema(
        [
            pa.field("document_id", pa.string(), nullable=False),
            *ORDER_FIELDS,
            pa.field("chunk_index", pa.int32(), nullable=False),
            pa.field("id", pa.string()),
            *DOCUMENT_FIELDS,
            pa.field("text", pa.string()),
            pa.field("uri", pa.string()),
            *_declared(spec.fields),
            pa.field("extra", pa.string()),
            *vector_fields(spec),
            *DIGEST_FIELDS,
            *LINEAGE_FIELDS,
        ]
    )


def narrow_schema(spec: CollectionSpec) -> pa.Schema:
    """The rows of a segment as they are stored: without their vectors."""
    return _without(segment_schema(spec), {v.name for v in spec.vectors})


def vector_schema(spec: CollectionSpec) -> pa.Schema:
    """The vectors of a segment as they are stored, a row for each of its records."""
    return pa.schema(vector_fields(spec))


def chunk_schema(spec: CollectionSpec) -> pa.Schema:
    """A chunks checkpoint: a segment before its vectors, plus `prefix`, what the embedder reads
    before the text (title, overlap) and the store does not keep."""
    rows = _without(narrow_schema(spec), {"vector_digest"})
    return rows.append(pa.field("prefix", pa.string()))


def index_schema(spec: CollectionSpec) -> pa.Schema:
    """The narrow companion of a segment: all that a fold needs, row for row."""
    names = ["document_id", *ORDER_COLUMNS, "chunk_index", "id", "presence", "chunk_count"]
    names += ["document_sha256", "content_digest", "vector_digest", "updated_at"]
    tenant = spec.with_role("tenant")
    names += [tenant.name] if tenant else []
    full = segment_schema(spec)
    return pa.schema([full.field(n) for n in names])


def _without(schema: pa.Schema, names: set[str]) -> pa.Schema:
    return pa.schema([f for f in schema if f.name not in names])


CHANGE_SCHEMA = pa.schema(
    [
        pa.field("document_id", pa.string(), nullable=False),
        pa.field("position", pa.int64(), nullable=False),
        pa.field("ordinal", pa.int32(), nullable=False),
        pa.field("updated_at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("day", pa.date32(), nullable=False),
        pa.field("deleted", pa.bool_(), nullable=False),
        pa.field("title", pa.string()),
        pa.field("text", pa.large_string()),
        pa.field("uri", pa.string()),
        pa.field("metadata", pa.string()),
    ]
)
"""A source's changes in ascending (position, ordinal) order. `day` is the UTC day of the running
maximum of `updated_at` in that order; `metadata` is a JSON object; a deletion has neither title,
text, uri nor metadata."""
