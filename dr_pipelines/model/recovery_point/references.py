"""References to immutable objects: of any kind, to segments, to checkpoints."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import ConfigDict
from pydantic import Field as Constraint

from dr_pipelines.model.base import Count, Day, Key, Sha256, Stored

MAX_OBJECT_BYTES = 1 << 30
"""Of any object in a repository."""
MAX_VECTORS_BYTES = 1 << 28
"""Of an object of vectors, as it is stored and once it is decoded."""
MAX_VECTOR_OBJECTS = 16
"""Of a segment, more than half full each: as many as a table may have bytes in memory."""


Encoding = Annotated[str, Constraint(pattern=r"^[a-z0-9][a-z0-9.+-]{0,63}$")]


REFERENCES = "references"
"""The encoding of an object that is a list of references, for a body that keeps more than fit."""


MANIFEST = "manifest"
"""The encoding of an object that is a manifest, beside the one that a body names: whatever it
refers to is kept, too."""
ARROW_ZSTD = "arrow+zstd"
"""The encoding of vectors whose buffers are compressed."""
KNOWN_ENCODINGS = frozenset({"parquet", "json", "arrow", ARROW_ZSTD, REFERENCES, MANIFEST})


ZERO = "0" * 64


def is_none(value: object) -> bool:
    return value is None


def is_empty(value: object) -> bool:
    return not value


SegmentKind = Literal["ingest", "replay", "delta", "base"]


class Sealed(Stored):
    """Reserved: how an object is encrypted, and the name of the key."""

    model_config = ConfigDict(frozen=True, extra="allow")
    scheme: str
    key: Annotated[str, Constraint(min_length=1, max_length=128)]


class ObjectRef(Stored):
    """An immutable object, by name and content.

    `encoding` says how it is encoded where that is not what its place says (Parquet for rows, Arrow
    for vectors, JSON for what lists or states something); `sha256` and `size_bytes` are of the
    stored bytes. Both `encoding` and `crypto` are left out of the stored form where there is
    nothing to say.
    """

    key: Key
    sha256: Sha256
    size_bytes: Annotated[int, Constraint(ge=0, le=MAX_OBJECT_BYTES)]
    encoding: Encoding | None = Constraint(default=None, exclude_if=is_none)
    crypto: Sealed | None = Constraint(default=None, exclude_if=is_none)

    @classmethod
    def of(cls, key: str, data: bytes | memoryview) -> Self:
        """A reference to these bytes."""
        return cls(key=key, sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))

    def needs(self) -> str | None:
        """The feature that a reader needs for this object and this version lacks; None if there
        is none."""
        if self.crypto is not None:
            return f"crypto:{self.crypto.scheme}"
        readable = self.encoding is None or self.encoding in KNOWN_ENCODINGS
        return None if readable else f"encoding:{self.encoding}"


class CanariesRef(ObjectRef):
    """Vectors that a model returned for sample texts when it was first used."""


class Digests(Stored):
    """Sums modulo 2^256, as 64 hexadecimal digits; equal exactly when what they cover is.

    `content` and `vectors` cover records; `documents` covers the newest document row of every
    document, tombstones included.
    """

    content: Sha256 = ZERO
    vectors: Sha256 = ZERO
    documents: Sha256 = ZERO


class SourcePosition(Stored):
    """A place in the source's own order."""

    epoch: Annotated[int, Constraint(ge=0)]
    position: Annotated[int, Constraint(ge=0)]


@dataclass(frozen=True, slots=True)
class PositionRange:
    """Changes of one day at source positions in (after, through]."""

    day: str
    epoch: int
    after: int
    through: int


class SegmentRef(ObjectRef):
    """A segment: its rows without their vectors, its index, and its vectors, of all its records in
    their order; none where it has no records or no vector columns. A small one has no index.
    `entry` is the log number that introduced it.

    `input` names the piece of a chunks checkpoint that was embedded (see `piece_of`). With `until`,
    only rows from the source (edit 0) at or before that position count: a restore to the middle
    of a segment.
    """

    index: ObjectRef | None = Constraint(default=None, exclude_if=is_none)
    vectors: Annotated[tuple[ObjectRef, ...], Constraint(max_length=MAX_VECTOR_OBJECTS)] = (
        Constraint(default=(), exclude_if=is_empty)
    )
    kind: SegmentKind
    entry: Count
    rows: Count
    records: Count
    first_document: str
    last_document: str
    partition: Day | None = None
    provenance: Sha256 | None = None
    environment: Sha256 | None = None
    input: str | None = None
    digests: Digests = Digests()
    until: SourcePosition | None = None

    @property
    def companions(self) -> tuple[ObjectRef, ...]:
        """The objects that belong to it, its own excepted."""
        return (*((self.index,) if self.index else ()), *self.vectors)

    @property
    def stored_bytes(self) -> int:
        """Of all its objects."""
        return self.size_bytes + sum(ref.size_bytes for ref in self.companions)


class CheckpointRef(ObjectRef):
    """Output of a stage for the source's changes in (after, through]; `empty` counts versions that
    gave no chunk, such as an empty text.

    Where an object has the rows of several checkpoints, `first` is the number of the first of the
    `rows` that are this one's; it is left out where the object is all of it.
    """

    stage: Literal["documents", "chunks"]
    partition: Day
    epoch: Count
    after: Count
    through: Count
    rows: Count
    provenance: Sha256
    empty: Count = 0
    first: Count | None = Constraint(default=None, exclude_if=is_none)

    @property
    def made_of(self) -> str:
        """Names what it holds, for what is made of it: no two checkpoints have the same."""
        return self.sha256 if self.first is None else f"{self.sha256}@{self.first}"


def extents(
    checkpoints: Sequence[CheckpointRef], through: int
) -> Iterator[tuple[CheckpointRef, int]]:
    """Checkpoints of a day, in the order they were made, each with the position up to which it
    counts: the end of the coverage, or where a later one begins after a restore to its middle.
    Those of which nothing counts are left out."""
    for i, ref in enumerate(checkpoints):
        end = min(ref.through, through, *(later.after for later in checkpoints[i + 1 :]))
        if end > ref.after:
            yield ref, end
