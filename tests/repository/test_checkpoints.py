"""Work that a killed run left is adopted when it fits and is whole; all else is done again."""

from collections.abc import Callable
from dataclasses import replace as changed
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from dr_pipelines.errors import Damaged, NotFound, Refused
from dr_pipelines.model.record import CHANGE_SCHEMA, chunk_schema
from dr_pipelines.model.recovery_point import CheckpointRef, PositionRange, SegmentRef
from dr_pipelines.protocols import BlobStore
from dr_pipelines.repository.checkpoints import (
    find_chunks,
    find_documents,
    find_embeddings,
    piece_of,
    range_of,
    read_chunks,
    read_documents,
    write_checkpoint,
    write_embeddings,
)
from dr_pipelines.repository.codec import encode_table
from dr_pipelines.repository.history import History
from dr_pipelines.repository.repository import Repository
from dr_pipelines.repository.segments import read_index, read_segment
from dr_pipelines.testing.blob_faults import (
    Recording,
    flip_bit,
    remove,
    replace,
    swap,
    truncate,
)
from tests.repository.builders import (
    LONG,
    SPEC,
    Version,
    index_of,
    repository,
    rows_of,
)

DAY = "2026-01-01"
STRETCH = PositionRange(DAY, 1, 4, 8)
SOURCE, CHUNKER, MODEL = "a" * 64, "b" * 64, "c" * 64
ENVIRONMENT, ANCHOR = "e" * 64, "anchor at 8"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def changes() -> pa.Table:
    rows: list[dict[str, Any]] = [
        {"document_id": "a", "position": 5, "deleted": False, "text": "one"},
        {"document_id": "b", "position": 8, "deleted": True},
    ]
    fixed = {"ordinal": 0, "updated_at": NOON, "day": date(2026, 1, 1)}
    return pa.Table.from_pylist([fixed | row for row in rows], schema=CHANGE_SCHEMA)


def segment_rows(*, generation: int = 1) -> pa.Table:
    return rows_of([Version("a", 5, ("one", "two"), generation=generation)])


def chunk_rows() -> pa.Table:
    rows = segment_rows()
    schema = chunk_schema(SPEC)
    columns = {
        f.name: rows[f.name] if f.name in rows.column_names else pa.nulls(rows.num_rows, f.type)
        for f in schema
    }
    return pa.table(columns, schema=schema)


def write_documents(
    home: Repository, position_range: PositionRange = STRETCH, *, anchor: str = ANCHOR
) -> CheckpointRef:
    return write_checkpoint(
        History(home, "books"),
        changes(),
        stage="documents",
        schema=CHANGE_SCHEMA,
        position_range=position_range,
        provenance=SOURCE,
        input_sha256=anchor,
    )


def write_chunks(
    home: Repository, of: CheckpointRef, rows: pa.Table | None = None
) -> CheckpointRef:
    return write_checkpoint(
        History(home, "books"),
        chunk_rows() if rows is None else rows,
        stage="chunks",
        schema=chunk_schema(SPEC),
        position_range=range_of(of),
        provenance=CHUNKER,
        input_sha256=of.sha256,
    )


def write_vectors(
    home: Repository, of: CheckpointRef, rows: pa.Table | None = None, *, piece: int = 0
) -> SegmentRef:
    return write_embeddings(
        History(home, "books"),
        segment_rows() if rows is None else rows,
        spec=SPEC,
        of=of,
        name=piece_of(of, piece),
        kind="ingest",
        provenance=MODEL,
        environment=ENVIRONMENT,
        seconds=2.5,
    )


def documents_in(
    home: Repository, position_range: PositionRange = STRETCH, *, provenance: str = SOURCE
) -> list[tuple[CheckpointRef, str]]:
    return find_documents(
        History(home, "books"), position_range=position_range, provenance=provenance
    )


def chunks_of(
    home: Repository, of: CheckpointRef, *, provenance: str = CHUNKER
) -> CheckpointRef | None:
    return find_chunks(History(home, "books"), of=of, provenance=provenance, spec=SPEC)


def vectors_of(
    home: Repository,
    *,
    day: str = DAY,
    provenance: str = MODEL,
    claimed: frozenset[str] = frozenset(),
) -> dict[str, SegmentRef]:
    checkpoint = find_embeddings(
        History(home, "books"), day=day, provenance=provenance, spec=SPEC, claimed=claimed
    )
    assert all(embedded.seconds == 2.5 for embedded in checkpoint.values())
    return {piece: embedded.segment for piece, embedded in checkpoint.items()}


