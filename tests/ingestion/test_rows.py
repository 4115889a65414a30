"""Rows from changes, and the checks that stop rows which are not what they should be."""

import hashlib
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dr_pipelines.chunkers.simple import CharacterChunker
from dr_pipelines.embedders.hashing import HashingEmbedder
from dr_pipelines.errors import InvalidRequest
from dr_pipelines.ingestion.rows import (
    build_chunk_rows,
    check_changes,
    check_chunks,
    check_embeddings,
    embedding_inputs,
)
from dr_pipelines.model.collection import (
    CollectionSpec,
    Field,
    FieldType,
    Vector,
)
from dr_pipelines.model.record import CHANGE_SCHEMA, chunk_schema, segment_schema
from dr_pipelines.sources.jsonl import JsonlSource
from tests.ingestion.feeds import line, written

SPEC = CollectionSpec(
    name="handbook",
    vectors=(Vector(dimension=8),),
    fields=(
        Field(name="title", type=FieldType.STRING),
        Field(name="year", type=FieldType.INTEGER),
        Field(name="weight", type=FieldType.NUMBER),
        Field(name="current", type=FieldType.BOOLEAN),
        Field(name="seen", type=FieldType.TIMESTAMP),
        Field(name="groups", type=FieldType.STRINGS),
    ),
)
METADATA = {
    "year": 2024,
    "weight": 1,
    "current": False,
    "seen": "2026-01-01T02:00:00+02:00",
    "groups": ["eng", ""],
    "url": "https://e/1",
    "more": {"b": 1, "a": None},
}
FEED = [
    line(1, id="b", text="abcdefgh", title="Title", metadata=METADATA),
    line(2, id="a", text=""),
    line(4, id="b", op="delete", text=None),
    line(5, id="é", text="xyz", metadata={"title": "its own", "seen": "2026-01-01"}),
]


@pytest.fixture
def changes(tmp_path: Path) -> pa.Table:
    source = JsonlSource(written(tmp_path / "feed.jsonl", FEED))
    return pa.Table.from_batches(source.changes(0, 9), CHANGE_SCHEMA)


def chunk_rows(changes: pa.Table, spec: CollectionSpec = SPEC) -> pa.Table:
    return build_chunk_rows(
        changes,
        CharacterChunker(5),
        spec=spec,
        epoch=2,
        generation=7,
        provenance_fingerprint="p" * 64,
        batch="run-1",
    )


@pytest.fixture
def chunks(changes: pa.Table) -> pa.Table:
    return chunk_rows(changes)


@pytest.fixture
def segment(chunks: pa.Table) -> pa.Table:
    """The same rows with hashed vectors."""
    records = [index for index, row in enumerate(chunks["chunk_index"].to_pylist()) if row >= 0]
    embedded = HashingEmbedder(8).embed(embedding_inputs(chunks)).tolist()
    vectors = dict(zip(records, embedded, strict=True))
    rows = [row | {"embedding": vectors.get(i)} for i, row in enumerate(chunks.to_pylist())]
    return pa.Table.from_pylist(rows, schema=segment_schema(SPEC))


def test_a_document_row_and_its_records_are_made_of_every_change(chunks: pa.Table) -> None:
    assert chunks.schema.equals(chunk_schema(SPEC))
    names = ("document_id", "position", "chunk_index", "id", "presence", "chunk_count", "text")
    assert [tuple(row[name] for name in names) for row in chunks.to_pylist()] == [
        ("a", 2, -1, None, "present", 0, None),
        ("b", 1, -1, None, "present", 2, None),
        ("b", 1, 0, "b#000000", None, None, "abcde"),
        ("b", 1, 1, "b#000001", None, None, "fgh"),
        ("b", 4, -1, None, "deleted", 0, None),
        ("é", 5, -1, None, "present", 1, None),
        ("é", 5, 0, "é#000000", None, None, "xyz"),
    ]


def test_a_record_carries_declared_fields_and_the_rest_as_json(chunks: pa.Table) -> None:
    row = chunks.to_pylist()[2]
    assert row == {
        "document_id": "b",
        "epoch": 2,
        "position": 1,
        "ordinal": 0,
        "edit": 0,
        "generation": 7,
        "sequence": None,
        "chunk_index": 0,
        "id": "b#000000",
        "presence": None,
        "chunk_count": None,
        "document_sha256": hashlib.sha256(b"abcdefgh").digest(),
        "text": "abcde",
        "uri": "https://e/1",
        "title": "Title",
        "year": 2024,
        "weight": 1.0,
        "current": False,
        "seen": datetime(2026, 1, 1, tzinfo=UTC),
        "groups": ["eng", ""],
        "extra": '{"more":{"a":null,"b":1},"url":"https://e/1"}',
        "content_digest": None,
        "provenance": "p" * 64,
        "batch": "run-1",
        "updated_at": datetime(2026, 1, 1, tzinfo=UTC),
        "prefix": None,
    }


