"""Vectors of a segment lie beside its rows: found by its reference, read where they are needed."""

import re
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from dr_pipelines.blobs.local import LocalBlobStore
from dr_pipelines.blobs.memory import MemoryBlobStore
from dr_pipelines.errors import Damaged, Refused, Unavailable
from dr_pipelines.model.collection import CollectionSpec, Vector, VectorKind
from dr_pipelines.model.record import narrow_schema, segment_schema, vector_schema
from dr_pipelines.model.recovery_point import SegmentRef
from dr_pipelines.model.vector_encoding import Compression, VectorEncoding
from dr_pipelines.proof.verify import check_rows
from dr_pipelines.repository import segment_vectors, segments
from dr_pipelines.repository.codec import decode_table
from dr_pipelines.repository.repository import Repository
from dr_pipelines.repository.segments import (
    count_records,
    read_index,
    read_records,
    read_segment,
    records_only,
    sort_rows,
    with_content_digests,
    with_vector_digests,
    write_segment,
)
from dr_pipelines.repository.vector_storage import VectorStorage
from dr_pipelines.testing.blob_faults import Recording, flip_bit, remove
from tests.repository.builders import SPEC, Version, gone, repository, rows_of

KINDS = SPEC.model_copy(
    update={
        "vectors": (
            Vector(dimension=2),
            Vector(name="words", dimension=9, kind=VectorKind.SPARSE),
            Vector(name="tokens", dimension=2, kind=VectorKind.MULTI),
        )
    }
)
BARE = SPEC.model_copy(update={"vectors": ()})
ROWS = rows_of(
    [Version("a", texts=("one", "two")), gone(Version("b")), Version("c", vector=(2.0, -0.0))]
)


def rows_in(spec: CollectionSpec) -> pa.Table:
    """The same rows with vectors of every kind in some records, or with none."""
    rows = ROWS.select([name for name in ROWS.column_names if name != "embedding"])
    vectors: dict[str, list[Any]] = {
        "embedding": [None, [0.0, 1.0], None, None, None, [2.0, -0.0]],
        "words": [None, {"indices": [1], "values": [0.5]}, None, None, None, None],
        "tokens": [None, [], [[1.0, 2.0]], None, None, None],
    }
    for field in vector_schema(spec):
        rows = rows.append_column(field, pa.array(vectors[field.name], field.type))
    names = segment_schema(spec).names
    return with_vector_digests(with_content_digests(rows.select(names), spec), spec)


def written(home: Repository, rows: pa.Table = ROWS, spec: CollectionSpec = SPEC) -> SegmentRef:
    return write_segment(home, "books", rows, spec=spec, kind="base", entry=1)


@pytest.mark.usefixtures("every_index")
def test_rows_lie_without_vectors_and_vectors_without_document_rows() -> None:
    home = repository()
    ref = written(home)
    (vectors,) = ref.vectors
    assert vectors.key == ref.key.removesuffix(".parquet") + ".vectors.arrow"
    assert vectors.encoding is None
    narrow = decode_table(home.fetch(ref), narrow_schema(SPEC), what="here")
    assert narrow.equals(ROWS.drop_columns(["embedding"]))
    file = pa.ipc.open_file(pa.BufferReader(home.fetch(vectors)))
    assert file.read_all().equals(records_only(ROWS).select(["embedding"]))
    assert ref.companions == (ref.index, vectors)
    assert ref.stored_bytes == sum(len(home.blobs.read(key)) for key in home.blobs.keys("books/"))


@pytest.mark.parametrize("spec", [SPEC, KINDS, BARE], ids=["dense", "every kind", "none"])
def test_a_segment_comes_back_whole(spec: CollectionSpec) -> None:
    home, rows = repository(), rows_in(spec)
    ref = written(home, rows, spec)
    assert len(ref.vectors) == bool(spec.vectors)
    assert SegmentRef.model_validate(ref.model_dump(mode="json")) == ref
    assert read_segment(home, ref, spec=spec).equals(rows)
    names = segment_schema(spec).names[::-1]
    assert read_segment(home, ref, spec=spec, columns=names).equals(rows.select(names))
    assert read_records(home, ref, spec=spec, columns=names).equals(
        records_only(rows).select(names)
    )


@pytest.mark.parametrize("spec", [SPEC, KINDS, BARE], ids=["dense", "every kind", "none"])
@pytest.mark.parametrize("numbers", [[1, 2, 5], [5, 1], [2], []])
def test_some_records_come_back(spec: CollectionSpec, numbers: list[int]) -> None:
    home, rows = repository(), rows_in(spec)
    ref, chosen = written(home, rows, spec), pa.array(numbers, pa.int64())
    names = rows.column_names
    records = read_records(home, ref, spec=spec, columns=names, numbers=chosen.to_numpy())
    assert records.equals(rows.take(chosen))


