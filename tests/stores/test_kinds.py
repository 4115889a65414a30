"""Every kind of object that an engine knows of is decided in its page, and a restore says what it
would not make again."""

import inspect
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import chromadb.types
import duckdb
import lance
import pyarrow as pa
import pytest
from chromadb.api import ClientAPI, types
from chromadb.api import collection_configuration as configuration
from pydantic import BaseModel
from pymilvus.grpc_gen import milvus_pb2, schema_pb2
from qdrant_client import QdrantClient, models

from dr_pipelines.model.collection import CollectionSpec, Vector
from dr_pipelines.model.compatibility import Outcome
from dr_pipelines.stores.duckdb.store import duckdb_store
from dr_pipelines.stores.lancedb import native, open_store
from dr_pipelines.stores.milvus import unkept

DOCS = Path(__file__).parents[2] / "docs" / "adapters"
PRIMARY = "lance-schema:unenforced-primary-key"
SPEC = CollectionSpec(name="docs@1", vectors=(Vector(dimension=2),))


def decided(page: str) -> set[str]:
    """The names in the first column of the page's table of kinds, each with a decision."""
    text = (DOCS / page).read_text(encoding="utf-8")
    section = re.split(r"^## ", text.split("## Every kind of object\n", 1)[1], flags=re.MULTILINE)[
        0
    ]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| ")]
    for _, decision, where in rows[1:]:
        assert decision.strip() in ("kept", "said at backup", "impossible", "not of a collection")
        assert where.strip()
    return {name for kinds, *_ in rows for name in re.findall(r"`([^`]+)`", kinds)}


def of_duckdb() -> Iterator[str]:
    query = (
        "SELECT function_name FROM duckdb_functions() WHERE starts_with(function_name, 'duckdb_')"
    )
    yield from (row[0] for row in duckdb.sql(query).fetchall())


def of_lance() -> Iterator[str]:
    """Members of a dataset that are no operations."""
    for name, member in inspect.getmembers(lance.LanceDataset):
        if isinstance(member, property) and not name.startswith("_"):
            yield name
    yield from ("config", "metadata", "base_paths", "mem_wal_index_details", "describe_indices")


def of_chroma() -> Iterator[str]:
    yield from chromadb.types.Collection.model_fields
    for name, names_found in inspect.getmembers(configuration):
        if typing.is_typeddict(names_found) and not name.startswith(("Create", "Update")):
            yield from names_found.__annotations__
    for name, names_found in inspect.getmembers(types):
        if (
            inspect.isclass(names_found)
            and issubclass(names_found, BaseModel)
            and name != "BaseModel"
        ):
            yield name
            yield from names_found.model_fields
    yield from (name for name in dir(types.Schema) if name.startswith("set_"))
    yield from (name for name in dir(ClientAPI) if name.startswith(("list_", "get_")))


def of_milvus() -> Iterator[str]:
    service = milvus_pb2.DESCRIPTOR.services_by_name["MilvusService"]
    asking = ("List", "Describe", "Show", "Select", "Backup")
    yield from (method.name for method in service.methods if method.name.startswith(asking))
    by_message = {
        milvus_pb2.DescribeCollectionResponse: unkept.COLLECTION | unkept.OF_SERVER,
        schema_pb2.CollectionSchema: unkept.SCHEMA,
        schema_pb2.FieldSchema: unkept.FIELD,
        schema_pb2.FunctionSchema: unkept.FUNCTION,
    }
    for message, names in by_message.items():
        fields = {field.name for field in message.DESCRIPTOR.fields}
        assert names <= fields
        yield from fields - names


def of_qdrant() -> Iterator[str]:
    yield from _fields(models.CollectionInfo, ())
    yield from (name for name in dir(QdrantClient) if name.startswith(("list_", "get_")))


