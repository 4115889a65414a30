"""Every way this package touches the world.

Each protocol has a public contract suite in `dr_pipelines.testing`; an adapter is what passes it.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

import pyarrow as pa

from dr_pipelines.model.collection import CollectionSpec, CollectionStatus
from dr_pipelines.model.lineage import (
    ChunkerProvenance,
    EmbedderProvenance,
    Environment,
    SourceProvenance,
)
from dr_pipelines.model.query import FloatArray, Hit, Query

Clock = Callable[[], datetime]
"""Returns an aware UTC datetime; passed in, so that decisions can be tested."""

Lease = Callable[[str], AbstractContextManager[None]]
"""Holds the right to write to a collection's live store while the context lasts; waits a bounded
time, then raises `Unavailable`. It keeps honest writers apart on one machine; what a zombie does
without it is found by the next snapshot."""

Progress = Callable[[int, int], None]
"""Called with (done, total) in the unit of the work at hand; total may be 0 when unknown."""


class BlobStore(Protocol):
    """Write-once objects under `/`-separated keys, each durable when the call returns.

    `create` is exclusive: of any number of concurrent calls for a key exactly one succeeds and the
    others raise `Conflict`. `read`, `size` and `delete` of a missing key raise `NotFound`. A call
    whose answer was lost raises `OutcomeUnknown`; what it did must be read back. What cannot be
    reached raises `Unavailable`.
    """

    @property
    def url(self) -> str:
        """Where this is, without secrets."""
        ...

    def create(self, key: str, data: bytes | memoryview) -> None:
        """Store a new object; never replaces one."""
        ...

    def read(self, key: str, range: tuple[int, int] | None = None) -> bytes:
        """The object's bytes, or those in [start, stop)."""
        ...

    def size(self, key: str) -> int:
        """The object's size in bytes."""
        ...

    def keys(self, prefix: str) -> Iterator[str]:
        """All keys that start with `prefix`, ascending bytewise, however many there are."""
        ...

    def delete(self, key: str) -> None:
        """Remove the object."""
        ...


class VectorReader(Protocol):
    """All that a backup gets of a store: it cannot write.

    `name` is a physical collection or an alias; an unknown one raises `NotFound`. A store that is
    locked or out of reach raises `Unavailable` after a bounded wait.
    """

    @property
    def engine(self) -> str:
        """Name and version of the engine, e.g. `duckdb 2.0.0`."""
        ...

    @property
    def vector_tolerance(self) -> float:
        """Largest absolute difference between a stored and a returned vector component; 0 when
        the store returns the bits it was given."""
        ...

    def collections(self) -> list[str]:
        """Physical names, ascending."""
        ...

    def aliases(self) -> dict[str, str]:
        """Alias → physical name."""
        ...

    def describe(self, name: str) -> CollectionSpec:
        """The specification the collection was created with, under its physical name."""
        ...

    def status(self, name: str) -> CollectionStatus: ...

    def scan(
        self,
        name: str,
        *,
        columns: Sequence[str] | None = None,
        documents: Sequence[str] | None = None,
        batch_rows: int = 8192,
    ) -> Iterator[pa.RecordBatch]:
        """Records in ascending bytewise order of id, in `store_schema(spec)` (or `columns` of it),
        at most `batch_rows` at a time; with `documents`, only the records of those."""
        ...

    def search(self, name: str, query: Query, *, limit: int) -> list[Hit]:
        """At most `limit` hits, best first, ties by ascending id; exact."""
        ...


class VectorStore(VectorReader, Protocol):
    """A reader that can also write; `name` is physical in every call below.

    Stores keep no tombstones and decide nothing: what is superseded is decided from the log.
    """

    def create(self, spec: CollectionSpec) -> None:
        """Create an empty collection; the same spec again is a no-op, another raises
        `AlreadyExists`."""
        ...

    def drop(self, name: str) -> None:
        """Remove a collection and its aliases' targets must not include it (`Refused`); a missing
        one is a no-op."""
        ...

    def write(self, name: str, batch: pa.Table, *, replaces: Sequence[str] = ()) -> None:
        """Insert or replace records by id, in one transaction; every other record of the documents
        in `replaces` is gone after it. Idempotent. `batch` is in `store_schema(spec)`; a wrong
        schema, a null id, or a NaN or infinite vector component raises `InvalidRequest`."""
        ...

    def build_index(self, name: str) -> None:
        """Build what searches need; idempotent, and kept up to date by later writes."""
        ...

    def promote(self, name: str, *, alias: str) -> None:
        """Point the alias at the collection in one atomic step; durable when it returns."""
        ...


@dataclass(frozen=True, slots=True)
class SourcePartition:
    """A day's changes are those at positions in (after, through]; `anchor` identifies everything
    the source holds up to `through`. Partitions are contiguous and ascending."""

    day: date
    after: int
    through: int
    anchor: str
    changes: int


@dataclass(frozen=True, slots=True)
class Quarantined:
    """Something in the source that could not be read; it follows position `after`."""

    place: str
    reason: str
    after: int


class Source(Protocol):
    """A history of document changes in a fixed order. Positions ascend from 1."""

    @property
    def provenance(self) -> SourceProvenance: ...

    def partitions(self) -> list[SourcePartition]:
        """All days with changes, in order; the last one ends at the head."""
        ...

    def anchor(self, position: int) -> str | None:
        """Identifies everything up to a position; None where the source has no such position."""
        ...

    def changes(self, after: int, through: int) -> Iterator[pa.RecordBatch]:
        """Changes at positions in (after, through], ascending, in `CHANGE_SCHEMA`."""
        ...

    def quarantined(self, after: int, through: int) -> list[Quarantined]:
        """What could not be read between those positions."""
        ...


class Chunker(Protocol):
    """Cuts documents into consecutive pieces: joined in order they are the text again."""

    @property
    def provenance(self) -> ChunkerProvenance: ...

    def split(self, titles: pa.Array, texts: pa.Array) -> pa.Table:
        """Columns `row` int32 (which text), `chunk_index` int32, `prefix` string (what the embedder
        reads before the piece: title, overlap; nullable), `text` string. Ordered by row and
        chunk_index; an empty text has no pieces. Deterministic."""
        ...


class Embedder(Protocol):
    """Turns texts into vectors, with one model at one revision."""

    @property
    def provenance(self) -> EmbedderProvenance: ...

    @property
    def environment(self) -> Environment: ...

    @property
    def reproducible(self) -> bool:
        """Whether a text's vector depends on nothing but the text, in one environment."""
        ...

    def embed(self, texts: Sequence[str], *, progress: Progress | None = None) -> FloatArray:
        """float32[len(texts), dimension], finite."""
        ...
