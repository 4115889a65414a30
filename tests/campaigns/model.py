"""Expected contents of a repository and a live store, in dictionaries.

The model reads the kinds of log entries and the source's own list, never an object of the
repository: it says what each entry must have meant.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from dr_pipelines.model.details import AppliedDetail, IngestDetail, RestoreDetail
from dr_pipelines.model.record import Presence
from dr_pipelines.model.recovery_point import LogEntry
from dr_pipelines.planning.plausibility import is_mass_absence
from dr_pipelines.protocols import Embedder
from dr_pipelines.testing.world import (
    Contents,
    ListedSource,
    Row,
    expected_rows,
)

Order = tuple[int, int, int, int]
"""Position, edit, generation, log number."""
Rows = tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Version:
    order: Order
    rows: Rows
    presence: str

    @property
    def sequence(self) -> int:
        return self.order[3]

    @property
    def from_source(self) -> bool:
        return self.order[1] == 0


Versions = dict[str, tuple[Version, ...]]


@dataclass(frozen=True)
class Position:
    """The state at a log number. `covered` maps a day to the source positions (after, through]."""

    number: int = 0
    versions: Versions = field(default_factory=dict)
    covered: dict[str, tuple[int, int]] = field(default_factory=dict)
    pending: tuple[int, ...] = ()
    taken_over: tuple[int, ...] = ()
    since: int = 0
    timeline: int = 1
    physical: str = ""

    def newest(self, document: str) -> Version | None:
        return max(self.versions.get(document, ()), key=lambda v: v.order, default=None)

    def rows(self, document: str) -> Rows:
        newest = self.newest(document)
        return newest.rows if newest else ()

    def state(self) -> Contents:
        state = {document: self.rows(document) for document in sorted(self.versions)}
        return {document: rows for document, rows in state.items() if rows}

    def present(self) -> int:
        newest = (self.newest(document) for document in self.versions)
        return sum(v is not None and v.presence == Presence.PRESENT for v in newest)

    def logged(self, document: str, rows: Rows) -> bool:
        return any(version.rows == rows for version in self.versions.get(document, ()))

    def touched(self, entries: Iterable[int]) -> set[str]:
        numbers = set(entries)
        return {d for d, vs in self.versions.items() if any(v.sequence in numbers for v in vs)}

    def frontier(self) -> int:
        reached = 0
        for after, through in sorted(self.covered.values()):
            if after > reached:
                break
            reached = max(reached, through)
        return reached

    def with_versions(self, added: Sequence[tuple[str, Version]]) -> Versions:
        versions = dict(self.versions)
        for document, version in added:
            versions[document] = (*versions.get(document, ()), version)
        return versions


@dataclass(frozen=True)
class Found:
    """The expected findings of a snapshot of the live store."""

    recorded: dict[str, Rows]
    stale: frozenset[str]
    absent: frozenset[str]
    refused: bool


@dataclass
class Model:
    source: ListedSource
    embedder: Embedder
    at: Position = field(default_factory=Position)
    points: dict[int, Position] = field(default_factory=dict)
    writers: dict[int, str] = field(default_factory=dict)
    restores: set[int] = field(default_factory=set)
    live: Contents = field(default_factory=dict)
    alias: str | None = None
    overwritten: Contents = field(default_factory=dict)
    """What the last entry that was applied replaced and no entry had said."""
    watched: bool = False
    """Whether `live` is what was seen in the store, rather than what must be in it."""

    def follow(self, entry: LogEntry, *, delta: dict[str, Rows] | None = None) -> None:
        """Take in one entry of the log; `delta` is what a snapshot must have recorded."""
        assert entry.i == self.at.number + 1
        self.writers[entry.i] = entry.writer.id
        meant = {
            "ingest": self._ingest,
            "applied": self._applied,
            "restore": self._restore,
            "compact": self._compact,
            "evidence": lambda _: self.at,
        }
        if entry.kind == "snapshot":
            position = self._snapshot(entry, delta or {})
        else:
            position = meant[entry.kind](entry)
        self.at = replace(position, number=entry.i)
        self.points[entry.i] = self.at

    def source_days(self) -> dict[str, tuple[int, int]]:
        return {p.day.isoformat(): (p.after, p.through) for p in self.source.partitions()}

    def uncovered(self) -> list[str]:
        """Days with changes that are not ingested yet."""
        return [
            day
            for day, (after, through) in self.source_days().items()
            if self.at.covered.get(day, (after, after))[1] < through
        ]

    def look(self) -> Found:
        """The expected findings of a snapshot of the live store as it is now."""
        recorded, stale, absent = dict[str, Rows](), set[str](), set[str]()
        repairable = self.at.touched(self.at.taken_over)
        for document in sorted({*self.live, *self.at.versions}):
            rows = self.live.get(document, ())
            if rows == self.at.rows(document):
                continue
            if document in repairable and self.at.logged(document, rows):
                stale.add(document)
                continue
            recorded[document] = rows
            if not rows:
                absent.add(document)
        stored = sum(len(rows) for rows in self.live.values())
        refused = is_mass_absence(absent=len(absent), present=self.at.present(), stored_rows=stored)
        return Found(recorded, frozenset(stale), frozenset(absent), refused)

    def repair(self, documents: Iterable[str]) -> None:
        for document in documents:
            self.put(document, self.at.rows(document))

    def may_become(self, document: str, old: Rows, new: Rows) -> bool:
        """True if an operation that was cut short may have written this."""
        if new != self.at.rows(document):
            return False
        if document in self.at.touched(self.at.pending):
            return self.overwrites(document, old)
        return document in self.at.touched(self.at.taken_over) and self.at.logged(document, old)

    def overwrites(self, document: str, stored: Rows) -> bool:
        """True if applying what is pending replaces a stored value."""
        return self.fresh(document) or self.at.logged(document, stored)

    def fresh(self, document: str) -> bool:
        """True if the newest version of a document is not applied yet."""
        newest = self.at.newest(document)
        return newest is not None and newest.sequence in self.at.pending

    def put(self, document: str, rows: Rows) -> None:
        """The live store holds these records of a document, or none."""
        if rows:
            self.live[document] = rows
        else:
            self.live.pop(document, None)

    def _ingest(self, entry: LogEntry) -> Position:
        detail = entry.body.detail
        assert isinstance(detail, IngestDetail)
        number, again = entry.i, detail.again
        covered, added = dict(self.at.covered), list[tuple[str, Version]]()
        for day in detail.days:
            after, through = self.source_days()[day]
            if again:
                after, through = covered[day]
            read = after if again else covered.get(day, (after, after))[1]
            covered[day] = (after, through)
            for change in self.source.history[read:through]:
                presence = Presence.DELETED if change.text is None else Presence.PRESENT
                order = (change.position, 0, number, number)
                version = Version(order, expected_rows(change, self.embedder), presence)
                added.append((change.document_id, version))
        return replace(
            self.at,
            versions=self.at.with_versions(added),
            covered=covered,
            pending=(*self.at.pending, number),
            physical=self.at.physical or (self.alias or ""),
        )

    def _applied(self, entry: LogEntry) -> Position:
        assert isinstance(entry.body.detail, AppliedDetail)
        entries = entry.body.detail.entries
        assert set(entries) <= set(self.at.pending)
        if not self.watched:
            self._apply(self.at.touched(entries))
        if self.restores & set(entries):
            self.alias = self.at.physical
        foreign = tuple(n for n in entries if self.writers[n] != entry.writer.id)
        return replace(
            self.at,
            pending=tuple(n for n in self.at.pending if n not in entries),
            taken_over=(*self.at.taken_over, *foreign),
        )

    def _apply(self, documents: Iterable[str]) -> None:
        self.overwritten = {}
        for document in documents:
            stored = self.live.get(document, ())
            if stored and not self.at.logged(document, stored) and self.fresh(document):
                self.overwritten[document] = stored
            if stored != self.at.rows(document) and self.overwrites(document, stored):
                self.put(document, self.at.rows(document))

    def _snapshot(self, entry: LogEntry, delta: dict[str, Rows]) -> Position:
        added = []
        for document, rows in delta.items():
            newest = self.at.newest(document)
            position, edit, generation, _ = newest.order if newest else (0, 0, 0, 0)
            presence = Presence.PRESENT if rows else Presence.ABSENT
            version = Version((position, edit + 1, generation, entry.i), rows, presence)
            added.append((document, version))
        return replace(self.at, versions=self.at.with_versions(added))

    def _restore(self, entry: LogEntry) -> Position:
        detail = entry.body.detail
        assert isinstance(detail, RestoreDetail)
        assert detail.point is not None
        point = detail.point
        number, _, rest = point.partition("-")
        cut = int(rest.partition(".")[2]) if "." in rest else None
        base = self.cut(self.points[int(number)], cut)
        if detail.route == "replay":
            only = {d: _renumbered(_lasting(vs), int(number)) for d, vs in base.versions.items()}
            base = replace(base, versions=only, since=base.frontier() if cut is None else cut)
        self.restores.add(entry.i)
        self.live = base.state()
        return replace(
            base,
            pending=(entry.i,),
            taken_over=(),
            timeline=max([p.timeline for p in self.points.values()]) + 1,
            physical=detail.physical,
        )

    def cut(self, position: Position, through: int | None) -> Position:
        """The state when the source had said everything up to a position and nothing after it."""
        if through is None:
            return position
        retained = {
            document: tuple(v for v in versions if v.from_source and v.order[0] <= through)
            for document, versions in position.versions.items()
        }
        covered = {
            day: (after, min(end, through))
            for day, (after, end) in position.covered.items()
            if after < through
        }
        versions = {document: left for document, left in retained.items() if left}
        return replace(position, versions=versions, covered=covered)

    def _compact(self, entry: LogEntry) -> Position:
        return replace(self.at, versions={d: _distinct(v) for d, v in self.at.versions.items()})


def _lasting(versions: tuple[Version, ...]) -> list[Version]:
    """The newest version and, beneath an edit, the newest of the source."""
    ordered = sorted(versions, key=lambda v: v.order)
    newest = ordered[-1]
    expected_rows = [v for v in ordered if v.from_source]
    return [newest] if newest.from_source else [*expected_rows[-1:], newest]


def _renumbered(versions: list[Version], number: int) -> tuple[Version, ...]:
    return tuple(replace(v, order=(*v.order[:3], number)) for v in versions)


def _distinct(versions: tuple[Version, ...]) -> tuple[Version, ...]:
    """Without repetitions of the same version with the same value: the newest of each stays."""
    distinct = dict[object, Version]()
    for version in sorted(versions, key=lambda v: v.order):
        distinct[version.order[:2], version.rows, version.presence] = version
    return tuple(distinct.values())
