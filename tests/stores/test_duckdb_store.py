"""The embedded store keeps the contract."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from dr_pipelines.errors import NotFound
from dr_pipelines.model.collection import CollectionSpec, Vector
from dr_pipelines.model.record import store_schema
from dr_pipelines.protocols import VectorStore
from dr_pipelines.stores.duckdb.connect import ROW_GROUP
from dr_pipelines.stores.duckdb.names import DuckDBCatalog
from dr_pipelines.stores.duckdb.store import duckdb_store
from dr_pipelines.stores.shared.driver_store import DriverStore
from dr_pipelines.testing.store_contract import VectorStoreContract
from dr_pipelines.testing.store_samples import CONFIGURED, SPEC, contents, document, expected, table


class TestDuckDB(VectorStoreContract):
    engine = "duckdb"
    tuned = (CONFIGURED,)

    @pytest.fixture
    def store(self, tmp_path: Path) -> VectorStore:
        return duckdb_store(tmp_path / "store", wait_seconds=30)

    def reopened(self, store: VectorStore) -> VectorStore:
        assert isinstance(store, DriverStore)
        return duckdb_store(store.driver.directory, wait_seconds=30)


def test_a_catalog_has_the_names_of_its_store_while_the_store_is_in_use(tmp_path: Path) -> None:
    store, catalog = duckdb_store(tmp_path), DuckDBCatalog(tmp_path)
    assert (catalog.collections(), catalog.aliases()) == ([], {})
    for name in ("notes@2", "notes@1"):
        store.create(CollectionSpec(name=name, vectors=(Vector(dimension=2),)))
    store.promote("notes@1", alias="notes")
    with store.driver.files.alone("notes@1"):
        assert catalog.collections() == store.collections() == ["notes@1", "notes@2"]
        assert catalog.aliases() == store.aliases() == {"notes": "notes@1"}


def test_a_file_that_goes_between_two_looks_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = duckdb_store(tmp_path)
    store.create(SPEC)
    token, status = store.change_token(SPEC.name), store.status(SPEC.name)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "exists", lambda _: True)  # as a log is until its writer closes
        assert (store.change_token(SPEC.name), store.status(SPEC.name)) == (token, status)
        with pytest.raises(NotFound, match=SPEC.name):
            store.change_token("gone")


def test_a_copied_file_is_described_by_its_own_name(tmp_path: Path) -> None:
    store = duckdb_store(tmp_path)
    store.create(SPEC)
    store.write(SPEC.name, table(*document("a", chunks=2)))
    with store.driver.files.alone(SPEC.name) as connection:
        connection.execute("CHECKPOINT collection")
    original = store.driver.files.path(SPEC.name)
    store.driver.files.path("copy").write_bytes(original.read_bytes())
    assert store.describe("copy") == store.describe(SPEC.name).model_copy(update={"name": "copy"})
    store.write("copy", table(*document("b", chunks=1)), replaces=["a"])
    assert contents(store) == expected(*document("a", chunks=2))
    assert contents(store, "copy") == expected(*document("b", chunks=1))


def test_a_catalog_of_no_directory_is_empty(tmp_path: Path) -> None:
    catalog = DuckDBCatalog(tmp_path / "nowhere")
    assert (catalog.collections(), catalog.aliases()) == ([], {})


@pytest.mark.parametrize("seed", [None, 1])
def test_a_write_of_several_row_groups_reads_back_in_order(
    tmp_path: Path, seed: int | None
) -> None:
    spec = CollectionSpec(name="many", vectors=(Vector(dimension=2),))
    numbers = np.arange(2 * ROW_GROUP + 1)
    ids = [f"document-{number:06d}" for number in numbers.tolist()]
    matrix = numbers.repeat(2).astype(np.float32)
    columns = {
        "id": pa.array(ids),
        "document_id": pa.array(ids),
        "chunk_index": pa.array(np.zeros(len(ids), np.int32)),
        "embedding": pa.FixedSizeListArray.from_arrays(pa.array(matrix), 2),
    }
    schema = store_schema(spec)
    rows = pa.table(
        [columns.get(f.name, pa.nulls(len(ids), f.type)) for f in schema], schema=schema
    )
    order = numbers if seed is None else np.random.default_rng(seed).permutation(numbers)
    store = duckdb_store(tmp_path / "store")
    store.create(spec)

    store.write("many", rows.take(pa.array(order)))

    assert pa.Table.from_batches(store.scan("many")).equals(rows)
