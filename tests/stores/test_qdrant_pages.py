"""Pages of points: vectors that come as bytes are the same columns as those that come as lists."""

import uuid
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from dr_pipelines.model.collection import Vector
from dr_pipelines.stores.qdrant.edge_pages import page_of
from dr_pipelines.stores.qdrant.vectors import found_vectors
from dr_pipelines.stores.shared.columns import to_base64

VECTOR = Vector(dimension=3)
ODD = [float(np.float32(0.1)), -0.0, float("nan")]
OTHER = [float("inf"), 5e-324, 3.0]


@dataclass(frozen=True)
class Record:
    """As the binding gives it."""

    id: Any
    vector: Any
    payload: Any = None


def test_components_that_are_packed_are_the_same_bits() -> None:
    rows = [ODD, None, OTHER, None]
    beside = [None, None, None, to_base64(np.array([1, 2, 3], np.float32))]
    records = [Record(number, None if v is None else {"": v}) for number, v in enumerate(rows)]
    packed = [vectors.get("") for vectors in page_of(records).vectors]
    assert [type(v) for v in packed] == [bytes, type(None), bytes, type(None)]
    columns = [found_vectors(read, beside, VECTOR) for read in (rows, packed)]
    bits = [c.flatten().to_numpy().view(np.uint32).tolist() for c in columns]
    assert bits[0] == bits[1]
    assert [c.is_valid().to_pylist() for c in columns] == [[True, False, True, True]] * 2


def test_a_vector_of_another_length_is_an_error() -> None:
    read = page_of([Record(1, [0.5, 0.5, 0.5]), Record(2, [0.5, 0.5])]).vectors
    with pytest.raises(ValueError, match="not 3 components"):
        found_vectors([vectors[""] for vectors in read], [None, None], VECTOR)


def test_ids_are_canonical_and_other_kinds_of_vectors_stay_as_they_are() -> None:
    one = uuid.UUID(int=1)
    page = page_of([Record(one, {"several": [[1.0], [2.0]], "none": []}), Record(7, [0.5])])
    assert (list(page.ids), page.ids[1:], page.ids[0]) == ([str(one), 7], [7], str(one))
    assert page.vectors[0] == {"several": [[1.0], [2.0]], "none": []}
    assert page.payloads == [{}, {}]
