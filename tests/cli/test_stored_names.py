"""Collections whose store calls them by names that are none of ours: with spaces, in any script."""

import shutil
from collections.abc import Callable
from pathlib import Path

import lance
import numpy as np
import psycopg
import pyarrow as pa
import pytest
import qdrant_edge as edge
from qdrant_client import QdrantClient, models

from dr_pipelines.model.collection import CollectionSpec, Vector
from dr_pipelines.stores.shared.naming import StoredNames
from dr_pipelines.stores.shared.renamed import RenamedStore
from dr_pipelines.testing.memory_store import MemoryVectorStore
from tests.cli.workplace import POLICIES, Workplace
from tests.servers.pgvector import Server

ROWS = 12
VECTORS = np.random.default_rng(0).normal(size=(ROWS, 8)).astype(np.float32)
NAMES = ["Моя таблица", "2024.docs", "日本語のメモ", 'it\'s "mine" & yours', "docs@v2@x"]


def made_by_lance(stores: Path, name: str) -> None:
    vectors = pa.array(VECTORS.tolist(), pa.list_(pa.float32(), 8))
    table = pa.table(
        {"id": [f"m{n}" for n in range(ROWS)], "text": ["memory"] * ROWS, "v": vectors}
    )
    lance.write_dataset(table, stores / f"{name}.lance")


def rows_of_lance(stores: Path, name: str) -> int:
    return int(lance.dataset(str(stores / f"{name}.lance")).count_rows())


def made_by_edge(stores: Path, name: str) -> None:
    (stores / name).mkdir(parents=True)
    params = edge.EdgeVectorParams(8, edge.Distance.Euclid)
    shard = edge.EdgeShard.create(str(stores / name), edge.EdgeConfig({"v": params}))
    points = [edge.Point(n, {"v": v.tolist()}, {"text": "memory"}) for n, v in enumerate(VECTORS)]
    shard.update(edge.UpdateOperation.upsert_points(points))
    shard.flush()
    shard.close()


def rows_of_edge(stores: Path, name: str) -> int:
    shard = edge.EdgeShard.load(str(stores / name))
    count = int(shard.count(edge.CountRequest(exact=True)))
    shard.close()
    return count


def made_by_the_client(stores: Path, name: str) -> None:
    client = QdrantClient(path=str(stores))
    params = models.VectorParams(size=8, distance=models.Distance.EUCLID)
    client.create_collection(name, vectors_config={"v": params})
    points = [
        models.PointStruct(id=n, vector={"v": v.tolist()}, payload={"text": "memory"})
        for n, v in enumerate(VECTORS)
    ]
    client.upsert(name, points)
    client.close()


def rows_of_the_client(stores: Path, name: str) -> int:
    client = QdrantClient(path=str(stores))
    count = client.count(name).count
    client.close()
    return count


def lost_by_the_client(stores: Path, name: str) -> None:
    client = QdrantClient(path=str(stores))
    client.delete_collection(name)
    client.close()


ENGINES: dict[str, tuple[Callable[..., None], Callable[..., None], Callable[..., int]]] = {
    "lance": (
        made_by_lance,
        lambda stores, name: shutil.rmtree(stores / f"{name}.lance"),
        rows_of_lance,
    ),
    "qdrant+edge": (
        made_by_edge,
        lambda stores, name: shutil.rmtree(stores / name),
        rows_of_edge,
    ),
    "qdrant+local": (made_by_the_client, lost_by_the_client, rows_of_the_client),
}


def policies(scheme: str, name: str) -> str:
    quoted = name.replace("'", "''")
    text = POLICIES.replace("duckdb:stores", f"{scheme}:stores")
    return text.replace("  memories:\n", f"  memories:\n    stored_as: '{quoted}'\n")


@pytest.mark.parametrize(
    ("scheme", "name"), [(s, NAMES[0]) for s in ENGINES] + [("lance", name) for name in NAMES[1:]]
)
def test_a_collection_of_any_name_is_backed_up_lost_and_comes_back(
    fresh: Workplace, scheme: str, name: str
) -> None:
    make, lose, count = ENGINES[scheme]
    stores = fresh.directory / "stores"
    stores.mkdir(exist_ok=True)
    make(stores, name)
    (fresh.directory / "policies.yaml").write_text(policies(scheme, name), encoding="utf-8")
    done = fresh.dr("backup", "memories", "--json")
    assert (done.json["records"], done.json["equal"]) == (ROWS, True)
    assert "memories" in fresh.dr("status").out
    assert fresh.dr("documents", "memories", "--store", "--json").code == 0
    lose(stores, name)
    back = fresh.dr("restore", "memories", "--into", "memories", "--json")
    assert back.code in (0, 3), back.err
    assert count(stores, name) == ROWS
    again = fresh.dr("backup", "memories", "--json")
    assert (again.json["records"], again.json["equal"]) == (ROWS, True)
    assert not list(fresh.directory.rglob("memories.lance"))


def test_a_restore_beside_has_a_name_of_ours(fresh: Workplace) -> None:
    stores = fresh.directory / "stores"
    made_by_lance(stores, NAMES[0])
    (fresh.directory / "policies.yaml").write_text(policies("lance", NAMES[0]), encoding="utf-8")
    fresh.dr("backup", "memories")
    assert fresh.dr("restore", "memories", "--json").code == 0
    tables = [path.stem for path in stores.glob("*.lance")]
    assert [table.split(".")[0] for table in tables if table != NAMES[0]] == ["memories"]


