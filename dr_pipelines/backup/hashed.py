"""A collection read by its files: those that were hashed before are hashed again, which proves what
is in them, and only records of new files are read."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from dr_pipelines import __version__
from dr_pipelines.backup.passing import Passing
from dr_pipelines.backup.piece_cache import Entry, PieceCache
from dr_pipelines.errors import Damaged
from dr_pipelines.model.assurance import Assurance
from dr_pipelines.model.base import canonical_json
from dr_pipelines.model.misfit import Misfit, Misfits
from dr_pipelines.proof.sampling import EdgeSample
from dr_pipelines.protocols import HashedFiles, HashedPiece
from dr_pipelines.repository.observation import digested

DIGESTS = ("id", "document_id", "content_digest", "vector_digest")
FACTS = pa.schema(
    [
        ("place", pa.uint32()),
        ("id", pa.string()),
        ("document_id", pa.string()),
        ("content_digest", pa.binary(32)),
        ("vector_digest", pa.binary(32)),
        ("norm", pa.float64()),
        ("misfit", pa.bool_()),
        ("column", pa.string()),
        ("reason", pa.string()),
    ]
)
"""Facts about each record of a piece: its place, what is compared, and what is tallied."""


@dataclass(frozen=True, slots=True)
class Hashing:
    """The files of an engine's collections, and what this machine remembers of them."""

    files: HashedFiles
    cache: PieceCache


class HashedScan:
    """One scan of a collection by its pieces. With `whole` nothing remembered is used."""

    def __init__(
        self,
        pieces: Iterator[HashedPiece],
        *,
        passing: Passing,
        cache: PieceCache,
        about: str,
        whole: bool,
    ) -> None:
        self._pieces = pieces
        self._passing = passing
        self._cache = cache
        self._about = _of(about, passing)
        self._whole = whole
        self._remembered = 0

    @property
    def assurance(self) -> Assurance:
        """Every value, as long as nothing that was remembered took part."""
        return Assurance.FILES if self._remembered else Assurance.EVERY_VALUE

    def digests(self) -> Iterator[pa.Table]:
        """Ids, documents and digests of every record, as `digested` gives them."""
        keys = set[str]()
        for piece in self._pieces:
            key = hashlib.sha256(f"{self._about} {piece.digest}".encode()).hexdigest()
            keys.add(key)
            entry = None if self._whole else self._cache.entry(key)
            if entry is not None and _holds(entry, piece.live):
                self._remembered += 1
                yield from self._recalled(entry, piece.live)
            else:
                yield from self._read(piece, key)
        self._cache.retain(keys)

    def _recalled(self, entry: Entry, live: pa.Array) -> Iterator[pa.Table]:
        for batch in entry.facts():
            facts = batch.filter(pa.array(_alive(batch.column("place"), live)))
            if facts.num_rows:
                self._passing.count(
                    facts.column("id"), norms=facts.column("norm"), misfits=misfits_of(facts)
                )
                yield pa.Table.from_batches([facts]).select(DIGESTS)
        # edges of records that are gone by now stay among them: a trial has one more to try
        self._sampled(entry.sample())

    def _read(self, piece: HashedPiece, key: str) -> Iterator[pa.Table]:
        sample, start, new = EdgeSample(self._passing.spec), 0, self._cache.writing(key)
        try:
            for batch in piece.read():
                norms, misfits = self._passing.look(batch, sample=sample)
                for digests in digested([batch], spec=self._passing.spec):
                    places = piece.live.slice(start, batch.num_rows)
                    start += batch.num_rows
                    _require_all(len(piece.live), start, at_end=False)
                    new.add(facts_of(places, digests, norms, misfits))
                    yield digests
            _require_all(len(piece.live), start, at_end=True)
            edges = sample.table()
            self._cache.publish(key, new, sample=edges)
        finally:
            new.discard()
        self._sampled(edges)

    def _sampled(self, edges: pa.Table) -> None:
        for batch in edges.to_batches():
            self._passing.sample.add(batch)


def _require_all(expected: int, count: int, *, at_end: bool) -> None:
    if count > expected or (at_end and count < expected):
        raise Damaged(
            f"a file has {expected} records that are not deleted, and {count} were read of it; "
            "back up again, and if that stays so, restore the collection"
        )


def hashed_scan(
    hashing: Hashing, physical: str, passing: Passing, *, about: str, whole: bool
) -> HashedScan | None:
    """A scan of a collection by its files; None where these do not say all of it. `about` is the
    engine; with `whole` every record is read."""
    pieces = hashing.files.pieces(physical)
    if pieces is None:
        return None
    return HashedScan(pieces, passing=passing, cache=hashing.cache, about=about, whole=whole)


def _of(engine: str, passing: Passing) -> str:
    """All that facts depend on beside the files: specification, engine, and this version's code."""
    spec = passing.spec.model_dump(mode="json", exclude={"aliases"})
    return hashlib.sha256(canonical_json([__version__, engine, spec])).hexdigest()


def _holds(entry: Entry, live: pa.Array) -> bool:
    """True if facts of every live record are there: a record that was deleted when they were made
    may be alive again."""
    alive = sum(int(_alive(batch.column("place"), live).sum()) for batch in entry.facts())
    return alive == len(live)


def _alive(places: pa.Array, live: pa.Array) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    ours, theirs = places.to_numpy(), live.to_numpy()
    if not len(theirs):
        return np.zeros(len(ours), bool)
    near = np.minimum(np.searchsorted(theirs, ours), len(theirs) - 1)
    alive: np.ndarray[tuple[int], np.dtype[np.bool_]] = theirs[near] == ours
    return alive


def facts_of(
    places: pa.Array, digests: pa.Table, norms: pa.Array, misfits: Misfits
) -> pa.RecordBatch:
    """Facts about records of a piece, in `FACTS`."""
    size = len(places)
    misfit = np.zeros(size, bool)
    misfit[misfits.rows] = True
    numbers = np.full(size, -1, np.int64)
    numbers[misfits.rows[: len(misfits.named)]] = np.arange(len(misfits.named))
    which = pa.array(numbers, mask=numbers < 0)
    arrays = [
        places,
        *(digests[name].combine_chunks() for name in DIGESTS),
        norms,
        pa.array(misfit),
        pa.array([named.column for named in misfits.named], pa.string()).take(which),
        pa.array([named.reason for named in misfits.named], pa.string()).take(which),
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=FACTS)


def misfits_of(facts: pa.RecordBatch) -> Misfits:
    """Those among records, by the facts about them."""
    rows = np.flatnonzero(facts.column("misfit").to_numpy(zero_copy_only=False))
    named = [
        Misfit(record=row["id"], column=row["column"], reason=row["reason"])
        for row in facts.select(["id", "column", "reason"])
        .filter(facts.column("reason").is_valid())
        .to_pylist()
    ]
    return Misfits(rows, tuple(named))
