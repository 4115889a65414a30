"""The interface through which the adapter reaches Qdrant, whichever way it runs.

Two modules answer: `client` (a server, or the client's local mode) and `edge` (the engine in this
process). Both speak the JSON of Qdrant's REST interface for configurations, payload indexes and
filters, so that what one reports the other can be asked to make.
"""

import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from dr_pipelines.model.query import FloatArray
from dr_pipelines.protocols import Progress

Json = dict[str, Any]
PointId = int | str
"""An unsigned 64-bit number, or a UUID in its canonical text."""
ShardKey = int | str
PAGE_ROWS = 1000


@dataclass(frozen=True, slots=True)
class Point:
    """A point to store. `vectors` has a float32 row for a dense vector, a matrix for several, a
    pair (indices, values) for a sparse one; a vector that the point does not have is not named.
    `shard` is the key of the shard it belongs to, where a collection has such keys."""

    id: PointId
    vectors: Json
    payload: Json
    shard: ShardKey | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Points as they were found, column by column. A dense vector is a list of floats, or the bytes
    of as many float32; several are a list of lists, a sparse one has `indices` and `values`."""

    ids: Sequence[PointId]
    payloads: list[Json]
    vectors: list[Json]
    shards: list[ShardKey | None] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Scored:
    """A point that a search found, with the engine's own score."""

    id: PointId
    payload: Json
    score: float


@dataclass(frozen=True, slots=True)
class State:
    """The engine's account of a collection: its configuration, and the label stored with it
    (None: something else made the collection)."""

    config: Json
    label: str | None


class OpenPoints(Protocol):
    """A collection for the length of one operation. All changes are idempotent, and durable when
    the collection is left."""

    def state(self) -> State: ...

    def relabel(self, label: str, *, limits: Json | None = None) -> None:
        """Replace the label; from then on strict mode is as `limits` say, where it is in force."""
        ...

    def complete(self, config: Json) -> None:
        """Make what could not be said when the collection was made, or what a process that was
        killed has left out: payload indexes, shard keys, the fan-out of reads."""
        ...

    def index_payload(self, schema: Mapping[str, Json]) -> None:
        """Make these payload indexes (key → type and parameters) where they are not there."""
        ...

    def count(self, filter: Json | None = None) -> int:
        """Exactly, all points or those that a filter keeps."""
        ...

    def size_bytes(self) -> int: ...

    def pages(
        self,
        *,
        vectors: Sequence[str],
        payload: Sequence[str] | None = None,
        filter: Json | None = None,
        limit: int | None = None,
    ) -> Iterator[Page]:
        """Every matching point once, ascending by its native id, with these vectors and these keys
        of the payload (None: all of it)."""
        ...

    def upsert(self, points: Sequence[Point]) -> None: ...

    def delete(self, filter: Json) -> None: ...

    def nearest(
        self,
        vector: FloatArray,
        *,
        using: str,
        payload: Sequence[str],
        filter: Json | None,
        limit: int,
    ) -> list[Scored]:
        """The engine's own answer, by its own index, with these keys of the payload."""
        ...

    def matching(
        self, text: str, *, using: str, payload: Sequence[str], filter: Json | None, limit: int
    ) -> list[Scored]:
        """The engine's own ranking by the text index of the key `using`; only where the driver
        `ranks_texts`."""
        ...

    def optimize(self, progress: Progress | None, *, keep_numbers: bool) -> None:
        """Build what the configuration asks for, and wait for it. With `keep_numbers` payloads read
        as before, those too whose numbers the engine changes when it writes a segment anew."""
        ...


class Variant(Protocol):
    """A place with collections. Every call raises this package's errors only."""

    @property
    def engine(self) -> str: ...

    @property
    def variant(self) -> str:
        """The name of this way of running Qdrant in messages."""
        ...

    @property
    def silent(self) -> frozenset[str]:
        """Paths of a configuration that are not in force here and not reported."""
        ...

    @property
    def keeps_unit_vectors(self) -> bool:
        """True if a vector of length 1 under cosine comes back with the same bits."""
        ...

    @property
    def keeps_any_vector(self) -> bool:
        """True if any vector under cosine comes back with the same bits, once the collection was
        opened again."""
        ...

    @property
    def exclusive(self) -> bool:
        """True if nobody else can open a collection while it is open."""
        ...

    @property
    def ranks_texts(self) -> bool: ...

    @property
    def parses(self) -> int:
        """How often a number of a payload goes through the engine's parser (`stores.floats`) before
        it is read, as far as that is known; a segment that is written anew adds one."""
        ...

    def names(self) -> list[str]: ...

    def aliases(self) -> dict[str, str]:
        """All of them; raises `Damaged` where one cannot be read."""
        ...

    def readable_aliases(self) -> dict[str, str]:
        """Those that can be read."""
        ...

    def target(self, alias: str) -> str | None:
        """The collection that the alias stands for, if it is one; raises `Damaged`. Reads no other
        alias where the engine does not give all of them at once."""
        ...

    def point(self, alias: str, name: str) -> None:
        """Make the alias stand for the collection, in one step."""
        ...

    def create(self, name: str, config: Json, label: str) -> None:
        """Make an empty collection, which is to be `complete`d; raises `AlreadyExists` where there
        is one of that name."""
        ...

    def drop(self, name: str, *, unless_served: Callable[[], None]) -> None:
        """Remove a collection; a missing one is a no-op. `unless_served` raises where an alias
        stands for it, or might; it is called where nobody can promote it any more."""
        ...

    def keeping(self, name: str) -> AbstractContextManager[None]:
        """As `KeepsOpen` has it; nothing where opening is cheap, or all collections open at
        once."""
        ...

    def opened(self, name: str) -> AbstractContextManager[OpenPoints]:
        """The collection; raises `NotFound`."""
        ...


def canonical(id: PointId | uuid.UUID) -> PointId:
    """The id in its canonical form, whatever a client gives."""
    return id if isinstance(id, int) else str(id)


def named(vector: Any) -> Json:
    """A point's vectors by name: the only vector of a collection without names is named ''."""
    if vector is None:
        return {}
    return vector if isinstance(vector, dict) else {"": vector}


def size_of(directory: Path) -> int:
    """Bytes on disk; files that vanish meanwhile do not count."""
    total = 0
    for folder, _, files in os.walk(directory):
        for file in files:
            with suppress(FileNotFoundError):
                total += (Path(folder) / file).stat().st_blocks * 512
    return total
