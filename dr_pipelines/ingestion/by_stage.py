"""Ingest one stage at a time, each over some days, for a scheduler that runs them as steps.

Every step works on what the step before has left in the repository, and tells each day apart:

- quiet: the source never said anything on it;
- made: the source said something that the log does not hold yet;
- kept: the log holds it, and there is nothing to do;
- again: the log holds it, and it is embedded and appended once more: a replay.
"""

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from enum import StrEnum

from dr_pipelines.errors import NotFound, Unavailable
from dr_pipelines.ingestion.binding import (
    bind,
    require_provenance,
)
from dr_pipelines.ingestion.chunks import chunk_day
from dr_pipelines.ingestion.commit import (
    DayCommit,
    append_days,
    partition_of,
    total_seconds,
)
from dr_pipelines.ingestion.days import (
    Day,
    Reading,
    plan_days,
    require_same_source,
    source_days,
)
from dr_pipelines.ingestion.documents import DocumentsRead, read_day
from dr_pipelines.ingestion.embeddings import embed_day, pieces
from dr_pipelines.ingestion.lineage import Lineage
from dr_pipelines.ingestion.refusals import refusals_recorded
from dr_pipelines.live.live import Applied, Live
from dr_pipelines.model.recovery_point import (
    CheckpointRef,
    Digests,
    Head,
    Manifest,
    SegmentRef,
)
from dr_pipelines.protocols import (
    Progress,
    SourcePartition,
)
from dr_pipelines.repository.checkpoints import Embedded
from dr_pipelines.repository.history import History
from dr_pipelines.repository.vector_storage import VectorsStored


class Outcome(StrEnum):
    """The outcome of a step for a day."""

    QUIET = "quiet"
    MADE = "made"
    KEPT = "kept"
    AGAIN = "again"


@dataclass(frozen=True)
class DayDone:
    """The result of a step for a day. `rows` and `size_bytes` count what it left or found;
    `reused` counts objects that an earlier run had left; `head` is the entry that committed the
    day; `vectors` says how those are encoded that it stored."""

    name: str
    outcome: Outcome
    rows: int = 0
    size_bytes: int = 0
    records: int = 0
    quarantined: int = 0
    empty: int = 0
    reused: int = 0
    digests: Digests | None = None
    head: Head | None = None
    vectors: VectorsStored | None = None


@dataclass(frozen=True)
class Committed:
    """Days that the log holds now, and what the live store was brought to."""

    days: tuple[DayDone, ...]
    applied: Applied


OnDay = Callable[[DayDone], None]


def read_days(
    lineage: Lineage, names: Sequence[str], *, history: History, on_day: OnDay
) -> tuple[DayDone, ...]:
    """Read the source's changes on some days, where the log does not hold them.

    Raises `SourceRewritten`, and `InvalidRequest` where the source begins before its policy says.
    """
    source = source_days(lineage)
    reading = Reading.of(history, history.manifest())
    require_same_source(lineage, reading)
    done = []
    for day in plan_days(lineage, reading, sorted(names), source=source):
        if day.quiet:
            done.append(DayDone(day.name, Outcome.QUIET))
        else:
            read = read_day(lineage, day, history=history)
            outcome = Outcome.MADE if read.fresh else Outcome.KEPT
            done.append(_counted(day, outcome, read.all, reused=read.adopted))
        on_day(done[-1])
    return tuple(done)


def cut_days(
    lineage: Lineage, names: Sequence[str], *, history: History, on_day: OnDay
) -> tuple[DayDone, ...]:
    """Cut the documents that `read_days` has left; raises `NotFound` where it has left none."""
    head = history.head()
    done = []
    for day in _planned(lineage, names, history=history, manifest=history.manifest_at(head)):
        if day.quiet:
            done.append(DayDone(day.name, Outcome.QUIET))
        else:
            read = _left_documents(lineage, day, history=history)
            made = chunk_day(lineage, day, read, history=history, generation=head.number + 1)
            done.append(_counted(day, Outcome.MADE if read.fresh else Outcome.KEPT, made))
        on_day(done[-1])
    return tuple(done)


def embed_days(
    lineage: Lineage,
    names: Sequence[str],
    *,
    history: History,
    on_day: OnDay,
    again: Container[str] | None = None,
    progress: Progress | None = None,
) -> tuple[DayDone, ...]:
    """Embed the chunks that `cut_days` left. A day that the log holds entirely is embedded again
    only if it is in `again`; by default each of them is.

    Raises `ProvenanceChanged` before anything is embedded, `NotFound` where no chunks were left.
    """
    head = history.head()
    manifest = history.manifest_at(head)
    if manifest is not None:
        with refusals_recorded(history):
            require_provenance(lineage, manifest)
    done = []
    for day in _planned(lineage, names, history=history, manifest=manifest):
        if day.quiet:
            done.append(DayDone(day.name, Outcome.QUIET))
        else:
            read = _left_documents(lineage, day, history=history)
            if not (read.fresh or again is None or day.name in again):
                done.append(_unchanged(day, Outcome.KEPT))
                on_day(done[-1])
                continue
            chunks = chunk_day(lineage, day, read, history=history, generation=0, adopt_only=True)
            made = embed_day(
                lineage,
                chunks,
                history=history,
                manifest=manifest,
                generation=head.number + 1,
                covered=day.covered,
                again=not read.fresh,
                progress=progress,
            )
            done.append(
                _embedded(day, read, [embedded.segment for embedded in made], history=history)
            )
        on_day(done[-1])
    return tuple(done)