def test_tombstones_alone_have_no_object_of_vectors() -> None:
    home, rows = repository(), rows_of([gone(Version("a")), gone(Version("b"))])
    ref = written(home, rows)
    assert ref.vectors == ()
    assert "vectors" not in ref.model_dump(mode="json")
    assert read_segment(home, ref, spec=SPEC).equals(rows)


def calling(hook: Callable[[str], None]) -> Repository:
    """Calls a hook with the kind of each object of a segment that is about to be written."""

    def before(call: str, key: str, moment: str, n: int) -> None:
        if call == "create" and moment == "before" and "/segments/" in key:
            hook(key.partition(".")[2])

    return repository(Recording(MemoryBlobStore(), hook=before))


def test_vectors_are_sent_while_rows_are_encoded_and_rows_are_written_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(segments, "INDEX_FROM_BYTES", 0)
    encoded, ended = threading.Event(), list[str]()

    def hook(kind: str) -> None:
        if kind == "vectors.arrow":
            assert encoded.wait(30)
        if kind == "index.parquet":
            encoded.set()
        ended.append(kind)

    written(calling(hook))
    assert ended[-1] == "parquet"
    assert sorted(ended) == ["index.parquet", "parquet", "vectors.arrow"]


@pytest.mark.parametrize("kind", ["vectors.arrow", "index.parquet", "parquet"])
def test_a_segment_that_fails_is_not_written_and_leaves_no_thread(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "INDEX_FROM_BYTES", 0)
    before, begun = set(threading.enumerate()), list[str]()

    def hook(each: str) -> None:
        begun.append(each)
        if each == kind:
            raise Unavailable("the disk is gone")

    with pytest.raises(Unavailable, match="the disk is gone"):
        written(calling(hook))
    assert ("parquet" in begun) == (kind == "parquet")
    assert set(threading.enumerate()) == before


def test_rows_that_cannot_be_encoded_leave_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> bytes:
        raise Damaged("read back differently")

    before = set(threading.enumerate())
    monkeypatch.setattr(segments, "encode_table", broken)
    with pytest.raises(Damaged, match="read back differently"):
        written(repository())
    assert set(threading.enumerate()) == before


def fetched(home: Repository) -> Counter[str]:
    """Objects read, by the end of their name."""
    blobs = home.blobs
    assert isinstance(blobs, Recording)
    keys = [call.key for call in blobs.calls if call.name == "read"]
    blobs.calls.clear()
    return Counter(key.partition(".")[2] for key in keys if "/segments/" in key)


@pytest.mark.usefixtures("every_index")
def test_vectors_are_fetched_where_they_are_wanted_alone() -> None:
    home = repository(Recording(MemoryBlobStore()))
    ref = written(home)
    fetched(home)
    read_segment(home, ref, spec=SPEC, columns=["id", "text"])
    read_records(home, ref, spec=SPEC, columns=["vector_digest"])
    read_segment(home, ref, spec=SPEC, columns=narrow_schema(SPEC).names)
    assert fetched(home) == {"parquet": 3}
    read_index(home, ref, spec=SPEC)
    assert fetched(home) == {"index.parquet": 1}
    read_segment(home, ref, spec=SPEC)
    read_records(home, ref, spec=SPEC, columns=["embedding"])
    assert fetched(home) == {"parquet": 2, "vectors.arrow": 2}


def test_long_vectors_lie_in_several_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    home = repository()
    rows = rows_of([Version("a", texts=tuple("abcdefgh")), Version("b", texts=("i", "j"))])
    monkeypatch.setattr(segment_vectors, "OBJECT_BYTES", 30)
    ref = written(home, rows)
    ends = [part.key.partition(".")[2] for part in ref.vectors]
    assert ends == ["vectors.arrow", *(f"vectors-{n}.arrow" for n in range(1, len(ends)))]
    assert len(ends) == 4
    assert read_segment(home, ref, spec=SPEC).equals(rows)
    missing = ref.model_copy(update={"vectors": ref.vectors[:-1]})
    with pytest.raises(Damaged, match=r"vectors for 10 records"):
        read_segment(home, missing, spec=SPEC)


def test_more_vectors_than_a_segment_may_have_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment_vectors, "MAX_DECODED_BYTES", 23)
    with pytest.raises(Refused, match="26 bytes of vectors, more than a segment may have"):
        written(repository())
    monkeypatch.setattr(segment_vectors, "MAX_DECODED_BYTES", 26)
    home = repository()
    ref = written(home)
    monkeypatch.setattr(segment_vectors, "MAX_DECODED_BYTES", 23)
    with pytest.raises(Damaged, match="more vectors than the limit of 23 bytes"):
        read_segment(home, ref, spec=SPEC)


@pytest.mark.parametrize("encoding", ["arrow", "arrow+zstd"])
def test_vectors_say_how_they_are_encoded(encoding: VectorEncoding) -> None:
    compression: Compression = "never" if encoding == "arrow" else "always"
    home = replace(repository(), vectors=VectorStorage(compression))
    ref = written(home)
    assert [part.encoding for part in ref.vectors] == [None if encoding == "arrow" else encoding]
    assert read_segment(home, ref, spec=SPEC).equals(ROWS)


