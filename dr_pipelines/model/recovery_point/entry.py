"""An entry of the log, what its body names, and the recovery point that it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field as Constraint
from pydantic import SerializeAsAny, model_validator

from dr_pipelines.model.base import Count, Sha256, Stored, Time
from dr_pipelines.model.details import KINDS, KNOWN_FEATURES, Detail
from dr_pipelines.model.recovery_point.manifest import Manifest
from dr_pipelines.model.recovery_point.references import (
    ObjectRef,
    SegmentRef,
    SourcePosition,
    is_empty,
    is_none,
)
from dr_pipelines.model.reserved import parse_detail

MAX_OBJECTS = 64
"""References in a body; a longer list is an object of its own."""


class Writer(Stored):
    """Who wrote; `id` is a UUIDv7 that no other process ever uses."""

    id: str
    host: str
    run: str = ""
    version: str


class Follower(Stored):
    """A store that follows the log beside the one that is served: a candidate that catches up
    before a switch. The entry `began` is its identity, `timeline` the line that it follows. It
    holds that line up to the entry `position`, but for those `pending`."""

    began: Annotated[int, Constraint(ge=1)]
    timeline: Count
    store: str
    physical: str
    position: Count
    pending: tuple[Count, ...] = ()


class Body(Stored):
    """The content of an entry: the state it leaves, the part of that state that is not in the live
    store yet, and the features that a reader must support to build upon it.

    `objects` are all that the entry keeps beside its manifest: at most `MAX_OBJECTS` references,
    one of which may be to a list of more (`REFERENCES`). `detail` names some of them by key.
    """

    manifest: ObjectRef
    pending: tuple[Count, ...] = ()
    followers: dict[str, Follower] = Constraint(default={}, exclude_if=is_empty)
    features: tuple[str, ...] = ()
    objects: Annotated[tuple[SegmentRef | ObjectRef, ...], Constraint(max_length=MAX_OBJECTS)] = ()
    detail: SerializeAsAny[Detail]

    def following(
        self,
        detail: Detail,
        *,
        objects: Sequence[ObjectRef] = (),
        manifest: ObjectRef | None = None,
        pending: tuple[int, ...] | None = None,
        followers: Mapping[str, Follower] | None = None,
    ) -> "Body":
        """The body of the next entry: a copy with these changes."""
        update: dict[str, object] = {"detail": detail, "objects": tuple(objects)}
        if manifest is not None:
            update["manifest"] = manifest
        if pending is not None:
            update["pending"] = pending
        if followers is not None:
            update["followers"] = dict(followers)
        return self.model_copy(update=update)


class Signature(Stored):
    """Reserved: whose key signed an entry, and what came of it. It is of the canonical JSON of the
    entry without `signature` and `checksum`."""

    key: Annotated[str, Constraint(min_length=1, max_length=128)]
    value: Annotated[str, Constraint(pattern=r"^[A-Za-z0-9+/=_-]{1,8192}$")]


class LogEntry(Stored):
    """One commit. `previous` is the SHA-256 of the entry before it, as stored. `signature` is kept
    by who reads an entry and not looked at; this version writes none."""

    v: Literal[1] = 1
    collection: str
    i: Annotated[int, Constraint(ge=1)]
    previous: Sha256
    transaction: str
    kind: str  # a Kind, or one of a newer version
    timeline: Count
    writer: Writer
    at: Time
    body: Body
    signature: Signature | None = Constraint(default=None, exclude_if=is_none)

    @model_validator(mode="before")
    @classmethod
    def _typed_detail(cls, value: Any) -> Any:
        """The detail is of the type that belongs to the entry's kind."""
        match value:
            case {"kind": str(kind), "body": {"detail": dict(detail), **body}}:
                return {**value, "body": {**body, "detail": parse_detail(kind, detail)}}
        return value

    def needs(self) -> set[str]:
        """Features of an entry that this version lacks, so that it must not build on it."""
        unknown = set(self.body.features) - KNOWN_FEATURES
        if self.kind not in KINDS:
            unknown.add(self.kind)
        return unknown


@dataclass(frozen=True, slots=True)
class Head:
    """The newest entry of a log and its hash; `entry` is None for an empty log."""

    number: int
    sha256: str
    entry: LogEntry | None

    @property
    def pending(self) -> tuple[int, ...]:
        """Entries that the live store has not followed yet."""
        return self.entry.body.pending if self.entry else ()

    @property
    def followers(self) -> Mapping[str, Follower]:
        """Stores that follow the log beside the one that is served, by name."""
        return self.entry.body.followers if self.entry else {}


@dataclass(frozen=True, slots=True)
class RecoveryPoint:
    """A committed log position; with `until`, cut at a position of the source."""

    collection: str
    number: int
    sha256: str
    entry: LogEntry
    manifest: Manifest
    until: SourcePosition | None = None

    @property
    def head(self) -> Head:
        """Its place in the log."""
        return Head(self.number, self.sha256, self.entry)

    @property
    def id(self) -> str:
        """Short, unique and usable in a name: `42-1a2b3c4d`, `42-1a2b3c4d.887` when cut."""
        cut = f".{self.until.position}" if self.until else ""
        return f"{self.number}-{self.sha256[:8]}{cut}"