def test_every_stage_is_found_again_by_another_process() -> None:
    home = repository()
    documents = write_documents(home)
    chunks = write_chunks(home, documents)
    segment = write_vectors(home, chunks)
    other = repository(home.blobs, writer="w2")
    assert documents_in(other) == [(documents, ANCHOR)]
    assert read_documents(other, documents).equals(changes())
    assert range_of(documents) == range_of(chunks) == STRETCH
    assert chunks_of(other, documents) == chunks
    assert read_chunks(other, chunks, spec=SPEC).equals(chunk_rows())
    assert vectors_of(other) == {piece_of(chunks, 0): segment}
    assert read_segment(other, segment, spec=SPEC).equals(segment_rows())
    assert read_index(other, segment, spec=SPEC).num_rows == segment.rows == 3
    assert (segment.records, segment.entry, segment.partition) == (2, 0, DAY)


@pytest.mark.parametrize(
    "position_range",
    [
        changed(STRETCH, day="2026-01-02"),
        changed(STRETCH, epoch=2),
        changed(STRETCH, after=5),
        changed(STRETCH, through=7),
    ],
    ids=["another day", "another epoch", "began earlier", "read further"],
)
def test_documents_that_do_not_fit_are_not_adopted(position_range: PositionRange) -> None:
    home = repository()
    write_documents(home)
    assert documents_in(home, position_range) == []


def test_documents_within_a_wider_stretch_are_adopted_as_what_they_are() -> None:
    home = repository()
    refs = [
        write_documents(home, changed(STRETCH, after=a, through=b)) for a, b in ((4, 6), (6, 8))
    ]
    documents = documents_in(home, changed(STRETCH, after=0, through=100))
    assert [ref for ref, _ in documents] == refs
    assert [(ref.after, ref.through) for ref in refs] == [(4, 6), (6, 8)]


def test_what_another_source_chunker_or_model_made_is_not_adopted() -> None:
    home = repository()
    documents = write_documents(home)
    chunks = write_chunks(home, documents)
    segment = write_vectors(home, chunks)
    assert documents_in(home, provenance="f" * 64) == []
    assert chunks_of(home, documents, provenance="f" * 64) is None
    assert chunks_of(home, documents.model_copy(update={"sha256": "f" * 64})) is None
    assert vectors_of(home, provenance="f" * 64) == {}
    assert vectors_of(home, day="2026-01-02") == {}
    assert vectors_of(home, claimed=frozenset([segment.key])) == {}


def test_the_newest_generation_of_a_piece_is_adopted() -> None:
    home = repository()
    chunks = write_chunks(home, write_documents(home))
    new = write_vectors(home, chunks, segment_rows(generation=3))
    write_vectors(home, chunks, segment_rows(generation=2))
    other = write_vectors(home, chunks, segment_rows(generation=1), piece=1)
    assert vectors_of(home) == {piece_of(chunks, 0): new, piece_of(chunks, 1): other}


def everything(home: Repository) -> tuple[CheckpointRef, CheckpointRef, SegmentRef]:
    documents = write_documents(home)
    chunks = write_chunks(home, documents)
    return documents, chunks, write_vectors(home, chunks)


def adopted(home: Repository, documents: CheckpointRef) -> tuple[int, bool, int]:
    return len(documents_in(home)), chunks_of(home, documents) is not None, len(vectors_of(home))


def test_no_flipped_bit_is_adopted() -> None:
    home = repository()
    documents, chunks, segment = everything(home)
    index = segment.index
    assert adopted(home, documents) == (1, True, 1)
    expected = {
        documents.key: (0, True, 1),
        chunks.key: (1, False, 1),
        segment.key: (1, True, 0),
        segment.vectors[0].key: (1, True, 0),
    }
    for ref in (documents, chunks, segment, *segment.vectors):
        for offset in range(0, ref.size_bytes, 11 if LONG else 97):
            flip_bit(home.blobs, ref.key, offset=offset, bit=offset % 8)
            assert adopted(home, documents) == expected[ref.key], (ref.key, offset)
            flip_bit(home.blobs, ref.key, offset=offset, bit=offset % 8)
    assert adopted(home, documents) == (1, True, 1)
    assert vectors_of(home)[piece_of(chunks, 0)].index == index


def test_a_flipped_label_is_not_adopted() -> None:
    """`after=4` made `after=0` would claim changes that nobody read."""
    home = repository()
    documents, _, _ = everything(home)
    data = home.blobs.read(documents.key)
    for label in (b"after", b"through", b"epoch", b"day", b"input", b"provenance"):
        value = data.rindex(label) + len(label) + 2  # Thrift: a field and a length between
        flip_bit(home.blobs, documents.key, offset=value, bit=2)
        assert documents_in(home, changed(STRETCH, after=0, through=100)) == []
        replace(home.blobs, documents.key, data)


def spoil(name: str) -> Callable[[pa.Table], pa.Table]:
    """Valid rows of the right schema whose digests are not those of their values."""

    def wrong(rows: pa.Table) -> pa.Table:
        place, field = rows.column_names.index(name), rows.schema.field(name)
        other = pa.array([b"\1" * 32] * rows.num_rows, pa.binary(32))
        column = pc.if_else(rows[name].is_valid(), other, pa.scalar(None, pa.binary(32)))
        return rows.set_column(place, field, column)

    return wrong


