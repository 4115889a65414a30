"""Columns of a table as it is as columns of a collection: which is what.

Of a table that somebody made, a key becomes `id`, an obvious text `text`, an obvious JSON document
`extra`, vectors are vectors; the rest are fields, as text where none of the six types holds them.
"""

import re
from collections.abc import Sequence

from dr_pipelines.model.collection import (
    FIXED_COLUMNS,
    MAX_DIMENSION,
    RESERVED_COLUMNS,
    CollectionSpec,
    Field,
    FieldType,
    Vector,
    VectorKind,
    VectorType,
)
from dr_pipelines.model.record import ARROW_TYPES
from dr_pipelines.stores.pgvector import (
    decoding,
    decoding_lists,
    encoding,
    encoding_lists,
)
from dr_pipelines.stores.pgvector.catalog import Attribute, Table
from dr_pipelines.stores.pgvector.columns import (
    BARE,
    TEXT_OID,
    VARCHAR_OID,
    Column,
    Mapping,
    own_columns,
    text_of,
    vector_codec,
)
from dr_pipelines.stores.pgvector.decoding import Decoder
from dr_pipelines.stores.pgvector.dimensions import MOST, of_one, sizes
from dr_pipelines.stores.pgvector.encoding import Encoder
from dr_pipelines.stores.pgvector.shown import from_bytes
from dr_pipelines.stores.pgvector.statements import qualified

TEXT_NAMES = ("text", "content", "document", "body", "chunk", "chunk_text", "page_content")
EXTRA_NAMES = ("extra", "metadata", "meta", "cmetadata", "metadata_", "payload", "attributes")
URI_NAMES = ("uri", "url", "source_url")
TEXTS = frozenset(["text", "varchar", "bpchar", "name"])
NUMBERS: dict[str, tuple[FieldType, str]] = {
    "int2": (FieldType.INTEGER, ">i2"),
    "int4": (FieldType.INTEGER, ">i4"),
    "int8": (FieldType.INTEGER, ">i8"),
    "float4": (FieldType.NUMBER, ">f4"),
    "float8": (FieldType.NUMBER, ">f8"),
}
OTHER_TYPES = {
    "bool": FieldType.BOOLEAN,
    "timestamptz": FieldType.TIMESTAMP,
    "_text": FieldType.STRINGS,
    "_varchar": FieldType.STRINGS,
}
WHOLE, REAL = qualified("{0}::int8"), qualified("{0}::float8")
VECTOR_TYPES = {
    "vector": (VectorKind.DENSE, VectorType.FLOAT32),
    "halfvec": (VectorKind.DENSE, VectorType.FLOAT16),
    "sparsevec": (VectorKind.SPARSE, VectorType.FLOAT32),
    "bit": (VectorKind.DENSE, VectorType.BIT),
}


def foreign_mapping(
    table: Table, *, dimensions: dict[str, list[int]], bits: frozenset[str] = frozenset()
) -> Mapping:
    """The roles of the columns of a table that somebody else made. `dimensions` are those of
    vector columns that declare none, as far as they are known; `bits` are bit strings that are
    known to be vectors; generated columns are left to the table."""
    written = [a for a in table.attributes if not a.generated]
    roles = _roles(written, table)
    taken = {"id"}
    compared = bits | indexed_bits(table)
    fields, vectors, columns = list[Field](), list[Vector](), list[Column]()
    for attribute in written:
        vectors_of_it = _vectors(attribute, dimensions, taken, compared)
        if attribute.name in roles:
            columns.append(_foreign_column(attribute, roles[attribute.name]))
        elif vectors_of_it:
            vectors += vectors_of_it
            columns += _vector_columns(attribute, vectors_of_it)
        else:
            field = Field(name=_free(attribute.name, taken), type=_field_type(attribute))
            fields.append(field)
            columns.append(_foreign_column(attribute, field.name))
    # embeddings before their hashes, wherever the columns stand; an index, which comes and goes,
    # decides nothing here: backups refuse a contract in another order
    vectors.sort(key=lambda vector: vector.dtype is VectorType.BIT)
    return Mapping(tuple(fields), tuple(vectors), tuple(columns))


def _roles(written: Sequence[Attribute], table: Table) -> dict[str, str]:
    """Columns that are one of the fixed ones. Those of a key of several stay fields."""
    roles = dict[str, str]()
    if len(table.key) == 1:
        roles[table.attribute(table.key[0]).name] = "id"
    others = [a for a in written if a.number not in table.key]
    for role, names, kinds in (
        ("text", TEXT_NAMES, {"text", "varchar"}),
        ("extra", EXTRA_NAMES, {"jsonb", "json"}),
        ("uri", URI_NAMES, {"text", "varchar"}),
    ):
        fitting = [a for a in others if a.kind in kinds and a.name not in roles]
        named = sorted((a for a in fitting if a.name in names), key=lambda a: names.index(a.name))
        if named or (len(fitting) == 1 and role != "uri"):
            roles[(named or fitting)[0].name] = role
    return roles


def _vectors(
    attribute: Attribute, dimensions: dict[str, list[int]], taken: set[str], bits: frozenset[str]
) -> list[Vector]:
    """The vectors of a column: one, or one for each dimension that it holds, `NAME_8` and
    `NAME_16`. Empty if it is no vector, no dimension is known, or there are too many to be
    meant."""
    declared = [attribute.modifier] if attribute.modifier > 0 else None
    sizes = declared or dimensions.get(attribute.name, [])
    if not (has_vectors(attribute) or attribute.name in bits) or len(sizes) > MOST:
        return []
    kind, dtype = VECTOR_TYPES[attribute.kind]
    if kind is VectorKind.DENSE and any(size > MAX_DIMENSION for size in sizes):
        return []
    names = [attribute.name if len(sizes) == 1 else f"{attribute.name}_{size}" for size in sizes]
    return [
        Vector(name=_free(name, taken), dimension=size, dtype=dtype, kind=kind)
        for name, size in zip(names, sizes, strict=True)
    ]


