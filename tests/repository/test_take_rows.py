"""`gather` is `take`, whatever is null and wherever a table was cut."""

import numpy as np
import pyarrow as pa
import pytest

from dr_pipelines.repository.take_rows import take_rows

WIDTH = 8


def vectors(rows: list[list[float | None] | None], *, width: int = WIDTH) -> pa.Array:
    return pa.array(rows, pa.list_(pa.float32(), width))


def whole(start: float) -> list[float | None]:
    return [start + place for place in range(WIDTH)]


def broken(start: float) -> list[float | None]:
    return [None, *whole(start)[1:]]


TABLES = {
    "every vector": vectors([whole(1), whole(20), whole(300), whole(4000)]),
    "vectors and nulls": vectors([None, whole(20), None, whole(4000)]),
    "nulls only": vectors([None, None, None, None]),
    "a null component": vectors([None, broken(20), whole(300), None]),
    "two chunks": pa.chunked_array([vectors([whole(1), None]), vectors([None, whole(2)])]),
    "an odd dimension": vectors([[1.0, 2.0, 3.0], None, [4.0, 5.0, 6.0], None], width=3),
    "no component null behind a null": pa.FixedSizeListArray.from_arrays(
        pa.array(np.arange(32, dtype=np.float32)),
        WIDTH,
        mask=pa.array([True, False, True, False]),
    ),
    "bits": vectors([[float("nan"), -0.0, 0.0, *whole(1)[:5]], None, whole(1), None]),
}


@pytest.mark.parametrize("numbers", [[], [1], [0, 1, 2, 3], [3, 1, 1, 0], [1, 3], [0, 2]])
@pytest.mark.parametrize("cut", [0, 1])
@pytest.mark.parametrize("name", TABLES)
def test_gathered_rows_are_the_rows_taken(name: str, cut: int, numbers: list[int]) -> None:
    table = pa.table({"id": ["a", None, "c", "d"], "vector": TABLES[name]}).slice(cut)
    order = np.array([n for n in numbers if n < table.num_rows], np.int64)

    rows = take_rows(table, order)

    rows.validate(full=True)
    assert bits(rows) == bits(table.take(pa.array(order)))


def bits(table: pa.Table) -> list[tuple[str | None, bytes | None]]:
    rows = zip(table["id"].to_pylist(), table["vector"].to_pylist(), strict=True)
    return [(key, None if vector is None else repr(vector).encode()) for key, vector in rows]