def test_a_title_in_the_metadata_wins_and_nothing_undeclared_is_null(chunks: pa.Table) -> None:
    row = chunks.to_pylist()[-1]
    assert (row["title"], row["extra"]) == ("its own", None)
    assert row["seen"] == datetime(2026, 1, 1, tzinfo=UTC)


def test_digests_of_documents_are_those_of_their_text(chunks: pa.Table) -> None:
    digests = {(r["document_id"], r["position"]): r["document_sha256"] for r in chunks.to_pylist()}
    assert digests == {
        ("a", 2): hashlib.sha256(b"").digest(),
        ("b", 1): hashlib.sha256(b"abcdefgh").digest(),
        ("b", 4): None,
        ("é", 5): hashlib.sha256(b"xyz").digest(),
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("title", 5),
        ("year", "2024"),
        ("year", 1.5),
        ("year", True),
        ("year", 2**63),
        ("weight", "1"),
        ("weight", True),
        ("current", 1),
        ("seen", "yesterday"),
        ("seen", "2026-01-01T00:00:00"),
        ("seen", 5),
        ("groups", "eng"),
        ("groups", ["eng", 1]),
        ("groups", [None]),
    ],
)
def test_a_value_of_the_wrong_type_is_named(tmp_path: Path, name: str, value: Any) -> None:
    path = written(tmp_path / "feed.jsonl", [line(1, id="x", metadata={name: value})])
    changes = pa.Table.from_batches(JsonlSource(path).changes(0, 1))
    type_ = SPEC.field(name).type  # type: ignore[union-attr]
    with pytest.raises(InvalidRequest) as error:
        chunk_rows(changes)
    assert f"document 'x': {name} is {value!r}, expected {type_}" in str(error.value)


def test_five_of_many_wrong_values_are_shown(tmp_path: Path) -> None:
    lines = [line(n, metadata={"year": "x"}) for n in range(1, 9)]
    source = JsonlSource(written(tmp_path / "feed.jsonl", lines))
    with pytest.raises(InvalidRequest, match=r"^8 values .*'d5'.*; and 3 more") as error:
        chunk_rows(pa.Table.from_batches(source.changes(0, 9)))
    assert "'d6'" not in str(error.value)


def test_what_the_embedder_reads_is_prefix_and_text(chunks: pa.Table) -> None:
    rows = [row | {"prefix": "T\n\n" if row["id"] else None} for row in chunks.to_pylist()]
    rows[-1]["prefix"] = None
    texts = embedding_inputs(pa.Table.from_pylist(rows, schema=chunks.schema))
    assert texts == ["T\n\nabcde", "T\n\nfgh", "xyz"]


def test_good_rows_pass(changes: pa.Table, chunks: pa.Table, segment: pa.Table) -> None:
    check_changes(changes)
    check_changes(changes.to_batches()[0])
    check_chunks(chunks, SPEC)
    check_embeddings(segment, SPEC)


def test_no_rows_pass(changes: pa.Table, segment: pa.Table) -> None:
    check_changes(changes.slice(0, 0))
    assert embedding_inputs(chunk_rows(changes.slice(0, 0))) == []
    check_chunks(chunk_rows(changes.slice(0, 0)), SPEC)
    check_embeddings(segment.slice(0, 0), SPEC)


def edited(table: pa.Table, row: int, **values: Any) -> pa.Table:
    """The table with some values of a row replaced."""
    rows = table.to_pylist()
    rows[row] |= values
    return pa.Table.from_pylist(rows, schema=table.schema)


def without(table: pa.Table, row: int) -> pa.Table:
    return pa.concat_tables([table.slice(0, row), table.slice(row + 1)])


@pytest.mark.parametrize(
    ("row", "values", "expected"),
    [
        (
            0,
            {"document_id": ""},
            "document_id: expected 1 to 512 bytes; 1 of 4 rows: (position 1: '')",
        ),
        (0, {"document_id": "é" * 257}, "document_id: expected 1 to 512 bytes"),
        (0, {"position": 0}, "position: expected an integer from 1"),
        (1, {"ordinal": -1}, "ordinal: expected an integer from 0"),
        (1, {"position": 1}, "(position, ordinal) greater than in the row before"),
        (2, {"position": 6}, "(position, ordinal) greater than in the row before"),
        (
            0,
            {"day": date(2026, 1, 2)},
            "day: expected no earlier than in the row before",
        ),
        (0, {"day": date(2025, 1, 2)}, "no earlier than the day of updated_at"),
        (0, {"text": None}, "text: expected a text unless deleted"),
        (2, {"text": ""}, "no content in a deletion"),
        (2, {"metadata": "{}"}, "no content in a deletion"),
    ],
)
def test_a_bad_change_is_found(
    changes: pa.Table, row: int, values: dict[str, Any], expected: str
) -> None:
    with pytest.raises(InvalidRequest) as error:
        check_changes(edited(changes, row, **values))
    assert expected in str(error.value)