def _vector_columns(attribute: Attribute, vectors: list[Vector]) -> list[Column]:
    """How they travel: one of several reads only its own of the column."""
    return [
        Column(
            vector.name,
            attribute.name,
            attribute.type,
            *vector_codec(attribute.kind, vector.dimension),
            of_one(attribute.kind, vector.dimension) if len(vectors) > 1 else BARE,
            shared=len(vectors) > 1,
            own=_own_of_one(attribute.kind, vector.dimension) if len(vectors) > 1 else None,
        )
        for vector in vectors
    ]


def _own_of_one(kind: str, size: int) -> Decoder:
    """The decoder of the vectors of one dimension of a column that holds several."""
    decode, _ = vector_codec(kind, size)
    return lambda fields: decode(fields.where(sizes(kind, fields) == size))


def has_vectors(attribute: Attribute) -> bool:
    """True if a column is of a type that is for vectors alone."""
    return attribute.kind in VECTOR_TYPES and attribute.origin == "pgvector"


def indexed_bits(table: Table) -> frozenset[str]:
    """Columns of bit strings that are compared as vectors: without an index for that they are
    flags, whatever their length."""
    indexed = {key for i in table.indexes if i.method in ("hnsw", "ivfflat") for key in i.keys}
    return frozenset(
        a.name
        for a in table.attributes
        if a.kind == "bit" and a.plain and a.modifier > 1 and a.number in indexed
    )


def _free(name: str, taken: set[str]) -> str:
    """A name that a column of a collection may have."""
    plain = re.sub(r"[^A-Za-z0-9_]", "_", name)[:60]
    plain = plain if re.match(r"[A-Za-z_]", plain) else f"_{plain}"
    while plain in RESERVED_COLUMNS or plain in taken:
        plain += "_"
    taken.add(plain)
    return plain


def _field_type(attribute: Attribute) -> FieldType:
    if not attribute.plain:
        return FieldType.STRING
    if attribute.kind in NUMBERS:
        return NUMBERS[attribute.kind][0]
    return OTHER_TYPES.get(attribute.kind, FieldType.STRING)


def _foreign_column(attribute: Attribute, name: str) -> Column:
    """Text for the fixed columns; else what the type of its field says."""
    native, declared = attribute.name, attribute.type
    kind, fixed = attribute.kind if attribute.plain else "", name in RESERVED_COLUMNS
    match FieldType.STRING if fixed else _field_type(attribute):
        case FieldType.INTEGER | FieldType.NUMBER as field:
            wide, read = (">i8", WHOLE) if field is FieldType.INTEGER else (">f8", REAL)
            decode = decoding.numbers(wide, ARROW_TYPES[field])
            encode = encoding.numbers(NUMBERS[kind][1])
            own = decoding.numbers(NUMBERS[kind][1], ARROW_TYPES[field])
            return Column(name, native, declared, decode, encode, read, own=own)
        case FieldType.BOOLEAN:
            return Column(name, native, declared, decoding.booleans, encoding.booleans)
        case FieldType.TIMESTAMP:
            return Column(name, native, declared, decoding.times, encoding.times)
        case FieldType.STRINGS:
            lists = encoding_lists.shaped_lists(TEXT_OID if kind == "_text" else VARCHAR_OID)
            return Column(name, native, declared, decoding_lists.string_lists, lists)
        case _:
            encoder = _text_encoder(kind)
            return Column(
                name,
                native,
                declared,
                decoding.strings,
                encoder or encoding.strings,
                text_of(attribute),
                staged=encoder is None,
                own=from_bytes(attribute),
            )


def _text_encoder(kind: str) -> Encoder | None:
    """The encoder that writes a text as a value of a type without the engine's input function."""
    if kind in TEXTS or kind == "json":
        return encoding.strings
    if kind in ("int2", "int4", "int8"):
        return encoding.numbers_in_text(NUMBERS[kind][1])
    return {"jsonb": encoding.documents, "uuid": encoding.uuids}.get(kind)


def own_mapping(table: Table, spec: CollectionSpec, *, vector_oid: int) -> Mapping | None:
    """The roles of the columns of a table of ours: as created, without those that are gone, and
    with those added since, read as in a table of others. None if a fixed column is gone."""
    declared = {c.native: c for c in own_columns(spec, vector_oid=vector_oid)}
    live = {a.name: a for a in table.attributes if not a.generated}
    same = [c for c in declared.values() if _is(live.get(c.native), c)]
    names = {c.name for c in same}
    if not names.issuperset(FIXED_COLUMNS):
        return None
    taken = names | set(RESERVED_COLUMNS)
    fields = [f for f in spec.fields if f.name in names]
    vectors = [v for v in spec.vectors if v.name in names]
    for attribute in live.values():
        if attribute.name in declared and declared[attribute.name] in same:
            continue
        vectors_of_it = _vectors(attribute, {}, taken, indexed_bits(table))
        if vectors_of_it:
            vectors += vectors_of_it
            same += _vector_columns(attribute, vectors_of_it)
        else:
            field = Field(name=_free(attribute.name, taken), type=_field_type(attribute))
            fields.append(field)
            same.append(_foreign_column(attribute, field.name))
    return Mapping(tuple(fields), tuple(vectors), tuple(same))


def _is(attribute: Attribute | None, column: Column) -> bool:
    declared = column.type.removesuffix(' COLLATE "C"')
    return attribute is not None and attribute.type == declared
