"""Which records of a batch an engine would not take, column by column and without a loop over rows.

An adapter yields a `Problem` for each reason, `misfits_of` gathers them, and `checked_batch` raises
the first: what a snapshot says beforehand and what a write refuses are decided by the same code.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.collection import (
    CollectionSpec,
    Vector,
    VectorKind,
    VectorType,
)
from dr_pipelines.model.misfit import NAMED, Misfit, Misfits
from dr_pipelines.model.query import FloatArray
from dr_pipelines.stores.shared.columns import whole
from dr_pipelines.stores.shared.narrowing import narrowed

Batch: TypeAlias = pa.Table | pa.RecordBatch
Places = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Problem:
    """Rows of a batch that an engine would not take for one reason: `rows` may repeat and need no
    order; `reason` says of the n-th of them what is wrong, and is asked for few."""

    column: str
    rows: Places
    reason: Callable[[int], str]


Check = Callable[[Batch, CollectionSpec], Iterable[Problem]]


def problem(column: str, wrong: Mask | pa.Array | pa.ChunkedArray, reason: str) -> Problem:
    """Rows that are marked in a mask, for a reason that is the same for all; a null is no mark."""
    if not isinstance(wrong, np.ndarray):
        wrong = pc.fill_null(wrong, False).to_numpy(zero_copy_only=False)
    return Problem(column, np.flatnonzero(wrong), lambda _: reason)


def misfits_of(batch: Batch, problems: Iterable[Problem]) -> Misfits:
    """The rows of all problems, each once, the first of them named with their first reason."""
    misfits = [each for each in problems if len(each.rows)]
    if not misfits:
        return Misfits(np.empty(0, np.int64))
    rows = np.unique(np.concatenate([each.rows for each in misfits]))
    ids = batch.column("id")
    named = []
    for row in rows[:NAMED].tolist():
        first = next(each for each in misfits if row in each.rows)
        place = int(np.flatnonzero(first.rows == row)[0])
        named.append(
            Misfit(record=str(ids[row].as_py()), column=first.column, reason=first.reason(place))
        )
    return Misfits(rows, tuple(named))


def value_problems(batch: Batch, spec: CollectionSpec, *, finite: bool = True) -> Iterator[Problem]:
    """Problems of vectors: a null component, one that the declared type does not have, and with
    `finite` one that is NaN or infinite; indices of a sparse vector that do not ascend."""
    for vector in spec.vectors:
        column = whole(batch.column(vector.name))
        yield from _CHECKS[vector.kind](column, vector, finite)


def refused_by(
    batch: Batch, refuse: Callable[[pa.Table], object], *, problems: Iterable[Problem] = ()
) -> Iterator[Problem]:
    """Rows for which a write's own check raises `InvalidRequest`, beside those of `problems`, which
    are yielded first. All rows are asked about at once, and halves of them only where there
    is one."""
    problems = list(problems)
    yield from problems
    whole = batch if isinstance(batch, pa.Table) else pa.Table.from_batches([batch])
    taken = np.concatenate([np.empty(0, np.int64), *(each.rows for each in problems)])
    left = np.setdiff1d(np.arange(len(whole)), taken)
    remaining = whole.take(left) if len(taken) else whole
    pending, rows, reasons = (
        [(0, len(remaining))] if len(remaining) else [],
        list[int](),
        list[str](),
    )
    while pending:
        start, count = pending.pop()
        try:
            refuse(remaining.slice(start, count).combine_chunks())
        except InvalidRequest as error:
            if count == 1:
                rows.append(int(left[start]))
                reasons.append(str(error))
            else:
                half = count // 2
                pending += [(start, half), (start + half, count - half)]
    yield Problem("record", np.array(rows, np.int64), reasons.__getitem__)


def _dense(column: pa.Array, vector: Vector, finite: bool) -> Iterator[Problem]:
    width = column.type.list_size
    values = column.flatten()  # without the slots of null vectors

    def owners(places: Places) -> Places:
        present: Places = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
        rows: Places = present[places // width]
        return rows

    yield from _components(values, vector, finite, owners)


def _several(column: pa.Array, vector: Vector, finite: bool) -> Iterator[Problem]:
    parents, vectors = pc.list_parent_indices(column), column.flatten()
    owner = parents.to_numpy(zero_copy_only=False).astype(np.int64)
    if vectors.null_count:
        missing = np.flatnonzero(vectors.is_null().to_numpy(zero_copy_only=False))
        reason = f"one of the vectors {vector.name!r} is null; leave it out"
        yield Problem(vector.name, owner[missing], lambda _: reason)
        owner = owner[vectors.is_valid().to_numpy(zero_copy_only=False)]
    width = vectors.type.list_size
    yield from _components(vectors.flatten(), vector, finite, lambda places: owner[places // width])


def _sparse(column: pa.Array, vector: Vector, finite: bool) -> Iterator[Problem]:
    indices, values = (pc.struct_field(column, part) for part in ("indices", "values"))
    numbers = pc.fill_null(indices.flatten(), -1).to_numpy(zero_copy_only=False)
    owners = _parents(indices)
    wrong = (numbers < 0) | (numbers >= vector.dimension)
    wrong[1:] |= (np.diff(numbers) <= 0) & (np.diff(owners) == 0)
    lengths = (pc.fill_null(pc.list_value_length(part), -1) for part in (indices, values))
    uneven = np.flatnonzero(np.not_equal(*(n.to_numpy(zero_copy_only=False) for n in lengths)))
    parts_missing = pc.and_(column.is_valid(), pc.or_(indices.is_null(), values.is_null()))
    half = np.flatnonzero(parts_missing.to_numpy(zero_copy_only=False))
    reason = (
        f"sparse vector {vector.name!r}: expected as many values as indices, which ascend and are "
        f"below {vector.dimension}"
    )
    yield Problem(vector.name, np.concatenate([half, uneven, owners[wrong]]), lambda _: reason)
    of_values = _parents(values)
    yield from _components(values.flatten(), vector, finite, lambda places: of_values[places])


_CHECKS: dict[VectorKind, Callable[[pa.Array, Vector, bool], Iterator[Problem]]] = {
    VectorKind.DENSE: _dense,
    VectorKind.MULTI: _several,
    VectorKind.SPARSE: _sparse,
}


def _components(
    values: pa.Array, vector: Vector, finite: bool, owners: Callable[[Places], Places]
) -> Iterator[Problem]:
    """Components that are null, or not finite, or that the declared type does not have; `owners`
    are the rows that hold the components at some places."""
    numbers = values.to_numpy(zero_copy_only=False)  # a null component reads as NaN
    whole = values.null_count == 0 and vector.dtype is VectorType.FLOAT32
    if whole and (not finite or all_finite(numbers)):
        return
    missing = values.is_null().to_numpy(zero_copy_only=False)
    bad = ~np.isfinite(numbers) if finite else missing
    yield _component_problem(values, np.flatnonzero(bad), vector, owners, _EXPECTED)
    if vector.dtype is not VectorType.FLOAT32:
        narrow = narrowed(numbers, vector.dtype)
        rounded = narrow.view(np.uint32) != numbers.view(np.uint32)  # no integer is -0.0
        if vector.dtype in _FLOATS:
            rounded &= ~(np.isnan(narrow) & np.isnan(numbers))  # one NaN is as good as another
        expected = f"its components are {vector.dtype.value}, and nothing is rounded"
        yield _component_problem(values, np.flatnonzero(rounded & ~bad), vector, owners, expected)


_EXPECTED = "components are finite, a record without a vector has a null vector"
_FLOATS = frozenset([VectorType.FLOAT16, VectorType.BFLOAT16])


def _component_problem(
    values: pa.Array,
    places: Places,
    vector: Vector,
    owners: Callable[[Places], Places],
    expected: str,
) -> Problem:
    def reason(number: int) -> str:
        place = int(places[number])
        value = values[place].as_py()
        return (
            f"component {place % vector.dimension} of {vector.name!r} is "
            f"{'null' if value is None else value}; {expected}"
        )

    return Problem(vector.name, owners(places), reason)


def all_finite(numbers: FloatArray) -> bool:
    """True if no number is NaN or infinite: one pass over them, without a mask of their size."""
    with np.errstate(all="ignore"):
        square = np.dot(numbers, numbers)
    return bool(np.isfinite(square) or np.isfinite(numbers).all())


def _parents(lists: pa.Array) -> Places:
    owners: Places = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False).astype(np.int64)
    return owners