def commit_days(
    lineage: Lineage,
    names: Sequence[str],
    *,
    history: History,
    live: Live,
    on_day: OnDay,
) -> Committed:
    """Append what `embed_days` has left, a log entry a day, oldest first; then apply it all.

    A day that the log holds and that was not embedded again is left as it is. Raises `NotFound`
    where vectors are missing; what was appended before is safe, and is not appended twice.
    """
    bound = bind(lineage, history=history, live=live)
    done = []
    manifest = history.manifest()
    for day in _planned(lineage, names, history=history, manifest=manifest):
        commit = _left_commit(lineage, day, history=history)
        if commit is None:
            outcome = Outcome.QUIET if day.quiet else Outcome.KEPT
            done.append(_unchanged(day, outcome))
        else:
            head = append_days(lineage, [commit], history=history, bound=bound)
            done.append(_committed(commit, head))
        on_day(done[-1])
    applied = live.follow(history)
    return Committed(tuple(done), applied)


def _planned(
    lineage: Lineage, names: Sequence[str], *, history: History, manifest: Manifest | None
) -> list[Day]:
    """Days for a step that reads nothing new: it does without the source where the log holds
    them all."""
    reading = Reading.of(history, manifest)
    source: Sequence[SourcePartition] = ()
    try:
        source = lineage.source.partitions()
    except (NotFound, Unavailable):
        if not all(name in reading.partitions for name in names):
            raise
    return plan_days(lineage, reading, sorted(names), source=source)


def _left_documents(lineage: Lineage, day: Day, *, history: History) -> DocumentsRead:
    read = read_day(lineage, day, history=history, adopt_only=True)
    if not read.all:
        raise NotFound(
            f"{lineage.collection}: the changes of {day.name} are not read yet: materialize "
            "`documents` for that day first"
        )
    return read


def _left_commit(lineage: Lineage, day: Day, *, history: History) -> DayCommit | None:
    """The commit to append for a day; None if there is none."""
    if day.quiet:
        return None
    read = _left_documents(lineage, day, history=history)
    chunks = chunk_day(lineage, day, read, history=history, generation=0, adopt_only=True)
    day_pieces = pieces(
        lineage,
        chunks,
        history=history,
        manifest=history.manifest(),
        covered=day.covered,
        again=not read.fresh,
    )
    left, missing = list[Embedded](), 0
    for piece in day_pieces:
        if piece.left is None:
            missing += 1
        else:
            left.append(piece.left)
    if missing and (left or read.fresh):
        raise NotFound(
            f"{lineage.collection}: {missing} of {missing + len(left)} pieces of {day.name} are "
            "not embedded yet: materialize `embeddings` for that day first"
        )
    if not left:
        return None
    segments = tuple(embedded.segment for embedded in left)
    return DayCommit(day, read, chunks, segments, again=not read.fresh, seconds=total_seconds(left))


def _counted(
    day: Day, outcome: Outcome, refs: Sequence[CheckpointRef], *, reused: int = 0
) -> DayDone:
    return DayDone(
        day.name,
        outcome,
        rows=sum(ref.rows for ref in refs),
        size_bytes=sum(ref.size_bytes for ref in refs),
        quarantined=day.quarantined,
        empty=sum(ref.empty for ref in refs),
        reused=reused,
    )


def _embedded(
    day: Day, read: DocumentsRead, made: Sequence[SegmentRef], *, history: History
) -> DayDone:
    return DayDone(
        day.name,
        Outcome.MADE if read.fresh else Outcome.AGAIN,
        rows=sum(ref.rows for ref in made),
        size_bytes=sum(ref.stored_bytes for ref in made),
        records=sum(ref.records for ref in made),
        quarantined=day.quarantined,
        vectors=history.repository.vectors.of(made),
    )


def _unchanged(day: Day, outcome: Outcome) -> DayDone:
    covered = day.covered
    if covered is None:
        return DayDone(day.name, outcome)
    return DayDone(
        day.name,
        outcome,
        records=covered.records,
        quarantined=covered.quarantined,
        digests=covered.digests,
    )


def _committed(commit: DayCommit, head: Head) -> DayDone:
    now = partition_of(commit, entry=head.number)
    return DayDone(
        commit.day.name,
        Outcome.AGAIN if commit.again else Outcome.MADE,
        rows=sum(ref.rows for ref in commit.segments),
        size_bytes=sum(ref.stored_bytes for ref in commit.segments),
        records=now.records,
        quarantined=now.quarantined,
        empty=commit.empty,
        digests=now.digests,
        head=head,
    )