def test_rows_that_do_not_hold_what_their_digests_say_are_not_adopted() -> None:
    home = repository()
    documents = write_documents(home)
    write_chunks(home, documents, spoil("content_digest")(chunk_rows()))
    chunks = write_chunks(repository(), documents)
    for name in ("content_digest", "vector_digest"):
        write_vectors(home, chunks, spoil(name)(segment_rows()))
    assert adopted(home, documents) == (1, False, 0)


DAMAGE: dict[str, Callable[[BlobStore, str], None]] = {
    "cut": lambda blobs, key: truncate(blobs, key, size=-1),
    "emptied": lambda blobs, key: truncate(blobs, key, size=0),
    "text": lambda blobs, key: replace(blobs, key, b"not Parquet"),
    "foreign": lambda blobs, key: replace(blobs, key, foreign()),
    "unlabelled": lambda blobs, key: replace(blobs, key, encode_table(changes())),  # type: ignore[arg-type]
    "relabelled": lambda blobs, key: replace(blobs, key, relabelled(blobs.read(key))),
    "gone": remove,
}


def foreign() -> bytes:
    sink = pa.BufferOutputStream()
    labels = {b"stage": b"documents", b"note": b"\xff"}
    pq.write_table(pa.table({"a": [1]}).replace_schema_metadata(labels), sink)
    return bytes(sink.getvalue().to_pybytes())


def relabelled(data: bytes) -> bytes:
    """By another program, which keeps the labels and the seal but not the bytes."""
    table = pq.read_table(pa.BufferReader(data))
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(sink.getvalue().to_pybytes())


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_or_foreign_checkpoint_is_ignored(how: str) -> None:
    home = repository()
    documents, chunks, segment = everything(home)
    for ref, expected in (
        (segment, (1, True, 0)),
        (chunks, (1, False, 0)),
        (documents, (0, False, 0)),
    ):
        DAMAGE[how](home.blobs, ref.key)
        assert adopted(home, documents) == expected


@pytest.mark.usefixtures("every_index")
@pytest.mark.parametrize("how", sorted(DAMAGE.keys() - {"relabelled"}))
def test_vectors_whose_index_is_damaged_are_ignored(how: str) -> None:
    home = repository()
    documents, _, segment = everything(home)
    DAMAGE[how](home.blobs, index_of(segment).key)
    assert adopted(home, documents) == (1, True, 0)


@pytest.mark.usefixtures("every_index")
def test_vectors_with_the_index_of_others_are_ignored() -> None:
    home = repository()
    chunks = write_chunks(home, write_documents(home))
    one = write_vectors(home, chunks)
    other = write_vectors(home, chunks, segment_rows(generation=2), piece=1)
    swap(home.blobs, index_of(one).key, index_of(other).key)
    assert vectors_of(home) == {}


def test_a_damaged_checkpoint_that_the_log_names_is_an_error() -> None:
    home = repository()
    documents, chunks, _ = everything(home)
    for ref in (documents, chunks):
        flip_bit(home.blobs, ref.key, offset=50)
    with pytest.raises(Damaged, match=f"{documents.key} has been altered"):
        read_documents(home, documents)
    with pytest.raises(Damaged, match=f"{chunks.key} has been altered"):
        read_chunks(home, chunks, spec=SPEC)


def test_a_listing_that_misses_everything_costs_work_and_nothing_else() -> None:
    home = repository()
    documents, _, _ = everything(home)

    class Forgetful(Recording):
        def keys(self, prefix: str) -> Any:
            return iter(())

    assert adopted(repository(Forgetful(home.blobs), writer="w2"), documents) == (0, False, 0)


def test_an_object_that_vanishes_while_it_is_listed_is_ignored() -> None:
    home = repository()
    documents, _, _ = everything(home)

    def hook(name: str, key: str, moment: str, n: int) -> None:
        if (name, moment) == ("read", "before") and "/checkpoints/" in key:
            raise NotFound(key)

    other = repository(Recording(home.blobs, hook=hook), writer="w2")
    assert adopted(other, documents) == (0, False, 0)


def test_two_writers_of_one_stretch_leave_two_checkpoints_and_either_will_do() -> None:
    home = repository()
    one = write_documents(home)
    other = write_documents(repository(home.blobs, writer="w2"))
    assert one.sha256 == other.sha256
    assert [ref for ref, _ in documents_in(home)] == [one, other]


def test_rows_in_another_schema_are_not_written() -> None:
    home = repository()
    with pytest.raises(Refused, match=r"^documents checkpoint: columns"):
        write_checkpoint(
            History(home, "books"),
            chunk_rows(),
            stage="documents",
            schema=CHANGE_SCHEMA,
            position_range=STRETCH,
            provenance=SOURCE,
            input_sha256=ANCHOR,
        )
    assert list(home.blobs.keys("books/")) == []
