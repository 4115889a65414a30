"""One collection's history: its log, and the states that the log describes."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dr_pipelines.errors import NotFound, TimelineClosed
from dr_pipelines.model.recovery_point import (
    Head,
    LogEntry,
    Manifest,
    RecoveryPoint,
    SegmentRef,
    SourcePosition,
    Timeline,
)
from dr_pipelines.planning.recovery import unfinished
from dr_pipelines.repository.log import Log
from dr_pipelines.repository.manifests import read_manifest, segments
from dr_pipelines.repository.repository import Repository

if TYPE_CHECKING:  # who only asks for the head needs neither Arrow nor DuckDB
    import pyarrow as pa

    from dr_pipelines.repository.fold import State


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

    def segments(self, manifest: Manifest) -> tuple[SegmentRef, ...]:
        """All segments of a manifest, in the order they were added."""
        return segments(self.repository, manifest)

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

        refs = self.segments(manifest)
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

    def _point(self, entry: LogEntry, sha256: str) -> RecoveryPoint:
        return RecoveryPoint(self.collection, entry.i, sha256, entry, self.manifest_of(entry))


def require_timeline(manifest: Manifest, bound: Timeline) -> None:
    """Refuse to write for a line of history that a restore has ended; raises `TimelineClosed`."""
    if manifest.timeline != bound.id:
        raise TimelineClosed(
            f"{manifest.collection}: a restore switched from {bound.physical!r} to "
            f"{manifest.current.physical!r}; this command was working for the former. Run it again"
        )
