"""A small sample of records that holds every edge of their values, chosen while they pass by.

For each column: the first null, the extremes, the first of each odd kind (NaN, an infinity, an
empty text, a vector of zeros). At most one record for each edge of a column, whatever passes: a few
hundred.
"""

from collections.abc import Iterator
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.record import store_schema

Scores = npt.NDArray[np.float64]
Edge = tuple[str, str]
NO = -np.inf
Shape = list[tuple[str, str, int]]


class EdgeSample:
    """The best record so far for each edge of each column."""

    def __init__(self, spec: CollectionSpec) -> None:
        self._schema = store_schema(spec)
        self._best: dict[Edge, tuple[float, pa.Table]] = {}

    def add(self, batch: pa.RecordBatch) -> None:
        """Look at a batch: columns are scored whole, and single records are taken."""
        if batch.num_rows == 0:
            return
        for field in self._schema:
            column = batch.column(field.name)
            for edge, scores in _edges(column):
                place = int(np.argmax(scores))
                score = float(scores[place])
                best = self._best.get((field.name, edge))
                if score != NO and (best is None or score > best[0]):
                    taken = pa.Table.from_batches([batch.slice(place, 1)])
                    self._best[field.name, edge] = (score, taken.take([0]))  # a copy of one row

    def table(self) -> pa.Table:
        """The records, ascending by id, each once."""
        rows = [table for _, table in self._best.values()]
        if not rows:
            return self._schema.empty_table()
        every = pa.concat_tables(rows)
        ids = every["id"].to_pylist()
        first = {key: place for place, key in reversed(list(enumerate(ids)))}
        return every.take(pa.array([first[key] for key in sorted(first, key=str.encode)]))

    def shape(self) -> Shape:
        """Which edges there are, and of extremes how far out: the power of two that they reach, so
        that the next record alone, a little longer or later, is no new shape."""
        return sorted(
            (column, edge, _magnitude(score)) for (column, edge), (score, _) in self._best.items()
        )


def _magnitude(score: float) -> int:
    exponent = int(np.frexp(score)[1]) + 2_000  # of doubles: -1073 to 1024
    return exponent if score > 0 else -exponent if score < 0 else 0


def _edges(column: pa.Array) -> Iterator[tuple[str, Scores]]:
    """Edges of a column, each with a score for every row; `NO` where a row is none of it."""
    if column.null_count:
        yield "null", _marked(_mask(column.is_null()))
    if column.null_count == len(column):
        return
    kind = column.type
    valid = _mask(column.is_valid())
    if pa.types.is_fixed_size_list(kind):
        yield from _vector_edges(column, valid)
    elif pa.types.is_struct(kind):
        indices = pc.struct_field(column, "indices")
        yield from _length_edges(_numbers(pc.list_value_length(indices)), valid)
        yield "furthest", _of_lists(indices, valid)
    elif pa.types.is_list(kind):
        yield from _length_edges(_numbers(pc.list_value_length(column)), valid)
        if column.flatten().null_count:
            yield "null within", _marked(_owners(column, pc.is_null(column.flatten())))
    elif pa.types.is_string(kind):
        lengths = _numbers(pc.binary_length(column))
        yield from _length_edges(lengths, valid)
        yield "not ASCII", _marked(valid & (_numbers(pc.utf8_length(column)) != lengths))
    elif pa.types.is_floating(kind):
        yield from _number_edges(_numbers(column), valid)
    else:
        numbers = _numbers(column.cast(pa.int64()))
        yield from _extremes(numbers, valid)


def _vector_edges(column: pa.Array, valid: npt.NDArray[np.bool_]) -> Iterator[tuple[str, Scores]]:
    width = column.type.list_size
    values = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
    norms = np.full(len(column), np.nan)
    norms[valid] = _norms(values)
    finite = valid & np.isfinite(norms)
    if not finite.all():
        yield "not finite", _marked(valid & ~finite)
    yield "zero", _marked(finite & (norms == 0))
    yield from _extremes(norms, finite & (norms > 0))


def _norms(values: npt.NDArray[np.float32]) -> Scores:
    """Lengths of vectors: in single precision, which is five times as fast, and again in double
    where that has overflowed, or nothing is left of it."""
    with np.errstate(all="ignore"):
        squares: Scores = np.einsum("ij,ij->i", values, values).astype(np.float64)
        again = np.flatnonzero(~np.isfinite(squares) | (squares == 0))
        some = values[again]
        squares[again] = np.einsum("ij,ij->i", some, some, dtype=np.float64)
    return np.sqrt(squares)


def _number_edges(numbers: Scores, valid: npt.NDArray[np.bool_]) -> Iterator[tuple[str, Scores]]:
    finite = valid & np.isfinite(numbers)
    if not finite.all():
        yield "NaN", _marked(valid & np.isnan(numbers))
        yield "infinite", _marked(valid & (numbers == np.inf))
        yield "minus infinite", _marked(valid & (numbers == NO))
    yield "minus zero", _marked(finite & (numbers == 0) & np.signbit(numbers))
    yield from _extremes(numbers, finite)


def _length_edges(lengths: Scores, valid: npt.NDArray[np.bool_]) -> Iterator[tuple[str, Scores]]:
    yield "empty", _marked(valid & (lengths == 0))
    yield "longest", np.where(valid, lengths, NO)


def _extremes(numbers: Scores, there: npt.NDArray[np.bool_]) -> Iterator[tuple[str, Scores]]:
    yield "largest", np.where(there, numbers, NO)
    yield "smallest", np.where(there, -numbers, NO)


def _marked(mask: npt.NDArray[np.bool_]) -> Scores:
    scores: Scores = np.where(mask, 0.0, NO)
    return scores


def _mask(marks: pa.Array) -> npt.NDArray[np.bool_]:
    mask: npt.NDArray[np.bool_] = marks.to_numpy(zero_copy_only=False)
    return mask


def _numbers(column: pa.Array) -> Scores:
    """As doubles, a null as NaN."""
    numbers: Scores = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return numbers


def _owners(lists: pa.Array, marks: pa.Array) -> npt.NDArray[np.bool_]:
    owners = pc.list_parent_indices(lists).filter(marks).to_numpy(zero_copy_only=False)
    mask = np.zeros(len(lists), bool)
    mask[owners] = True
    return mask


def _of_lists(lists: pa.Array, valid: npt.NDArray[np.bool_]) -> Scores:
    """The largest item of each list."""
    scores = np.full(len(lists), NO)
    items = lists.flatten().to_numpy(zero_copy_only=False).astype(np.float64)
    owners = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False)
    put = partial(np.maximum.at, scores)
    put(owners, items)
    scores[~valid] = NO
    return scores
