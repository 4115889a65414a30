"""The objects of a segment beside its rows: their names, and the vectors of its records."""

from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa

from dr_pipelines.errors import Damaged, NotFound, Refused
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.record import vector_schema
from dr_pipelines.model.recovery_point import (
    MAX_VECTOR_OBJECTS,
    MAX_VECTORS_BYTES,
    ObjectRef,
    PackedRef,
    SegmentRef,
)
from dr_pipelines.model.vector_encoding import VectorEncoding
from dr_pipelines.repository.codec import MAX_DECODED_BYTES
from dr_pipelines.repository.repository import Repository
from dr_pipelines.repository.vector_codec import (
    HEAD_BYTES,
    decode_vectors,
    encode_vectors,
    encoding_of,
)

OBJECT_BYTES = MAX_VECTORS_BYTES - HEAD_BYTES
"""Of vectors in one object, without its description of columns."""
LABEL = "vectors"
"""Of a segment that is found by listing: the hashes of the objects that its vectors are."""


def index_key(key: str) -> str:
    """The name of the index of a segment."""
    return key.removesuffix(".parquet") + ".index.parquet"


def vectors_key(key: str, number: int) -> str:
    """The name of an object of a segment's vectors, which are seldom more than one."""
    return (
        key.removesuffix(".parquet") + (f".vectors-{number}" if number else ".vectors") + ".arrow"
    )


def write_vectors(repository: Repository, key: str, vectors: pa.Table) -> tuple[ObjectRef, ...]:
    """Store the vectors of the records of a segment, encoded as the repository has it now, in as
    many objects as they need; none where there is nothing. Raises `Refused` for more than a segment
    may have."""
    if vectors.nbytes > MAX_DECODED_BYTES:
        raise Refused(
            f"{key}: {vectors.nbytes} bytes of vectors, more than a segment may have "
            f"({MAX_DECODED_BYTES}): cut the document into several, or into fewer records"
        )
    refs, encoding = [], repository.vectors.now().encoding
    for number, part in enumerate(_parts(vectors)):
        data = encode_vectors(part, encoding=encoding)
        refs.append(_encoded(repository.put(vectors_key(key, number), data), encoding))
    return tuple(refs)


def read_vectors(
    repository: Repository,
    ref: SegmentRef,
    *,
    spec: CollectionSpec,
    columns: list[str] | None = None,
) -> pa.Table:
    """The vectors of a segment's records, in their order; raises `Damaged`."""
    return _joined(
        repository.fetch, ref.vectors, ref.records, what=ref.key, spec=spec, columns=columns
    )


def read_packed_vectors(
    repository: Repository,
    ref: PackedRef,
    *,
    records: int,
    spec: CollectionSpec,
    columns: list[str] | None = None,
) -> pa.Table:
    """The vectors of packed records, of which there are so many; raises `Damaged`."""
    return _joined(repository.fetch, ref.vectors, records, what=ref.key, spec=spec, columns=columns)


def map_vectors(
    repository: Repository,
    ref: SegmentRef,
    *,
    spec: CollectionSpec,
    columns: list[str] | None = None,
) -> pa.Table:
    """As `read_vectors`, to be searched again and again: what lies uncompressed on this machine is
    not copied, but proven once and then read from its file as it is needed."""
    return _joined(
        repository.map, ref.vectors, ref.records, what=ref.key, spec=spec, columns=columns
    )


def _joined(
    fetch: Callable[[ObjectRef], bytes | memoryview],
    refs: Sequence[ObjectRef],
    records: int,
    *,
    what: str,
    spec: CollectionSpec,
    columns: list[str] | None,
) -> pa.Table:
    schema, size = vector_schema(spec), 0
    parts = list[pa.Table]()
    for part in refs:
        data = fetch(part)
        parts.append(decode_vectors(data, schema, what=part.key, encoding=_encoding(part)))
        size += parts[-1].nbytes
        if size > MAX_DECODED_BYTES:
            raise Damaged(f"{what}: more vectors than the limit of {MAX_DECODED_BYTES} bytes")
    table = pa.concat_tables(parts) if parts else schema.empty_table()
    if schema.names and table.num_rows != records:
        raise Damaged(f"{what}: {table.num_rows} vectors for {records} records")
    return table if columns is None else table.select(columns)


def label_of(vectors: Sequence[ObjectRef]) -> str:
    """The value of `LABEL`."""
    return ",".join(ref.sha256 for ref in vectors)


def adopted_vectors(
    repository: Repository, key: str, *, label: str | None
) -> tuple[ObjectRef, ...] | None:
    """References to the vectors of a segment that nothing names yet, by its label; None where they
    are not all there as they were written."""
    hashes = [sha256 for sha256 in (label or "").split(",") if sha256]
    refs = []
    for number, sha256 in enumerate(hashes[: MAX_VECTOR_OBJECTS + 1]):
        place = vectors_key(key, number)
        try:
            data = repository.blobs.read(place, (0, MAX_VECTORS_BYTES + 1))
        except NotFound:
            return None
        ref, kind = ObjectRef.of(place, data), encoding_of(data)
        if ref.sha256 != sha256 or kind is None:
            return None
        refs.append(_encoded(ref, kind))
    return tuple(refs) if label is not None and len(refs) <= MAX_VECTOR_OBJECTS else None


def _encoded(ref: ObjectRef, encoding: VectorEncoding) -> ObjectRef:
    """A reference that says how vectors are encoded, where that is not as usual."""
    return ref if encoding == "arrow" else ref.model_copy(update={"encoding": encoding})


def _encoding(ref: ObjectRef) -> VectorEncoding:
    """Raises `Damaged` for an object that no vectors are encoded as."""
    if ref.encoding in (None, "arrow"):
        return "arrow"
    if ref.encoding == "arrow+zstd":
        return "arrow+zstd"
    raise Damaged(f"{ref.key}: vectors are not encoded as {ref.encoding}")


def _parts(vectors: pa.Table) -> Iterator[pa.Table]:
    """Slices that fit into an object each: halves, until they do."""
    if not vectors.num_rows or not vectors.num_columns:
        return
    if vectors.nbytes <= OBJECT_BYTES or vectors.num_rows == 1:
        yield vectors
        return
    half = vectors.num_rows // 2
    yield from _parts(vectors.slice(0, half))
    yield from _parts(vectors.slice(half))