def _fields(model: type[BaseModel], above: tuple[type[BaseModel], ...]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield name
        for inner in _models(field.annotation):
            if inner not in above:
                yield from _fields(inner, (*above, inner))


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for part in typing.get_args(annotation):
        yield from _models(part)


@pytest.mark.parametrize(
    ("page", "kinds"),
    [
        ("duckdb.md", of_duckdb),
        ("lancedb.md", of_lance),
        ("chroma.md", of_chroma),
        ("milvus.md", of_milvus),
        ("qdrant.md", of_qdrant),
    ],
)
def test_every_kind_that_an_engine_knows_is_decided(page: str, kinds: Any) -> None:
    all_kinds, decided_kinds = set(kinds()), decided(page)
    assert len(all_kinds) > 10
    assert sorted(all_kinds - decided_kinds) == []


def test_every_kind_of_file_that_lance_tells_is_known() -> None:
    text = " ".join((lance.LanceDataset.tracked_files.__doc__ or "").split())
    listed = text.split("**type** (dictionary<int8, utf8>): one of", 1)[1].split("Output")[0]
    assert set(re.findall("``([^`]+)``", listed)) == native.KINDS


def test_what_others_put_into_a_file_of_duckdb_is_said(tmp_path: Path) -> None:
    store = duckdb_store(tmp_path)
    store.create(SPEC)
    store.build_index(SPEC.name)
    assert store.compatibility(SPEC.name) == ()
    made = {
        "tables": "CREATE TABLE notes (a INTEGER)",
        "views": "CREATE VIEW texts_only AS SELECT text FROM records",
        "sequences": "CREATE SEQUENCE numbers",
        "functions": "CREATE MACRO twice(a) AS 2 * a",
        "types": "CREATE TYPE mood AS ENUM ('good')",
        "schemas": "CREATE SCHEMA theirs",
        "indexes": "CREATE INDEX by_text ON records (text)",
        "constraints": "CREATE TABLE IF NOT EXISTS theirs.checked (a INTEGER CHECK (a > 0))",
        "comments": "COMMENT ON TABLE records IS 'mine'",
        "comments_of_columns": "COMMENT ON COLUMN records.text IS 'mine'",
    }
    with duckdb.connect(str(next(tmp_path.glob("*.duckdb")))) as connection:
        for statement in made.values():
            connection.execute(statement)
    notes = store.compatibility(SPEC.name)
    assert {note.part.removeprefix("engine.duckdb.") for note in notes} == set(made)
    assert {note.outcome for note in notes} == {Outcome.LOST}
    assert all("{" not in note.consequence for note in notes)


def test_a_branch_of_a_lance_table_is_said(tmp_path: Path) -> None:
    rows = pa.table({"id": ["a"], "v": pa.array([[1.0, 2.0]], pa.list_(pa.float32(), 2))})
    dataset = lance.write_dataset(rows, tmp_path / "theirs.lance")
    store = open_store(f"lance:{tmp_path}", base=tmp_path)
    assert store.compatibility("theirs") == ()
    dataset.create_branch("experiment")
    (note,) = store.compatibility("theirs")
    assert (note.part, note.outcome) == ("engine.lancedb.branches", Outcome.LOST)
    assert "'experiment'" in note.consequence


def test_a_memory_wal_and_a_shallow_clone_are_said(tmp_path: Path) -> None:
    key = pa.field("id", pa.string(), nullable=False, metadata={PRIMARY: "true"})
    schema = pa.schema([key, pa.field("v", pa.list_(pa.float32(), 2))])
    rows = pa.table({"id": ["a"], "v": [[1.0, 2.0]]}, schema=schema)
    dataset = lance.write_dataset(rows, tmp_path / "theirs.lance")
    dataset.shallow_clone(tmp_path / "shallow.lance", dataset.version)
    dataset.initialize_mem_wal(unsharded=True)
    store = open_store(f"lance:{tmp_path}", base=tmp_path)
    reports = [store.compatibility(name) for name in ("theirs", "shallow")]
    assert [(note.part, note.outcome) for notes in reports for note in notes] == [
        ("engine.lancedb.mem_wal", Outcome.LOST),
        ("engine.lancedb.base_paths", Outcome.APPROXIMATED),
    ]


def test_what_a_server_of_milvus_has_and_nobody_carries_is_said() -> None:
    field = schema_pb2.FieldSchema(name="v", data_type=schema_pb2.FloatVector, external_field="x")
    schema = schema_pb2.CollectionSchema(
        name="docs", fields=[field], external_source="s3://elsewhere", file_resource_ids=[7]
    )
    description = milvus_pb2.DescribeCollectionResponse(schema=schema, shards_num=1)
    expected = ("columns.v.external_field", "schema.external_source", "schema.file_resource_ids")
    assert unkept.unkept(description) == expected
