"""Every way this package touches the world.

One page on purpose, although it is long: what an adapter has to do stands here and nowhere else.

Each protocol has a public contract suite in `dr_pipelines.testing`; an adapter is what passes it.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date, datetime
from typing import IO, TYPE_CHECKING, Protocol, runtime_checkable

from dr_pipelines.model.collection import CollectionSpec, CollectionStatus
from dr_pipelines.model.compatibility import CompatibilityReport, Note
from dr_pipelines.model.definitions import Definitions
from dr_pipelines.model.lineage import (
    ChunkerProvenance,
    EmbedderProvenance,
    Environment,
    SourceProvenance,
)
from dr_pipelines.model.misfit import Misfits
from dr_pipelines.model.query import Filter, FloatArray, Hit, Query
from dr_pipelines.model.source_reading import SourceReading
from dr_pipelines.model.unread import Quarantined, Unread

if TYPE_CHECKING:  # Arrow is imported by those who have rows
    import pyarrow as pa

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


@runtime_checkable
class MappedBlobs(Protocol):
    """Objects that lie on this machine and can be looked at where they are."""

    def map(self, key: str) -> memoryview:
        """The object's bytes, read as they are looked at; raises as `read` does.

        Whoever cuts the file short meanwhile ends this process (SIGBUS): it is for objects that are
        searched again and again, and not for proving what may be damaged.
        """
        ...


class Catalog(Protocol):
    """Which collections a store has, and which of them are served: all that a report gets."""

    def collections(self) -> list[str]:
        """Physical names, ascending."""
        ...

    def aliases(self) -> dict[str, str]:
        """Alias → physical name."""
        ...

    def warnings(self) -> tuple[str, ...]:
        """Warnings for the operator of the store, a sentence each: rights that this program has
        there and does not need, collections hidden by a name of the policies. Cheap, and about
        no collection of the policies.
        """
        ...


class VectorReader(Catalog, Protocol):
    """All that a backup gets of a store: it cannot write.

    `name` is a physical collection or an alias; an unknown one raises `NotFound`. A store that is
    locked or out of reach raises `Unavailable` after a bounded wait.
    """

    @property
    def engine(self) -> str:
        """Name and version of the engine, e.g. `duckdb 2.0.0`. The first word is the name of its
        section in a specification."""
        ...

    @property
    def vector_tolerance(self) -> float:
        """Largest difference between a stored and a returned vector component, for vectors of
        length 1 or less; for longer ones it grows with their length. 0 when the store returns the
        bits it was given."""
        ...

    def describe(self, name: str) -> CollectionSpec:
        """The specification of the collection as it is now, under its physical name: what the
        engine reports, and where it reports nothing, what the collection was created with (such
        parts are listed as `unreported` in the engine's section, see `planning.parts`).

        A collection that something else made is described as well as it can be: each row is a
        document of one record. `create` of a description gives a collection of that description.
        """
        ...

    def compatibility(self, name: str) -> tuple[Note, ...]:
        """Parts that a restore of the collection as it is now, into this same engine, would refuse,
        lose, approximate or run as code; empty if all of it comes back as it is.

        Reads catalogs and no record. What is said of other engines in the collection's label is no
        loss here: it is not in force now either.
        """
        ...

    def misfits(self, spec: CollectionSpec, batch: "pa.Table | pa.RecordBatch") -> Misfits:
        """Records of a batch that `write` into a collection of that specification would refuse for
        their values: lengths, ranges, numbers that are not finite. Pure, and columnar; `batch` is
        in `store_schema(spec)`: one that is not, such as a record without an id, is a mistake of
        whoever made it, and no misfit. `write` asks this very question before it writes, so that
        record by record these are exactly what it refuses."""
        ...

    def change_token(self, name: str) -> str | None:
        """Equal as long as the collection holds the same, and cheap: reads no record. None where
        the engine has no such sign."""
        ...

    def status(self, name: str) -> CollectionStatus: ...

    def scan(
        self,
        name: str,
        *,
        columns: Sequence[str] | None = None,
        documents: Sequence[str] | None = None,
        batch_rows: int = 8192,
        ordered: bool = True,
    ) -> "Iterator[pa.RecordBatch]":
        """Records in ascending bytewise order of id, in `store_schema(spec)` (or `columns` of it),
        at most `batch_rows` at a time; with `documents`, only the records of those. Without
        `ordered` in whatever order costs the engine least, which may be another one each time;
        two records of one id, which only tables of others can have, are then the caller's to find.

        The state at one moment where the engine can read one; otherwise every record that nobody
        touches meanwhile, once, whole, and of the others what was there before or after.
        """
        ...

    def search(self, name: str, query: Query, *, limit: int) -> list[Hit]:
        """At most `limit` hits, best first. With `query.exact` none is missed, and ties are in
        order of id; otherwise it is what the engine answers by its own indexes and filters, which
        is what users get."""
        ...


class VectorStore(VectorReader, Protocol):
    """A reader that can also write; `name` is physical in every call below.

    Stores keep no tombstones and decide nothing: what is superseded is decided from the log.
    """

    def fit(self, spec: CollectionSpec) -> CompatibilityReport:
        """A report of how a collection of any engine would differ in this store; touches nothing.
        The contract is always carried.
        """
        ...

    def create(self, spec: CollectionSpec) -> None:
        """Create an empty collection; the same spec again is a no-op, another raises
        `AlreadyExists`. Sections of other engines are kept for `describe`."""
        ...

    def drop(self, name: str) -> None:
        """Remove a collection and its aliases' targets must not include it (`Refused`); a missing
        one is a no-op."""
        ...

    def write(self, name: str, batch: "pa.Table", *, replaces: Sequence[str] = ()) -> None:
        """Insert or replace records by id; every other record of the documents in `replaces` is
        gone after it. In one transaction where the engine has them; otherwise new records are there
        before old ones go, and a write that failed is repeated. Idempotent. `batch` is in
        `store_schema(spec)`; a wrong schema, a null or repeated id, or a record that `misfits`
        names raises `InvalidRequest` before anything is written. What it does not name is kept,
        NaN and infinities too."""
        ...

    def build_index(self, name: str, *, progress: Progress | None = None) -> None:
        """Build all that the specification declares and searches need, and wait for it;
        idempotent, and kept up to date by later writes."""
        ...

    def promote(self, name: str, *, alias: str) -> None:
        """Point the alias at the collection; durable when it returns. In one step: readers through
        the alias see the old collection or the new one, never none."""
        ...


@runtime_checkable
class Counts(Protocol):
    """A store whose engine counts records by its own filters."""

    def count(self, name: str, filter: Filter) -> int | None:
        """Records that a filter keeps, by the engine's own filters and the indexes that it has for
        them; None where it has no words for the filter, or may not be asked. Raises
        `InvalidRequest` for a filter that does not fit the collection."""
        ...


@runtime_checkable
class AnswersItself(Protocol):
    """A store that tells whether its engine answers a query by itself."""

    def answers(self, name: str, query: Query) -> bool:
        """True if the engine answers such a query; where it does not, `search` reads every record
        for each."""
        ...


@runtime_checkable
class Fits(Protocol):
    """A store that says how it would make a collection of another engine's."""

    def fit(self, spec: CollectionSpec) -> CompatibilityReport:
        """As `VectorStore` has it."""
        ...


@runtime_checkable
class Definer(Protocol):
    """A store whose collections are definitions that its engine executes: code may be in them, and
    rights of others."""

    def definitions(self, spec: CollectionSpec, *, with_roles: bool) -> Definitions:
        """All that `create`, `build_index` and `open_up` would execute for a specification, by the
        engine's own parse. Executes nothing that needs consent, and leaves nothing behind.
        Without `with_roles` nobody becomes a member of a role.

        Raises:
            InvalidRequest: the specification brings more than the definitions that it should.
            Unavailable: the engine, which alone can parse them, is out of reach.
        """
        ...

    def before_rights(self, spec: CollectionSpec) -> CollectionSpec:
        """The specification without what `open_up` gives, and without what is made by nobody: what
        a store reports of a collection that it made of it and did not open."""
        ...

    def open_up(self, name: str) -> None:
        """Give others their rights in a collection that is whole: policies, grants, roles, owner;
        all of it or nothing, idempotent. The last step before it is served."""
        ...

    def remove(self, name: str) -> tuple[str, ...]:
        """Like `drop`; returns the roles that `open_up` created for the collection and that
        remain, because somebody uses them or this user may not remove them."""
        ...


@runtime_checkable
class BulkLoad(Protocol):
    """A store that fills an empty collection faster than by one write after the other."""

    def takes_two_writers(self, name: str) -> bool:
        """True if two writes at a time, of different records, take less time than in turn. Each is
        a transaction of its own, as ever."""
        ...

    def build_beside_readers(self, name: str, *, progress: Progress | None = None) -> None:
        """Build as much of what `build_index` builds as can be built while others read, none of
        whom waits; `build_index` then does the rest."""
        ...

    def chosen(self, name: str) -> dict[str, str]:
        """Settings that were chosen for the collection in this process, by what the server says of
        itself, under the engine's names; empty before there are any."""
        ...


@runtime_checkable
class KeepsOpen(Protocol):
    """A store to which opening a collection may be dear, and that opens it for each call."""

    def keeping(self, name: str) -> AbstractContextManager[None]:
        """While it lasts, the collection `name`, which need not exist yet, stays open once a call
        has opened it. Calls of other threads come in between; other processes may have to wait."""
        ...


@dataclass(frozen=True, slots=True)
class Listed:
    """Something in a store, by the engine's own name for it; `problem` says why it is no
    collection."""

    native: str
    problem: str | None = None


@runtime_checkable
class Inventory(Protocol):
    """A store that has more in it than `collections` names: what cannot be one, or has a name that
    no collection can have here."""

    def inventory(self) -> tuple[Listed, ...]:
        """All that somebody may take for a collection, ascending by the engine's own names. Reads
        no record."""
        ...


@dataclass(frozen=True, slots=True)
class NativeFile:
    """A file that is never changed; `path` is relative to the collection, with `/`. `once`: within
    one collection no other file ever has that path."""

    path: str
    size_bytes: int
    once: bool = True


@dataclass(frozen=True, slots=True)
class NativeVersion:
    """The files that together are a collection at one version, ascending by path; `engine` as the
    store says it."""

    engine: str
    version: str
    files: tuple[NativeFile, ...]


OpenFile = Callable[[str], AbstractContextManager[IO[bytes]]]
"""Opens a file of a version by its path."""


class NativeFiles(Protocol):
    """An engine whose collections are files that are written once: they can be kept as they are,
    and restored without building an index. Two versions of one collection share the files that they
    have in common, by path."""

    def native_files(self, name: str) -> NativeVersion:
        """The newest version of a collection. Reads no record."""
        ...

    def open_native(self, name: str, path: str) -> AbstractContextManager[IO[bytes]]:
        """A file of a version, while the engine keeps it; `NotFound` when it is gone."""
        ...

    def restore_native(
        self,
        name: str,
        version: NativeVersion,
        *,
        read: OpenFile,
        spec: CollectionSpec | None = None,
    ) -> None:
        """Make a collection of that name of the files, in one visible step: it is there whole, or
        not. `spec`, which has that name, becomes its label; without one it keeps what it has.

        Raises:
            AlreadyExists: the name is taken.
            Damaged: a file has another size than was said, or is none of this engine's.
        """
        ...


@dataclass(frozen=True, slots=True)
class HashedPiece:
    """Records that lie together in files that are never changed. `digest` is made of all bytes of
    those files, as they were read just now, and of all else that their meaning depends on: equal
    digests mean equal records at equal places. `live` are the places of those that are not deleted
    (uint32, ascending); `read` gives these, in that order, in `store_schema`."""

    digest: str
    live: "pa.Array"
    read: "Callable[[], Iterator[pa.RecordBatch]]"


class HashedFiles(Protocol):
    """An engine whose collections lie in files that are written once: hashed, they prove that the
    records in them are those that were read before."""

    def pieces(self, name: str) -> Iterator[HashedPiece] | None:
        """All records of the newest version of a collection, piece by piece; None for one whose
        files do not say all of it."""
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


class Source(Protocol):
    """A history of document changes in a fixed order. Positions ascend from 1."""

    @property
    def provenance(self) -> SourceProvenance: ...

    @property
    def baseline(self) -> int:
        """Up to this position there is one state, and not every change; 0 where all are there."""
        ...

    def change_token(self) -> str:
        """Equal as long as the source holds the same, and cheap: reads none of its changes."""
        ...

    def partitions(self) -> list[SourcePartition]:
        """All days with changes, in order; the last one ends at the head."""
        ...

    def anchor(self, position: int) -> str | None:
        """Identifies everything up to a position; None where the source has no such position."""
        ...

    def changes(self, after: int, through: int) -> "Iterator[pa.RecordBatch]":
        """Changes at positions in (after, through], ascending, in `CHANGE_SCHEMA`."""
        ...

    def quarantined(self, after: int, through: int) -> list[Quarantined]:
        """Changes between those positions that could not be read and wait for somebody; of very
        many only the first.
        """
        ...

    def unread(self) -> Unread:
        """All that the source holds beyond its changes, as `partitions` last read it."""
        ...

    def reading(self) -> SourceReading:
        """How much of it `partitions` last read, and what it went by for the rest."""
        ...


@runtime_checkable
class TimedChanges(Protocol):
    """A source that says when changes were made without making rows of them."""

    def first_times(self, after: int, through: int) -> tuple[datetime, datetime] | None:
        """`updated_at` of the first change that `changes` would give, and the earliest in its first
        batch; None where there is none."""
        ...


class Chunker(Protocol):
    """Cuts documents into consecutive pieces: joined in order they are the text again."""

    @property
    def provenance(self) -> ChunkerProvenance: ...

    def split(self, titles: "pa.Array", texts: "pa.Array") -> "pa.Table":
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
        """True if, in one environment, a text's vector depends on nothing but the text."""
        ...

    def embed(self, texts: Sequence[str], *, progress: Progress | None = None) -> FloatArray:
        """float32[len(texts), dimension], finite: the vectors of texts that are kept.

        Raises `TextTooLong` before anything is computed where the model would not read a text to
        its end: no text is ever cut.
        """
        ...

    def prompt_tokens(self) -> int:
        """How much of `provenance.max_tokens` the prompt takes; loads no model."""
        ...

    def embed_queries(self, texts: Sequence[str]) -> FloatArray:
        """Like `embed`, for queries: some models read them after another prompt."""
        ...
