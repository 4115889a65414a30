"""Looking at a store that does not return the bits it was given.

What such a store holds is compared with every logged vector of the same record. One that lies
within the store's tolerance counts as that vector, so that rounding is neither an edit nor damage;
whatever lies outside of it is.
"""

from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.model.collection import CollectionSpec, VectorKind
from dr_pipelines.protocols import VectorReader
from dr_pipelines.repository import digest
from dr_pipelines.repository.observation import Observation, observe
from dr_pipelines.repository.segments import read_segment
from dr_pipelines.repository.state import State

Mask = npt.NDArray[np.bool_]

PIECE_ROWS = 8_192


def observe_store(
    state: State, batches: Iterable[pa.RecordBatch], *, store: VectorReader, physical: str
) -> Observation:
    """`observe`, for what a store returned. Where the store rounds, what lies within its tolerance
    of a logged vector is observed as that vector, and counted as `rounded`."""
    observation = observe(state, batches)
    if store.vector_tolerance != 0:
        near = partial(_near_ones, state=state, store=store, physical=physical)
        observation.settle(map(near, observation.candidates(rows=PIECE_ROWS)))
    return observation


def _near_ones(piece: pa.Table, *, state: State, store: VectorReader, physical: str) -> pa.Table:
    """Those candidates that are near."""
    near = _near(piece, state, store=store, physical=physical)
    return piece.filter(pa.array(near)).select(["id", "vector_digest", "preference"])


def _near(
    piece: pa.Table,
    state: State,
    *,
    store: VectorReader,
    physical: str,
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
        logged = read_segment(
            state.repository, state.segments[number], spec=state.spec, columns=names
        )
        theirs = logged.take(piece["row"].take(pa.array(there)))
        near[there] = within(ours, theirs, state.spec, tolerance=store.vector_tolerance)
    return near


def _by_segment(piece: pa.Table) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
    segments = piece["segment"].to_numpy()
    for number in np.unique(segments).tolist():
        yield number, np.flatnonzero(segments == number)


def within(stored: pa.Table, logged: pa.Table, spec: CollectionSpec, *, tolerance: float) -> Mask:
    """Row by row, whether every vector is near the one that was kept: no component of a dense one
    differs by more than the tolerance, times its length where that is above 1; components that are
    not finite are the same, and no part of a length. Vectors of other kinds are equal to the bit.
    """
    near = np.ones(stored.num_rows, bool)
    for vector in spec.vectors:
        ours, theirs = (_one(table[vector.name]) for table in (stored, logged))
        if vector.kind is VectorKind.DENSE:
            near &= _dense_within(ours, theirs, tolerance=tolerance)
        else:
            alone = spec.model_copy(update={"vectors": (vector,)})
            digests = (digest.vector_digests(t, alone).to_pylist() for t in (stored, logged))
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
