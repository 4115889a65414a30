"""Values that no store can hold are refused by name; others pass, of every kind of vector."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.collection import (
    UNBOUNDED,
    CollectionSpec,
    Metric,
    Vector,
    VectorKind,
    VectorType,
)
from dr_pipelines.model.record import store_schema
from dr_pipelines.stores.shared.batches import checked_batch, in_order_of_id
from dr_pipelines.stores.shared.narrowing import narrowed

SPEC = CollectionSpec(
    name="kinds",
    vectors=(
        Vector(dimension=2, metric=Metric.L2),
        Vector(name="words", dimension=9, kind=VectorKind.SPARSE),
        Vector(name="wide", dimension=UNBOUNDED, kind=VectorKind.SPARSE),
        Vector(name="tokens", dimension=2, kind=VectorKind.MULTI),
    ),
)
NARROW = [dtype for dtype in VectorType if dtype is not VectorType.FLOAT32]
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
SPARSE = st.dictionaries(st.integers(0, 8), FLOATS, max_size=5).map(
    lambda values: {"indices": sorted(values), "values": [values[key] for key in sorted(values)]}
)
TOKENS = st.lists(st.lists(FLOATS, min_size=2, max_size=2), max_size=3)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "embedding": st.none() | st.lists(FLOATS, min_size=2, max_size=2),
            "words": st.none() | SPARSE,
            "tokens": st.none() | TOKENS,
        }
    ),
    max_size=6,
)


def batch(*rows: dict[str, Any], spec: CollectionSpec = SPEC) -> pa.Table:
    whole = [
        {"id": f"r{n}", "document_id": "d", "chunk_index": n} | row for n, row in enumerate(rows)
    ]
    return pa.Table.from_pylist(whole, schema=store_schema(spec))


@settings(max_examples=60, deadline=None)
@given(rows=ROWS, cut=st.integers(0, 6), before=ROWS)
def test_what_can_be_held_passes_as_it_is(
    rows: list[dict[str, Any]], cut: int, before: list[dict[str, Any]]
) -> None:
    whole = batch(*rows)
    chunked = pa.concat_tables([whole.slice(0, cut), whole.slice(cut)])
    framed = batch(*before, *rows).slice(len(before))
    assert checked_batch(whole, SPEC).equals(whole)
    assert checked_batch(chunked, SPEC).equals(whole)
    assert checked_batch(framed, SPEC).equals(framed)


def sparse(indices: Any, values: Any) -> dict[str, Any]:
    return {"words": {"indices": indices, "values": values}}


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "descending": (sparse([3, 1], [1.0, 1.0]), "ascend"),
    "twice": (sparse([3, 3], [1.0, 1.0]), "ascend"),
    "beyond the dimension": (sparse([9], [1.0]), "below 9"),
    "below zero": (sparse([-1], [1.0]), "below 9"),
    "a null index": (sparse([None], [1.0]), "below 9"),
    "a value too few": (sparse([1, 2], [1.0]), "as many values"),
    "a value too many": (sparse([1], [1.0, 2.0]), "as many values"),
    "no values": (sparse([1], None), "as many values"),
    "no indices": (sparse(None, [1.0]), "as many values"),
    "a value that is NaN": (sparse([1], [float("nan")]), "finite"),
    "a value that is null": (sparse([1], [None]), "finite"),
    "beyond any dimension": ({"wide": {"indices": [2**32], "values": [1.0]}}, "below 4294967296"),
    "one of several is null": ({"tokens": [[1.0, 0.0], None]}, "leave it out"),
    "one of several is infinite": ({"tokens": [[1.0, 0.0], [0.0, float("inf")]]}, "finite"),
    "a component of several is null": ({"tokens": [[1.0, None]]}, "finite"),
    "a NaN": ({"embedding": [0.0, float("nan")]}, "finite"),
}
GOOD: dict[str, Any] = {
    "embedding": [1.0, 0.0],
    "words": {"indices": [0, 8], "values": [1.0, 2.0]},
    "wide": {"indices": [2**32 - 1], "values": [1.0]},
    "tokens": [[1.0, 2.0]] * 3,
}


@pytest.mark.parametrize("case", WRONG)
def test_what_no_store_can_hold_is_refused_by_the_name_of_its_record(case: str) -> None:
    wrong, message = WRONG[case]
    column = next(iter(wrong))
    empty: dict[str, Any] = {"tokens": [], "words": {"indices": [], "values": []}}
    rows = [GOOD, {}, empty, GOOD | wrong, GOOD]
    with pytest.raises(InvalidRequest, match=message) as caught:
        checked_batch(batch(*rows), SPEC)
    assert "'r3'" in str(caught.value)
    assert f"'{column}'" in str(caught.value)
    checked_batch(batch(*(row for row in rows if row is not rows[3])), SPEC)


def test_the_next_record_may_begin_with_a_lower_index() -> None:
    rows = [sparse([7, 8], [1.0, 1.0]), sparse([0], [1.0]), {}, sparse([0, 8], [1.0, 1.0])]
    checked_batch(batch(*rows), SPEC)


# Types that keep less than a float32

TORCH = {VectorType.FLOAT16: torch.float16, VectorType.BFLOAT16: torch.bfloat16}
HALF_WAY = [1.0 + 2**-11, 1.0 + 3 * 2**-11, 1.0 + 2**-8, 1.0 + 3 * 2**-8, 2.5, -0.5, 1e-45, 6e-8]
NUMBERS = st.lists(FLOATS | st.sampled_from(HALF_WAY) | st.integers(-300, 300), min_size=1)


@settings(max_examples=100, deadline=None)
@given(numbers=NUMBERS, dtype=st.sampled_from(sorted(TORCH)))
def test_floats_are_narrowed_as_another_library_does(numbers: list[float], dtype: Any) -> None:
    values = np.array(numbers, np.float32)
    expected = torch.from_numpy(values.copy()).to(TORCH[dtype]).to(torch.float32).numpy()
    assert narrowed(values, dtype).tobytes() == expected.tobytes()


def nearest(value: float, low: int, high: int) -> float:
    return float(min(max(round(value), low), high))


WHOLE: dict[VectorType, Callable[[float], float]] = {
    VectorType.INT8: lambda value: nearest(value, -128, 127),
    VectorType.UINT8: lambda value: nearest(value, 0, 255),
    VectorType.BIT: lambda value: float(value != 0),
}


@settings(max_examples=100, deadline=None)
@given(numbers=NUMBERS, dtype=st.sampled_from(sorted(WHOLE)))
def test_whole_numbers_are_the_nearest_in_range(numbers: list[float], dtype: Any) -> None:
    values = np.array(numbers, np.float32)
    expected = [WHOLE[dtype](float(value)) for value in values]
    assert narrowed(values, dtype).tolist() == expected


@settings(max_examples=60, deadline=None)
@given(numbers=NUMBERS, dtype=st.sampled_from(VectorType))
def test_what_was_narrowed_stays(numbers: list[float], dtype: VectorType) -> None:
    once = narrowed(np.array(numbers, np.float32), dtype)
    assert narrowed(once, dtype).tobytes() == once.tobytes()


@pytest.mark.parametrize("kind", VectorKind)
@pytest.mark.parametrize("dtype", NARROW)
def test_a_component_that_a_type_does_not_have_is_refused(
    dtype: VectorType, kind: VectorKind
) -> None:
    vector = Vector(dimension=2, dtype=dtype, kind=kind, metric=Metric.L2)
    spec = CollectionSpec(name="narrow", vectors=(vector,))

    def of(value: float) -> pa.Table:
        shapes: dict[VectorKind, Any] = {
            VectorKind.DENSE: [1.0, value],
            VectorKind.SPARSE: {"indices": [0, 1], "values": [1.0, value]},
            VectorKind.MULTI: [[1.0, 0.0], [1.0, value]],
        }
        return batch({}, {"embedding": shapes[kind]}, spec=spec)

    for value in (0.0, 1.0):
        checked_batch(of(value), spec)
    for value in (1.00001, 1e30):
        with pytest.raises(InvalidRequest, match=f"'r1'.*{dtype.value}, and nothing is rounded"):
            checked_batch(of(value), spec)


def test_a_batch_in_order_is_not_copied() -> None:
    rows = batch(GOOD, GOOD, {})
    assert in_order_of_id(rows) is rows
    turned = in_order_of_id(rows.take([2, 0, 1]))
    assert turned.equals(rows)