@pytest.mark.parametrize(
    ("row", "values", "expected"),
    [
        (0, {"document_id": ""}, "1 to 512 bytes"),
        (0, {"document_id": "z"}, "rows in the order of a segment"),
        (3, {"chunk_index": 0, "id": "b#000000"}, "rows in the order of a segment"),
        (3, {"chunk_index": 2, "id": "b#000002"}, "-1 for a document row, then 0, 1, 2 …"),
        (3, {"generation": 8}, "-1 for a document row, then 0, 1, 2 …"),
        (0, {"chunk_index": 0, "id": "a#000000", "text": "x", "presence": None}, "-1 for a doc"),
        (1, {"chunk_count": 3}, "as many records as follow the document row"),
        (0, {"chunk_count": None}, "as many records as follow the document row"),
        (1, {"presence": "gone"}, "presence: expected present, deleted or absent"),
        (1, {"presence": None}, "presence: expected present, deleted or absent"),
        (1, {"presence": "deleted"}, "chunk_count: expected 0 or more, 0 unless present"),
        (2, {"presence": "present"}, "presence: expected null in a record"),
        (1, {"document_sha256": None}, "32 bytes unless the document is gone"),
        (2, {"document_sha256": None}, "32 bytes unless the document is gone"),
        (2, {"id": "b#000001"}, "id: expected document_id#chunk_index in a record"),
        (2, {"id": None}, "id: expected document_id#chunk_index in a record"),
        (1, {"id": "b"}, "null in a document row"),
        (
            2,
            {"text": None},
            "text: expected a text in a record; 1 of 7 rows: (document_id 'b' chunk_index 0: None)",
        ),
    ],
)
def test_a_bad_chunk_row_is_found(
    chunks: pa.Table, row: int, values: dict[str, Any], expected: str
) -> None:
    with pytest.raises(InvalidRequest) as error:
        check_chunks(edited(chunks, row, **values), SPEC)
    assert expected in str(error.value)


@pytest.mark.parametrize("row", [1, 2, 3, 5, 6])
def test_a_missing_row_is_found(chunks: pa.Table, row: int) -> None:
    with pytest.raises(InvalidRequest, match="chunk rows break"):
        check_chunks(without(chunks, row), SPEC)


def test_a_repeated_row_is_found(chunks: pa.Table) -> None:
    with pytest.raises(InvalidRequest, match="each once"):
        check_chunks(pa.concat_tables([chunks.slice(0, 1), chunks]), SPEC)


@pytest.mark.parametrize(
    ("row", "vector", "expected"),
    [
        (2, None, "embedding: expected a vector in a record, none in a document row"),
        (1, [1.0] + [0.0] * 7, "embedding: expected a vector in a record, none in a document row"),
        (2, [float("nan")] + [0.0] * 7, "embedding: expected finite components"),
        (2, [float("inf")] + [0.0] * 7, "embedding: expected finite components"),
        (2, [None] + [1.0] * 7, "embedding: expected finite components"),
        (2, [0.0] * 8, "embedding: expected length 1 ± 0.001"),
        (2, [1.0] * 8, "embedding: expected length 1 ± 0.001"),
    ],
)
def test_a_bad_vector_is_found(
    segment: pa.Table, row: int, vector: list[float | None], expected: str
) -> None:
    with pytest.raises(InvalidRequest) as error:
        check_embeddings(edited(segment, row, embedding=vector), SPEC)
    assert expected in str(error.value)


def test_vectors_of_any_length_pass_where_they_are_not_normalised(segment: pa.Table) -> None:
    check_embeddings(edited(segment, 2, embedding=[2.0] * 8), SPEC, normalized=False)


def test_five_examples_of_many_are_shown(segment: pa.Table) -> None:
    many = pa.Table.from_pylist(
        [
            segment.to_pylist()[0] | {"document_id": f"d{n}", "presence": "odd", "chunk_count": 0}
            for n in range(9)
        ],
        schema=segment.schema,
    )
    with pytest.raises(InvalidRequest, match="9 of 9 rows") as error:
        check_embeddings(many, SPEC)
    assert str(error.value).count("chunk_index -1: 'odd'") == 5


def test_a_wrong_schema_is_described(chunks: pa.Table, changes: pa.Table) -> None:
    at = chunks.schema.get_field_index("edit")
    other = chunks.set_column(at, "edit", pa.array(np.zeros(len(chunks)))).drop_columns("uri")
    with pytest.raises(InvalidRequest, match="edit: double, expected int32 not null; uri: missing"):
        check_chunks(other, SPEC)
    with pytest.raises(InvalidRequest, match="order of columns"):
        check_changes(changes.select(changes.column_names[::-1]))


def test_rows_of_several_pieces_are_checked_as_one_table(segment: pa.Table) -> None:
    pieces = pa.concat_tables([segment.slice(n, 1) for n in range(len(segment))])
    check_embeddings(pieces, SPEC)
    with pytest.raises(InvalidRequest, match="each once"):
        check_embeddings(pa.concat_tables([pieces, pieces.slice(6)]), SPEC)
