"""Records that a store returned, as rows of a segment."""

import pyarrow as pa
import pytest

from dr_pipelines.model.collection import CollectionSpec, Vector
from dr_pipelines.model.record import segment_schema, store_schema
from dr_pipelines.repository.fold import fold
from dr_pipelines.repository.rows import newest_rows, observed_rows
from dr_pipelines.repository.segments import BASE_ROWS, sort_rows, write_segment
from tests.repository import builders

SPEC = CollectionSpec(name="notes", vectors=(Vector(dimension=2),))
PIECES = [("b", 0), ("b", 1), ("b", 2), ("a", 0), ("é", 0), ("d", 1), ("d", 0)]
EXPECTED = [
    ("a", -1), ("a", 0), ("b", -1), ("b", 0), ("b", 1), ("b", 2), ("d", -1), ("d", 0), ("d", 1),
    ("é", -1), ("é", 0),
]  # fmt: skip


def stored(pieces: list[tuple[str, int]]) -> pa.Table:
    records = [
        {
            "id": f"{document}#{place}",
            "document_id": document,
            "chunk_index": place,
            "text": f"{document} {place}",
            "embedding": [float(place), 1.0],
        }
        for document, place in pieces
    ]
    return pa.Table.from_pylist(records, store_schema(SPEC))


@pytest.mark.parametrize("absent", [[], ["c"], ["z", "0", "c"]])
def test_each_document_row_stands_before_its_records(absent: list[str]) -> None:
    observed = observed_rows(stored(PIECES), spec=SPEC, absent=pa.array(absent, pa.string()))
    rows = observed.joined(segment_schema(SPEC).names)

    pairs = zip(rows["document_id"].to_pylist(), rows["chunk_index"].to_pylist(), strict=True)
    gone = [(document, -1) for document in absent]
    assert list(pairs) == sorted([*EXPECTED, *gone], key=lambda row: (row[0].encode(), row[1]))
    assert rows.equals(sort_rows(rows))
    vectors = dict(zip(rows["id"].to_pylist(), rows["embedding"].to_pylist(), strict=True))
    assert vectors.pop(None) is None
    assert vectors == {f"{document}#{place}": [place, 1.0] for document, place in PIECES}


def test_documents_that_are_all_gone_have_rows_that_say_so() -> None:
    rows = observed_rows(stored([]), spec=SPEC, absent=pa.array(["b", "a"], pa.string()))
    assert rows.vectors.num_rows == 0
    assert rows.narrow.select(["document_id", "presence", "chunk_count"]).to_pylist() == [
        {"document_id": "a", "presence": "absent", "chunk_count": 0},
        {"document_id": "b", "presence": "absent", "chunk_count": 0},
    ]


def test_a_restore_writes_two_base_segments_at_a_time_and_no_remnants() -> None:
    repository, segments = builders.repository(), []
    for first in range(0, 4 * BASE_ROWS, BASE_ROWS):
        documents = [(f"{number:06d}", 0) for number in range(first, first + BASE_ROWS - 1)]
        rows = observed_rows(stored(documents), spec=SPEC)
        segments.append(write_segment(repository, "notes", rows, spec=SPEC, kind="base"))
    manifest = builders.manifest(collection="notes", spec=SPEC, segments=tuple(segments))

    with fold(repository, manifest) as state:
        tables = list(newest_rows(state))

    assert [table.num_rows for table in tables] == [2 * (BASE_ROWS - 1)] * 2