@pytest.mark.parametrize("name", ["Моя таблица", "2024.docs", 'it\'s "mine" & yours', "plain"])
def test_a_table_of_postgresql_of_any_name_is_lost_and_comes_back(
    fresh: Workplace, postgres: Server, name: str
) -> None:
    database, quoted = postgres.create_database(), '"' + name.replace('"', '""') + '"'
    text = policies("duckdb", name).replace("duckdb:stores", postgres.url(database))
    (fresh.directory / "policies.yaml").write_text(text, encoding="utf-8")
    with psycopg.connect(postgres.conninfo(database), autocommit=True) as clients:
        clients.execute(f"CREATE TABLE {quoted} (id int PRIMARY KEY, embedding vector(8))")
        rows = [(n, str(v.tolist())) for n, v in enumerate(VECTORS)]
        clients.cursor().executemany(f"INSERT INTO {quoted} VALUES (%s, %s)", rows)
        done = fresh.dr("backup", "memories", "--json")
        assert (done.json["records"], done.json["equal"]) == (ROWS, True), done.err
        clients.execute(f"DROP TABLE {quoted}")
        back = fresh.dr("restore", "memories", "--into", "memories", "--json")
        assert back.code in (0, 3), back.err
        assert clients.execute(f"SELECT count(*) FROM {quoted}").fetchone() == (ROWS,)
        remaining = clients.execute("SELECT count(*) FROM pg_class WHERE relname = 'memories'")
        assert remaining.fetchone() == (0,)
    again = fresh.dr("backup", "memories", "--json")
    assert (again.json["records"], again.json["equal"]) == (ROWS, True)


def hidden(place: Workplace) -> list[str]:
    """Warnings of status, which are the same in JSON and in words."""
    warnings: list[str] = place.dr("status", "--json").json["warnings"]
    text = " ".join(place.dr("status").out.split())
    assert all(" ".join(warning.split()) in text for warning in warnings)
    return warnings


WARNING = "store local: 'memories' is not seen there, since policies give that name to another"


@pytest.mark.parametrize("scheme", ENGINES)
def test_a_namesake_is_a_warning_of_status(fresh: Workplace, scheme: str) -> None:
    make, _, _ = ENGINES[scheme]
    stores = fresh.directory / "stores"
    stores.mkdir(exist_ok=True)
    make(stores, NAMES[0])
    (fresh.directory / "policies.yaml").write_text(policies(scheme, NAMES[0]), encoding="utf-8")
    assert hidden(fresh) == []
    make(stores, "memories")
    (warning,) = hidden(fresh)
    assert warning.startswith(WARNING)
    assert warning.endswith("stored_as: 'memories'")


def test_a_namesake_in_postgresql_is_a_warning_of_status(
    fresh: Workplace, postgres: Server
) -> None:
    database = postgres.create_database()
    text = policies("duckdb", NAMES[0]).replace("duckdb:stores", postgres.url(database))
    (fresh.directory / "policies.yaml").write_text(text, encoding="utf-8")
    with psycopg.connect(postgres.conninfo(database), autocommit=True) as clients:
        clients.execute(f'CREATE TABLE "{NAMES[0]}" (id int PRIMARY KEY, embedding vector(8))')
        assert not [warning for warning in hidden(fresh) if warning.startswith(WARNING)]
        clients.execute("CREATE TABLE memories (id int PRIMARY KEY, embedding vector(8))")
    assert len([warning for warning in hidden(fresh) if warning.startswith(WARNING)]) == 1


def test_two_collections_may_have_each_the_name_of_the_other() -> None:
    inner = MemoryVectorStore()
    inner.create(CollectionSpec(name="a", vectors=(Vector(dimension=2),)))
    inner.create(CollectionSpec(name="b", vectors=(Vector(dimension=2),)))
    store = RenamedStore(inner, {"a": "b", "b": "a"})
    assert store.collections() == ["a", "b"]
    assert store.describe("a").name == "a"
    assert store.warnings() == ()


@pytest.mark.parametrize("name", ["../other", "a/b", ".hidden"])
def test_a_name_that_leads_elsewhere_is_refused(fresh: Workplace, name: str) -> None:
    (fresh.directory / "policies.yaml").write_text(policies("lance", name), encoding="utf-8")
    refused = fresh.dr("backup", "memories")
    assert refused.code != 0
    assert "stored_as" in refused.err


def test_an_engine_without_such_names_says_so(fresh: Workplace) -> None:
    (fresh.directory / "policies.yaml").write_text(policies("duckdb", NAMES[0]), encoding="utf-8")
    refused = fresh.dr("backup", "memories")
    assert refused.code != 0
    assert "stored_as" in " ".join(refused.err.split())


def test_a_namesake_of_a_collection_with_a_name_of_its_own_stands_for_nothing() -> None:
    names = StoredNames({"docs": "Моя таблица"})
    usual = str
    assert names.collection("Моя таблица", usual) == "docs"
    assert names.collection("docs", usual) is None
    assert names.collection("other", usual) == "other"
