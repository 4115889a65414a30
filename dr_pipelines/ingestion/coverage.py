"""The checkpoints and segments of a day that count, and their sums.

After a restore to the middle of a checkpoint its later rows are not this history's; what is read
instead overlaps them.
"""

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.record import narrow_schema
from dr_pipelines.model.recovery_point import (
    CheckpointRef,
    Digests,
    Manifest,
    Partition,
    SegmentRef,
    extents,
)
from dr_pipelines.repository.checkpoints import pieces_of, read_chunks, read_documents
from dr_pipelines.repository.digest import combine
from dr_pipelines.repository.manifests import covered_days, segments
from dr_pipelines.repository.repository import Repository
from dr_pipelines.repository.segments import (
    count_records,
    read_segment,
    row_digests,
)


def counted_documents(repository: Repository, partition: Partition) -> Iterator[pa.Table]:
    """The changes that were read of a day, a table for each checkpoint; raises `Damaged`."""
    for ref, end in extents(partition.documents, partition.through):
        yield _until(read_documents(repository, ref), ref, end)


def counted_chunks(
    repository: Repository,
    checkpoints: Sequence[CheckpointRef],
    through: int,
    *,
    spec: CollectionSpec,
) -> Iterator[tuple[CheckpointRef, pa.Table]]:
    """The rows that count of a day's chunks checkpoints; raises `Damaged`."""
    for ref, end in extents(checkpoints, through):
        yield ref, _until(read_chunks(repository, ref, spec=spec), ref, end)


def newest_segments(repository: Repository, manifest: Manifest, day: str) -> list[SegmentRef]:
    """The day's own segments since it was last embedded as a whole; none where they were compacted
    away."""
    own = segments(repository, manifest).of_day(day)
    whole = max((ref.entry for ref in own if ref.kind == "replay"), default=0)
    return [ref for ref in own if ref.entry >= whole]


def whole_segments(repository: Repository, manifest: Manifest, day: str) -> list[SegmentRef]:
    """`newest_segments` where they hold every version that the day's checkpoints hold; else none.

    They do not where some were compacted away, or where a restore by replay embedded only what
    was newest.
    """
    partition = covered_days(repository, manifest)[day]
    segments = newest_segments(repository, manifest, day)
    made_from = {pieces_of(ref) for ref in segments}
    chunks = extents(partition.chunks, partition.through)
    return segments if all(ref.made_of in made_from for ref, _ in chunks) else []


def sums(repository: Repository, manifest: Manifest, day: str) -> tuple[int, Digests]:
    """Records and digests of every version that is covered of a day, from the rows themselves.

    Of the vectors' digest only where the day's own segments hold them all: else it is zero. Raises
    `Damaged`.
    """
    partition = covered_days(repository, manifest)[day]
    records, content, documents = 0, [], []
    for _, rows in counted_chunks(
        repository, partition.chunks, partition.through, spec=manifest.spec
    ):
        row_sums = row_digests(rows)
        records += count_records(rows)
        content.append(row_sums.content)
        documents.append(row_sums.documents)
    segments = whole_segments(repository, manifest, day)
    vectors = [_segment_digests(repository, ref, manifest.spec).vectors for ref in segments]
    return records, Digests(
        content=combine(add=content), vectors=combine(add=vectors), documents=combine(add=documents)
    )


def _segment_digests(repository: Repository, ref: SegmentRef, spec: CollectionSpec) -> Digests:
    if ref.until is None:
        return ref.digests
    rows = read_segment(repository, ref, spec=spec, columns=narrow_schema(spec).names)
    return row_digests(rows.filter(pc.less_equal(rows["position"], ref.until.position)))


def _until(rows: pa.Table, ref: CheckpointRef, end: int) -> pa.Table:
    return rows if end == ref.through else rows.filter(pc.less_equal(rows["position"], end))
