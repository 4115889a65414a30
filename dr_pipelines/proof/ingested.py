"""Audits of ingested days: the log compared with the source, with the policy and with itself.

Findings are values. An audit that looked at nothing has found nothing out: it is not passed.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from dr_pipelines.errors import UNREADABLE, Damaged, Refused
from dr_pipelines.ingestion.coverage import (
    counted_chunks,
    counted_documents,
    newest_segments,
    sums,
    whole_segments,
)
from dr_pipelines.ingestion.days import source_days
from dr_pipelines.ingestion.lineage import Lineage
from dr_pipelines.ingestion.quarantine import accepted_lines
from dr_pipelines.ingestion.rows import check_chunks, check_embeddings
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.recovery_point import (
    CheckpointRef,
    Manifest,
    Partition,
    SegmentRef,
)
from dr_pipelines.proof.verify import check_rows
from dr_pipelines.protocols import SourcePartition
from dr_pipelines.repository.checkpoints import read_chunks
from dr_pipelines.repository.history import History
from dr_pipelines.repository.repository import Repository
from dr_pipelines.repository.segments import count_records, read_segment

NAMED = 10


@dataclass(frozen=True, slots=True)
class Audit:
    """The number of units examined, and the problems that they have."""

    examined: int
    problems: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return self.examined > 0 and not self.problems

    @property
    def summary(self) -> str:
        """One line a problem, at most `NAMED` of them."""
        if not self.examined:
            return "; ".join(self.problems) or "there was nothing to examine"
        more = len(self.problems) - NAMED
        return "\n".join(
            [*self.problems[:NAMED], *([f"and {more} more problems"] if more > 0 else [])]
        )


NOTHING = Audit(0, ("nothing was ingested yet",))


def audit_counts(
    lineage: Lineage, *, history: History, days: Collection[str] | None = None
) -> Audit:
    """Changes of the source against what was read of them, day by day; what was quarantined, and a
    log that holds nothing of a source that has something, are problems. Examines changes."""
    manifest, repository = history.manifest(), history.repository
    covered_by = history.days(manifest) if manifest else {}
    examined, problems = 0, list[str]()
    for partition in source_days(lineage):
        name = partition.day.isoformat()
        if days is not None and name not in days:
            continue
        covered = covered_by.get(name)
        examined += partition.changes
        problems += _count_problems(lineage, partition, covered, manifest, repository=repository)
    quiet = days is not None and not examined and bool(days)
    return Audit(1 if quiet else examined, tuple(problems))  # quiet days were found to be quiet


def audit_schema(
    lineage: Lineage, *, history: History, days: Collection[str] | None = None
) -> Audit:
    """Every kept row of some days against the rules of its stage. Examines rows."""
    manifest, repository = history.manifest(), history.repository
    if manifest is None:
        return NOTHING
    examined, problems = 0, list[str]()
    if not manifest.spec.same_contract(lineage.spec):
        problems.append("the policy's fields, vectors or keyword index are not the collection's")
    for name, partition in _chosen(history.days(manifest), days):
        for ref in partition.chunks:
            examined += ref.rows
            problems += _broken_chunks(repository, ref, manifest.spec, day=name)
        for segment in newest_segments(repository, manifest, name):
            examined += segment.rows
            problems += _broken_segment(repository, segment, lineage, manifest.spec, day=name)
    return Audit(examined or _quiet(manifest, days), tuple(problems))


def audit_provenance(
    lineage: Lineage, *, history: History, days: Collection[str] | None = None
) -> Audit:
    """How everything kept was made, against the policy and against each other. Examines objects."""
    manifest = history.manifest()
    if manifest is None:
        return NOTHING
    problems = list[str]()
    if manifest.provenance is not None:
        problems += manifest.provenance.differences(lineage.provenance)
    made_by = manifest.provenance.fingerprint if manifest.provenance else None
    expected = {
        "documents": lineage.source.provenance.fingerprint,
        "chunks": lineage.chunks_fingerprint,
    }
    examined = 1
    for name, partition in _chosen(history.days(manifest), days):
        for ref in (*partition.documents, *partition.chunks):
            examined += 1
            if ref.provenance != expected[ref.stage]:
                problems.append(f"{name}: {ref.key} was made by another {ref.stage} stage")
    for segment in history.segments(manifest):
        examined += 1
        if segment.provenance not in (None, made_by):
            problems.append(f"{segment.key} holds vectors of another provenance")
    return Audit(examined, tuple(problems))


def audit_digests(
    lineage: Lineage, *, history: History, days: Collection[str] | None = None
) -> Audit:
    """Digests of every day, recomputed from the values that are kept, against the manifest's.

    Vectors are compared where the day's own segments still hold them all. Examines objects.
    """
    del lineage  # what is in the log is compared with itself
    manifest, repository = history.manifest(), history.repository
    if manifest is None:
        return NOTHING
    examined, problems = 0, list[str]()
    for name, partition in _chosen(history.days(manifest), days):
        segments = newest_segments(repository, manifest, name)
        examined += len(partition.chunks) + len(segments)
        problems += _digest_problems(repository, manifest, partition, segments, day=name)
    return Audit(examined or _quiet(manifest, days), tuple(problems))


def _chosen(
    covered: Mapping[str, Partition], days: Collection[str] | None
) -> Iterator[tuple[str, Partition]]:
    for name in covered if days is None else sorted(day for day in days if day in covered):
        yield name, covered[name]


def _quiet(manifest: Manifest, days: Collection[str] | None) -> int:
    """Days that were asked about and found quiet count as looked at, unless the log has no day."""
    return len(days or ()) if manifest.coverage.days else 0


def _count_problems(
    lineage: Lineage,
    partition: SourcePartition,
    covered: Partition | None,
    manifest: Manifest | None,
    *,
    repository: Repository,
) -> Iterator[str]:
    name = partition.day.isoformat()
    if covered is None or manifest is None:
        yield f"{name}: none of the source's {partition.changes} changes was read"
        return
    expected = _changes(lineage, partition, covered)
    try:
        read = sum(rows.num_rows for rows in counted_documents(repository, covered))
        records, versions = _rows_cut(repository, covered, manifest.spec)
    except (Damaged, Refused) as error:
        yield f"{name}: {error}"
        return
    if expected != read:
        yield f"{name}: the source has {expected} changes, {read} were read"
    if versions != read:
        yield f"{name}: {read} changes were read, {versions} were cut"
    if records != covered.records:
        yield f"{name}: {records} chunks were cut, {covered.records} were embedded"
    accepted = accepted_lines(repository, manifest)
    for bad in lineage.source.quarantined(covered.after, partition.through):
        if (bad.place, bad.sha256) in accepted:
            continue
        yield f"{name}: {bad.place} was quarantined: {bad.reason}"


def _changes(lineage: Lineage, partition: SourcePartition, covered: Partition) -> int:
    """How many changes the source has in what was covered."""
    if (partition.after, partition.through) == (covered.after, covered.through):
        return partition.changes
    return sum(b.num_rows for b in lineage.source.changes(covered.after, covered.through))


def _rows_cut(repository: Repository, covered: Partition, spec: CollectionSpec) -> tuple[int, int]:
    records = versions = 0
    for _, rows in counted_chunks(repository, covered.chunks, covered.through, spec=spec):
        cut = count_records(rows)
        records += cut
        versions += rows.num_rows - cut
    return records, versions


def _broken_chunks(
    repository: Repository, ref: CheckpointRef, spec: CollectionSpec, *, day: str
) -> Iterator[str]:
    try:
        check_chunks(read_chunks(repository, ref, spec=spec), spec)
    except UNREADABLE as error:
        yield f"{day}: {error}"


def _broken_segment(
    repository: Repository, ref: SegmentRef, lineage: Lineage, spec: CollectionSpec, *, day: str
) -> Iterator[str]:
    try:
        rows = read_segment(repository, ref, spec=spec)
        check_embeddings(rows, spec, normalized=lineage.embedder.provenance.normalized)
    except UNREADABLE as error:
        yield f"{day}: {error}"


def _digest_problems(
    repository: Repository,
    manifest: Manifest,
    recorded: Partition,
    segments: list[SegmentRef],
    *,
    day: str,
) -> Iterator[str]:
    try:
        for ref in (*recorded.chunks, *segments):
            check_rows(repository, ref, manifest.spec)
        _, computed = sums(repository, manifest, day)
    except (Damaged, Refused) as error:
        yield f"{day}: {error}"
        return
    if (computed.content, computed.documents) != (
        recorded.digests.content,
        recorded.digests.documents,
    ):
        yield f"{day}: the chunks that are kept do not add up to the manifest's digests"
    if whole_segments(repository, manifest, day) and computed.vectors != recorded.digests.vectors:
        yield f"{day}: the segments that are kept do not add up to the manifest's digests"
