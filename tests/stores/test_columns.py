"""Columns in one piece, matrices of their vectors, and names that are taken."""

import numpy as np
import pyarrow as pa
import pytest

from dr_pipelines.model.collection import NAME
from dr_pipelines.stores.shared.columns import (
    all_rows,
    from_base64,
    of_rows,
    to_base64,
    valid_rows,
    whole,
)
from dr_pipelines.stores.shared.layout import column_name

TYPE = pa.list_(pa.float32(), 2)
ROWS = [[1.0, -0.0], None, [2.0, 3.0]]


@pytest.mark.parametrize("start", [0, 1])
def test_vectors_come_back_from_their_matrix(start: int) -> None:
    column = pa.array([[9.0, 9.0], *ROWS], TYPE).slice(1 + start)
    there = [row is not None for row in ROWS[start:]]
    rows, present = valid_rows(column)
    assert (len(rows), present.tolist()) == (sum(there), there)
    full, _ = all_rows(column)
    assert (len(full), full[1 - start].tolist()) == (len(there), [0.0, 0.0])
    assert of_rows(rows, present, TYPE).equals(of_rows(full, present, TYPE))
    assert of_rows(rows, present, TYPE).equals(column)


@pytest.mark.parametrize("chunks", [0, 1, 2])
def test_a_column_is_whole_however_many_pieces_it_has(chunks: int) -> None:
    pieces = pa.chunked_array([pa.array(ROWS, TYPE)] * chunks, TYPE)
    assert whole(pieces).to_pylist() == ROWS * chunks
    assert whole(whole(pieces)).type == TYPE


def test_a_vector_as_text_keeps_its_bits() -> None:
    vector = np.array([0.1, -0.0, np.nan, np.inf], np.float32)
    assert from_base64(to_base64(vector)).tobytes() == vector.tobytes()


def test_a_name_that_is_taken_becomes_another_by_one_rule() -> None:
    names = list[str]()
    for native in ("body", "id", "id", "id", "a-b", "a.b", "2x", "", "é", "n" * 100, "n" * 100):
        names.append(column_name(native, taken=names))
    assert names[:9] == ["body", "id_", "id_2", "id_3", "a_b", "a_b_", "_2x", "_", "__"]
    assert len(set(names)) == len(names)
    assert all(NAME.fullmatch(name) for name in names if name[0] != "_")