@pytest.mark.parametrize("kind", ["missing", "flipped", "of another encoding", "of rows"])
def test_damaged_vectors_are_named(kind: str) -> None:
    home = repository()
    ref = written(home)
    (vectors,) = ref.vectors
    if kind == "missing":
        remove(home.blobs, vectors.key)
    elif kind == "flipped":
        flip_bit(home.blobs, vectors.key, offset=vectors.size_bytes // 2, bit=3)
    elif kind == "of another encoding":
        vectors = vectors.model_copy(update={"encoding": "arrow+zstd"})
    else:
        vectors = vectors.model_copy(update={"encoding": "parquet"})
    with pytest.raises(Damaged, match=vectors.key.replace("+", ".")):
        read_segment(home, ref.model_copy(update={"vectors": (vectors,)}), spec=SPEC)
    assert read_segment(home, ref, spec=SPEC, columns=["text"]).num_rows == ref.rows


def test_rows_of_a_segment_are_sorted_with_their_vectors() -> None:
    mixed = ROWS.take(pa.array([5, 2, 0, 4, 1, 3]))
    assert sort_rows(mixed).equals(ROWS)
    assert count_records(mixed) == 3


# Where they lie


@pytest.mark.parametrize("compression", ["never", "always"])
@pytest.mark.parametrize("spec", [SPEC, KINDS, BARE], ids=["dense", "every kind", "none"])
@pytest.mark.parametrize("local", [True, False])
def test_mapped_vectors_are_those_that_are_read(
    tmp_path: Path, compression: Compression, spec: CollectionSpec, local: bool
) -> None:
    blobs = LocalBlobStore(tmp_path) if local else MemoryBlobStore()
    home = replace(repository(blobs), vectors=VectorStorage(compression))
    ref = written(home, rows_in(spec), spec)
    mapped = segment_vectors.map_vectors(home, ref, spec=spec)
    assert mapped.equals(segment_vectors.read_vectors(home, ref, spec=spec))


def test_mapped_vectors_take_no_memory_and_are_in_the_file(tmp_path: Path) -> None:
    home = repository(LocalBlobStore(tmp_path))
    ref = written(home)
    before = pa.total_allocated_bytes()
    mapped = segment_vectors.map_vectors(home, ref, spec=SPEC)
    assert pa.total_allocated_bytes() == before
    assert mapped["embedding"].num_chunks == 1
    address = mapped["embedding"].chunk(0).values.buffers()[1].address
    ranges = [
        [int(end, 16) for end in line.split(" ", 1)[0].split("-")]
        for line in Path("/proc/self/maps").read_text().splitlines()
        if ref.vectors[0].key in line
    ]
    assert any(start <= address < end for start, end in ranges)


@pytest.mark.parametrize("damage", [remove, partial(flip_bit, offset=70, bit=1)])
def test_vectors_are_proven_before_they_are_mapped(
    tmp_path: Path, damage: Callable[..., None]
) -> None:
    home = repository(LocalBlobStore(tmp_path))
    ref = written(home)
    damage(home.blobs, ref.vectors[0].key)
    with pytest.raises(Damaged, match=re.escape(ref.vectors[0].key)):
        segment_vectors.map_vectors(home, ref, spec=SPEC)


def test_an_empty_object_and_a_link_are_no_mapped_vectors(tmp_path: Path) -> None:
    home = repository(LocalBlobStore(tmp_path))
    ref = written(home)
    file = tmp_path / ref.vectors[0].key
    data = file.read_bytes()
    file.unlink()
    file.write_bytes(b"")
    with pytest.raises(Damaged, match="has 0 bytes, not"):
        segment_vectors.map_vectors(home, ref, spec=SPEC)
    file.unlink()
    (tmp_path / "elsewhere").write_bytes(data)
    file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Damaged, match=r"not a regular file|symbolic link"):
        segment_vectors.map_vectors(home, ref, spec=SPEC)


@pytest.mark.parametrize("read", ["rows", "records", "check"])
def test_rows_and_vectors_of_different_records_are_damaged(read: str) -> None:
    """Whoever may write can put vectors of fewer records beside rows, and refer to them so."""
    home = repository()
    ref, other = written(home), written(home, rows_of([Version("z", texts=("one", "two"))]))
    forged = ref.model_copy(update={"vectors": other.vectors, "records": other.records})
    reads: dict[str, Callable[[], object]] = {
        "rows": lambda: read_segment(home, forged, spec=SPEC),
        "records": lambda: read_records(home, forged, spec=SPEC, columns=["embedding"]),
        "check": lambda: check_rows(home, forged, SPEC),
    }
    with pytest.raises(Damaged, match="has 3 records, not 2"):
        reads[read]()
