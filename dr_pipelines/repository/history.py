"""One collection's history: its log, and the states that the log describes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Generic, TypeVar

from dr_pipelines.errors import Conflict, NotFound, TimelineClosed
from dr_pipelines.model.details import Detail, Kind
from dr_pipelines.model.recovery_point import (
    Body,
    Follower,
    Head,
    LogEntry,
    Manifest,
    ObjectRef,
    RecoveryPoint,
    SourcePosition,
    Timeline,
)
from dr_pipelines.planning.recovery import unfinished
from dr_pipelines.repository.covered_days import CoveredDays
from dr_pipelines.repository.log import Draft, Log
from dr_pipelines.repository.manifests import (
    covered_days,
    read_manifest,
    segments,
    write_manifest,
)
from dr_pipelines.repository.repository import Repository
from dr_pipelines.repository.segment_list import Segments

if TYPE_CHECKING:  # who only asks for the head needs neither Arrow nor DuckDB
    import pyarrow as pa

    from dr_pipelines.repository.state import State


@dataclass(frozen=True, slots=True)
class History:
    """The log of one collection in one repository: its entries, its manifests, and its states."""

    repository: Repository
    collection: str

    @property
    def log(self) -> Log:
        """The entries themselves; there may be none."""
        return self.repository.log(self.collection)

    def head(self) -> Head:
        """The newest entry. Raises `Damaged` where the log ends before what was seen of it."""
        return self.log.head()

    def manifest(self) -> Manifest | None:
        """The newest manifest; None for an empty log."""
        return self.manifest_at(self.head())

    def manifest_at(self, head: Head) -> Manifest | None:
        """The manifest at a head that was read; None for an empty log."""
        if head.entry is None:
            return None
        return self.manifest_of(head.entry)

    def manifest_of(self, entry: LogEntry) -> Manifest:
        """The manifest that an entry names; raises `Damaged`."""
        return read_manifest(self.repository, entry.body.manifest, collection=self.collection)

    def tip(self) -> "Tip":
        """The newest entry and the state there."""
        return Tip(self, self.head())

    def append(self, kind: Kind, build: "Callable[[Tip], Next]") -> "Committed[Next]":
        """Commit one entry.

        `build` decides what it says, for the tip that it will follow: again after each lost race.
        What it raises aborts the append. The manifest is written here, after `build`. Raises as
        `Log.append` does, and `NotFound` for an entry that leaves the state of an empty log as it
        is.
        """
        built = list[Next]()  # one for each race; the last is what was committed

        def draft(head: Head) -> Draft:
            built.append(build(Tip(self, head)))
            return self._draft(built[-1], head)

        head = self.log.append(kind, draft)
        return Committed(head, built[-1])

    def latest(self) -> RecoveryPoint:
        """The newest recovery point; raises `NotFound` for an empty log."""
        head = self.head()
        if head.entry is None:
            raise NotFound(
                f"{self.collection}: nothing is backed up yet. Run: dr ingest {self.collection}"
            )
        return self._point(head.entry, head.sha256)

    def point(self, number: int) -> RecoveryPoint:
        """The recovery point at a log number; raises `NotFound` or `Damaged`."""
        return self._point(*self.log.read(number))

    def entries_back(self, head: Head, *, limit: int | None = None) -> Iterator[LogEntry]:
        """The entry at a head and those before it, newest first, at most `limit`."""
        last = 0 if limit is None else max(0, head.number - limit)
        for number in range(head.number, last, -1):
            if number == head.number and head.entry is not None:
                yield head.entry
            else:
                yield self.log.read(number)[0]

    def segments(self, manifest: Manifest) -> Segments:
        """All segments of a manifest, in the order they were added."""
        return segments(self.repository, manifest)

    def days(self, manifest: Manifest) -> CoveredDays:
        """The days of the source that a manifest covers."""
        return covered_days(self.repository, manifest)

    def fold(
        self,
        manifest: Manifest,
        *,
        until: SourcePosition | None = None,
        documents: "pa.Array | None" = None,
    ) -> "AbstractContextManager[State]":
        """The state that a manifest describes; see `repository.fold.fold`."""
        from dr_pipelines.repository.fold import fold

        return fold(self.repository, manifest, until=until, documents=documents)

    def fold_point(self, point: RecoveryPoint) -> "AbstractContextManager[State]":
        """The state at a recovery point."""
        return self.fold(point.manifest, until=point.until)

    def touched_documents(self, manifest: Manifest, *, entries: Sequence[int]) -> "pa.Array":
        """Documents of which some entries brought a version, ascending, each once."""
        from dr_pipelines.repository.segments import touched_documents

        refs = self.segments(manifest).newest_first()
        return touched_documents(self.repository, refs, spec=manifest.spec, entries=entries)

    def require_finished(self, manifest: Manifest, origin: str | None, *, physical: str) -> None:
        """Refuse what a restore has begun to build under a name that is served, until it ends: what
        is not written yet must not be taken for deleted. Raises `NotFound`.

        `origin` is what the store says that `physical` was built from. That of another log says
        nothing here.
        """
        point = unfinished(origin, timeline=manifest.timeline)
        if point is None:
            return
        number, _, sha256 = point.partition("-")
        written = int(number) <= self.head().number
        if written and self.log.read(int(number))[1].startswith(sha256.partition(".")[0]):
            raise NotFound(
                f"{physical!r} is being restored and is not whole. If that was interrupted, the "
                f"same command goes on: dr restore {self.collection} --into {physical} "
                f"--at log:{number}"
            )

    def _draft(self, entry: "NextEntry", head: Head) -> Draft:
        manifest = entry.manifest
        ref = None if manifest is None else write_manifest(self.repository, manifest)
        if head.entry is not None:
            timeline = head.entry.timeline if manifest is None else manifest.timeline
            body = head.entry.body.following(
                entry.detail,
                objects=entry.objects,
                manifest=ref,
                pending=entry.pending,
                followers=entry.followers,
            )
            return Draft(timeline, body)
        if manifest is None or ref is None:
            raise NotFound(f"{self.collection}: there is nothing to give evidence of")
        pending = entry.pending or ()
        body = Body(manifest=ref, pending=pending, objects=entry.objects, detail=entry.detail)
        return Draft(manifest.timeline, body)

    def _point(self, entry: LogEntry, sha256: str) -> RecoveryPoint:
        return RecoveryPoint(self.collection, entry.i, sha256, entry, self.manifest_of(entry))


@dataclass(frozen=True)
class Tip:
    """The newest entry, which the next one follows, and the state there."""

    history: History
    head: Head

    @property
    def number(self) -> int:
        """The number of the next entry."""
        return self.head.number + 1

    @property
    def pending(self) -> tuple[int, ...]:
        """Entries that the live store has not followed yet."""
        return self.head.pending

    @cached_property
    def manifest(self) -> Manifest | None:
        """The newest manifest, read when it is first asked for; None for an empty log."""
        return self.history.manifest_at(self.head)

    def existing(self) -> Manifest:
        """The newest manifest, for who has read one before; raises `Conflict` for an empty log."""
        if self.manifest is None:
            raise Conflict(f"{self.history.collection}: the log became empty")
        return self.manifest

    def of_timeline(self, bound: Timeline) -> Manifest:
        """`existing`, for a writer of one line of history; raises `TimelineClosed` where a restore
        has ended it."""
        require_timeline(self.existing(), bound)
        return self.existing()

    def same_state_as(self, other: "Tip") -> bool:
        """True if both entries name the same manifest."""
        mine, theirs = self.head.entry, other.head.entry
        return bool(mine and theirs and mine.body.manifest == theirs.body.manifest)


@dataclass(frozen=True, kw_only=True)
class NextEntry:
    """The content of the next entry. None leaves the state, what is pending, or who follows, as it
    is; `objects` are those that the entry keeps beside its manifest."""

    detail: Detail
    manifest: Manifest | None = None
    pending: tuple[int, ...] | None = None
    followers: Mapping[str, Follower] | None = None
    objects: Sequence[ObjectRef] = ()


Next = TypeVar("Next", bound=NextEntry)


@dataclass(frozen=True, slots=True)
class Committed(Generic[Next]):
    """An entry that was committed: its place in the log, and what was built for it."""

    head: Head
    entry: Next


def require_timeline(manifest: Manifest, bound: Timeline) -> None:
    """Refuse to write for a line of history that a restore has ended; raises `TimelineClosed`."""
    if manifest.timeline != bound.id:
        raise TimelineClosed(
            f"{manifest.collection}: a restore switched from {bound.physical!r} to "
            f"{manifest.current.physical!r}; this command was working for the former. Run it again"
        )
