"""Looking at a store that does not return the bits it was given.

What such a store holds is compared with every logged vector of the same record. One that lies
within the store's tolerance counts as that vector, so that rounding is neither an edit nor damage;
whatever lies outside of it is.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.model.collection import CollectionSpec, VectorKind
from dr_pipelines.protocols import VectorReader
from dr_pipelines.repository import digest
from dr_pipelines.repository.fold import State
from dr_pipelines.repository.observation import Observed, observe, recount
from dr_pipelines.repository.repository import Repository
from dr_pipelines.repository.segments import read_segment

Mask = npt.NDArray[np.bool_]

# Segment by segment, so that each is read about once; the newest logged vector of a record is
# preferred: what lies within the tolerance of two is the newest.
_CANDIDATES = """
SELECT o.document_id, o.id, p.segment, p.row, p.vector_digest,
       row_number() OVER (PARTITION BY o.id ORDER BY r.id IS NULL, p.version DESC) AS preference
FROM observed o JOIN pieces p ON p.id = o.id AND p.content_digest = o.content_digest
LEFT JOIN records r ON r.id = p.id AND r.version = p.version
WHERE o.vector_digest <> p.vector_digest AND NOT EXISTS (
    FROM records n WHERE n.id = o.id AND n.content_digest = o.content_digest
    AND n.vector_digest = o.vector_digest)
ORDER BY p.segment, o.document_id
"""
_SETTLE = """
CREATE OR REPLACE TABLE rounded AS
SELECT o.document_id, o.id, o.vector_digest AS read, near.vector_digest AS logged
FROM observed o JOIN (
    SELECT id, arg_min(vector_digest, preference) AS vector_digest FROM near_vectors GROUP BY id
) near USING (id);
UPDATE observed SET vector_digest = logged FROM rounded WHERE observed.id = rounded.id;
"""
_AS_READ = """
UPDATE observed SET vector_digest = read FROM rounded
WHERE observed.id = rounded.id AND rounded.document_id IN (SELECT document_id FROM recorded)
"""
PIECE_ROWS = 8_192


def observe_store(
    state: State,
    batches: Iterable[pa.RecordBatch],
    *,
    store: VectorReader,
    physical: str,
    repository: Repository,
) -> Observed:
    """`observe`, for what a store returned. Where the store rounds, what lies within its tolerance
    of a logged vector is observed as that vector, and counted as `rounded`."""
    observed = observe(state, batches, spec=state.spec)
    if store.vector_tolerance == 0:
        return observed
    state.sql.execute(
        "CREATE OR REPLACE TABLE near_vectors (id VARCHAR, vector_digest BLOB, preference BIGINT)"
    )
    for piece in state.batches(_CANDIDATES, rows=PIECE_ROWS):
        near = _near(piece, state, store=store, physical=physical, repository=repository)
        narrow = piece.filter(pa.array(near)).select(["id", "vector_digest", "preference"])
        state.sql.register("incoming", narrow)
        state.sql.execute("INSERT INTO near_vectors SELECT * FROM incoming")
        state.sql.unregister("incoming")
    state.sql.execute(_SETTLE)
    found = state.sql.execute("SELECT count(*) FROM rounded").fetchone()
    return replace(recount(state, observed), rounded=int((found or (0,))[0]))


def as_read(state: State, observed: Observed, documents: Sequence[str]) -> Observed:
    """What was observed, where some documents count as the store returned them: those that are
    recorded so, whole, because another record of theirs was changed."""
    if not observed.rounded or not documents:
        return observed
    recorded = pa.table({"document_id": pa.array(documents, pa.string())})
    state.sql.register("recorded", recorded)
    state.sql.execute(_AS_READ)
    state.sql.unregister("recorded")
    return recount(state, observed)


def _near(
    piece: pa.Table,
    state: State,
    *,
    store: VectorReader,
    physical: str,
    repository: Repository,
) -> Mask:
    """Which candidates lie within the tolerance of what the store returns now."""
    names = ["id", *(v.name for v in state.spec.vectors)]
    documents = pc.unique(piece["document_id"]).to_pylist()
    batches = list(store.scan(physical, columns=names, documents=documents))
    near = np.zeros(piece.num_rows, bool)
    if not batches:
        return near
    stored = pa.Table.from_batches(batches).combine_chunks()
    places = pc.index_in(piece["id"], value_set=stored["id"].combine_chunks())
    for number, rows in _by_segment(piece):
        there = rows[places.take(pa.array(rows)).is_valid().to_numpy(zero_copy_only=False)]
        ours = stored.take(places.take(pa.array(there)))
        kept = read_segment(repository, state.segments[number], spec=state.spec, columns=names)
        theirs = kept.take(piece["row"].take(pa.array(there)))
        near[there] = within(ours, theirs, state.spec, tolerance=store.vector_tolerance)
    return near


def _by_segment(piece: pa.Table) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
    segments = piece["segment"].to_numpy()
    for number in np.unique(segments).tolist():
        yield number, np.flatnonzero(segments == number)


def within(found: pa.Table, kept: pa.Table, spec: CollectionSpec, *, tolerance: float) -> Mask:
    """Row by row, whether every vector is near the one that was kept: no component of a dense one
    differs by more than the tolerance, times its length where that is above 1; components that are
    not finite are the same, and no part of a length. Vectors of other kinds are equal to the bit.
    """
    near = np.ones(found.num_rows, bool)
    for vector in spec.vectors:
        ours, theirs = (_one(table[vector.name]) for table in (found, kept))
        if vector.kind is VectorKind.DENSE:
            near &= _dense_within(ours, theirs, tolerance=tolerance)
        else:
            alone = spec.model_copy(update={"vectors": (vector,)})
            digests = (digest.vector_digests(t, alone).to_pylist() for t in (found, kept))
            near &= np.array([a == b for a, b in zip(*digests, strict=True)], bool)
    return near


def _dense_within(ours: pa.Array, theirs: pa.Array, *, tolerance: float) -> Mask:
    present = theirs.is_valid().to_numpy(zero_copy_only=False)
    near: Mask = ours.is_valid().to_numpy(zero_copy_only=False) == present
    both = np.flatnonzero(near & present)
    a, b = (_matrix(column.take(pa.array(both))) for column in (ours, theirs))
    finite = np.isfinite(b)
    allowed = tolerance * np.maximum(1.0, np.linalg.norm(np.where(finite, b, 0), axis=1))
    same = np.where(np.isnan(b), np.isnan(a), a == b)
    with np.errstate(invalid="ignore"):  # of infinities
        within = np.abs(a - b) <= allowed[:, None]
    near[both] = np.where(finite, within, same).all(axis=1)
    return near


def _matrix(column: pa.Array) -> npt.NDArray[np.float64]:
    values = column.flatten().to_numpy(zero_copy_only=False).astype(np.float64)
    matrix: npt.NDArray[np.float64] = values.reshape(len(column), column.type.list_size)
    return matrix


def _one(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
