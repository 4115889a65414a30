"""Messages are for people: no template with an empty place in it, and nothing as Python prints
it."""

import re
from collections.abc import Callable
from pathlib import Path

import chromadb
import lancedb
import numpy as np
import psycopg
import pyarrow as pa
import pytest
from lancedb.index import BTree
from qdrant_client import QdrantClient, models

from tests.cli.workplace import POLICIES, Result, Workplace
from tests.servers.pgvector import Server

ROWS = 12
VECTORS = np.random.default_rng(0).normal(size=(ROWS, 8)).astype(np.float32)
RAW = re.compile(
    r"\{[a-z_]+\}"  # a template
    r"|\{['\"]|\{\}|\['|\[\]|\('|(?<!\w)\(\)"  # a dict, list or tuple of Python
    r"|\b(None|True|False)\b|frozenset|dict_keys|<[A-Z]\w+[.:]|\bFate\.|\bPart\.|object at 0x"
)


def table_of_postgresql(server: Server, directory: Path) -> str:
    """A table with one of many things that can hang on it."""
    del directory
    database = server.create_database()
    with psycopg.connect(server.conninfo(database), autocommit=True) as clients:
        clients.execute(
            """
            CREATE TABLE memories (
                id int PRIMARY KEY, content text DEFAULT 'x' CHECK (length(content) < 100),
                tenant_id text NOT NULL DEFAULT 'red', embedding vector(8),
                size int GENERATED ALWAYS AS (length(content)) STORED);
            CREATE INDEX ON memories USING hnsw (embedding vector_l2_ops) WITH (m = 8);
            CREATE INDEX by_words ON memories USING gin (to_tsvector('english', content));
            CREATE UNIQUE INDEX lower_content ON memories (lower(content));
            CREATE VIEW recent AS SELECT id FROM memories;
            CREATE TABLE other (memory int REFERENCES memories);
            CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
            CREATE TRIGGER noted BEFORE INSERT ON memories FOR EACH ROW EXECUTE FUNCTION noted();
            ALTER TABLE memories ENABLE ROW LEVEL SECURITY;
            CREATE POLICY mine ON memories USING (tenant_id = current_user);
            CREATE RULE kept AS ON DELETE TO memories DO ALSO NOTHING;
            COMMENT ON TABLE memories IS 'of users';
            COMMENT ON INDEX by_words IS 'words';
            ALTER TABLE memories ALTER content SET STATISTICS 500;
            GRANT SELECT ON memories TO pg_monitor;
            """
        )
        rows = [(n, f"memory {n}", str(v.tolist())) for n, v in enumerate(VECTORS)]
        query = "INSERT INTO memories (id, content, embedding) VALUES (%s, %s, %s)"
        clients.cursor().executemany(query, rows)
    return server.url(database)


def table_of_lancedb(_: Server, directory: Path) -> str:
    table = pa.table(
        {
            "id": [f"m{n}" for n in range(ROWS)],
            "text": ["memory"] * ROWS,
            "rank": list(range(ROWS)),
            "blob": [b"\xff"] * ROWS,
            "vector": pa.array(VECTORS.tolist(), pa.list_(pa.float32(), 8)),
        }
    )
    made = lancedb.connect(directory / "base").create_table("memories", table)
    made.create_index("rank", config=BTree())
    return "lance:base"


def collection_of_qdrant(_: Server, directory: Path) -> str:
    client = QdrantClient(path=str(directory / "base"))
    params = models.VectorParams(
        size=8, distance=models.Distance.COSINE, hnsw_config=models.HnswConfigDiff(m=8)
    )
    sparse = {"words": models.SparseVectorParams()}
    client.create_collection("memories", vectors_config={"v": params}, sparse_vectors_config=sparse)
    points = [
        models.PointStruct(id=n, vector={"v": v.tolist()}, payload={"text": "memory", "n": n})
        for n, v in enumerate(VECTORS)
    ]
    client.upsert("memories", points)
    client.close()
    return "qdrant+local:base"


def collection_of_chroma(_: Server, directory: Path) -> str:
    client = chromadb.PersistentClient(str(directory / "base"))
    made = client.create_collection(
        "memories", metadata={"of": "users"}, configuration={"hnsw": {"space": "cosine"}}
    )
    ids = [f"m{n}" for n in range(ROWS)]
    metadatas = [{"n": n, "team": "red"} for n in range(ROWS)]
    made.add(ids=ids, embeddings=VECTORS, documents=["memory"] * ROWS, metadatas=metadatas)
    return "chroma+local:base"


ENGINES: dict[str, Callable[[Server, Path], str]] = {
    "postgresql": table_of_postgresql,
    "lance": table_of_lancedb,
    "qdrant+local": collection_of_qdrant,
    "chroma+local": collection_of_chroma,
}
COMMANDS = (
    "backup memories",
    "status",
    "stores",
    "restore memories --plan --with-roles",
    "restore memories --into memories",
    "restore memories --switch",
    "restore memories",
    "restore memories --store other --plan",
    "restore memories --store other",
    "restore memories --store other --accept-loss",
    "drop memories",
    "verify memories",
    "backup memories",
    "status",
)


@pytest.mark.parametrize("engine", ENGINES)
def test_no_message_shows_a_template_or_what_python_prints(
    fresh: Workplace, postgres: Server, engine: str
) -> None:
    url = ENGINES[engine](postgres, fresh.directory)
    (fresh.directory / "policies.yaml").write_text(POLICIES.replace("duckdb:stores", url))
    raw = list[str]()
    for command in COMMANDS:
        done = fresh.dr(*command.split())
        assert "defect" not in done.err
        raw += [f"{command}: {line}" for line in _lines(done) if RAW.search(line)]
    assert raw == []


def _lines(done: Result) -> list[str]:
    """Lines for people; statements of SQL are a server's words."""
    statements = re.compile(r"^(CREATE|ALTER|COMMENT|GRANT|INSERT|DO|SET|--)\b.*")
    return [line for line in (done.out + done.err).splitlines() if not statements.match(line)]
