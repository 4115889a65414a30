"""`dr search`: what embeds a query, and searches by the vector of a record."""

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from dr_pipelines.embedders.hashing import HashingEmbedder
from dr_pipelines.model.collection import CollectionSpec, Vector
from dr_pipelines.model.record import store_schema
from dr_pipelines.stores.duckdb.store import duckdb_store
from tests.cli.workplace import POLICIES, Workplace
from tests.ingestion.models import tiny_model

TEXTS = {"m1": "The user likes tea.", "m2": "The user likes tea and milk.", "m3": "Rain in May."}


@pytest.fixture
def memories(fresh: Workplace) -> Workplace:
    """A collection that others write, one record of it without a vector."""
    vectors = HashingEmbedder(8).embed(list(TEXTS.values())).tolist()
    count = len(TEXTS) + 1
    rows = {
        "id": [*TEXTS, "bare"],
        "document_id": [*TEXTS, "bare"],
        "chunk_index": [0] * count,
        "text": [*TEXTS.values(), "nothing"],
        "uri": [None] * count,
        "extra": [None] * count,
        "embedding": [*vectors, None],
    }
    spec = CollectionSpec(name="memories@1", vectors=(Vector(dimension=8),))
    store = duckdb_store(fresh.directory / "stores")
    store.create(spec)
    store.write("memories@1", pa.table(rows, schema=store_schema(spec)))
    store.build_index("memories@1")
    store.promote("memories@1", alias="memories")
    assert fresh.dr("backup", "memories").code == 0
    return fresh


def test_a_search_by_a_record_leaves_the_record_out(memories: Workplace) -> None:
    answer = memories.dr("search", "memories", "--like", "m1", "--limit", "1", "--json").json
    assert [hit["id"] for hit in answer["hits"]] == ["m2"]
    assert answer["like"] == "m1"
    everything = memories.dr("search", "memories", "--like", "m1", "--json").json["hits"]
    assert {hit["id"] for hit in everything} <= {"m2", "m3", "bare"}


def test_a_record_of_a_document_with_many_is_found(protected: Workplace) -> None:
    answer = protected.dr("search", "notes", "--like", "a#000001", "--json").json
    ids = [hit["id"] for hit in answer["hits"]]
    assert "a#000000" in ids
    assert "a#000001" not in ids


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--like", "bare"), 2, "'bare' has no vector to search by"),
        (("--like", "gone"), 1, "no record 'gone' in the store"),
        (("--like", "m1", "--mode", "hybrid"), 2, "--like asks by the vector of a record"),
        (("tea", "--like", "m1"), 2, "--like asks by the vector of a record"),
        (("--like", "m1", "--embedder", "hashing"), 2, "--like asks by the vector of a record"),
        ((), 2, "TEXT is empty: say what to look for, or give --like ID"),
        (("tea",), 2, "'memories' has no embedder in the policies: name one with --embedder"),
        (("tea", "--embedder", "none"), 2, "no embedder 'none' in the policies; known are: hashin"),
        (("tea", "--embedder", "wider"), 2, "makes vectors of 16 components, and those of 'memor"),
        (("tea", "--embedder", "hashing", "--mode", "keyword"), 2, "--embedder is for searches by"),
    ],
)
def test_what_cannot_be_asked_is_said(
    memories: Workplace, words: tuple[str, ...], code: int, message: str
) -> None:
    result = memories.dr("search", "memories", *words)
    assert result.code == code, result.err
    assert message in " ".join(result.err.split())


def test_an_embedder_is_named_for_queries_of_a_collection_of_the_store(memories: Workplace) -> None:
    words = ("search", "memories", "the user likes tea", "--limit", "1")
    answer = memories.dr(*words, "--embedder", "hashing", "--json").json
    assert [hit["id"] for hit in answer["hits"]] == ["m1"]
    assert answer["query"]["proven"] == "dimension"
    plain = memories.dr(*words, "--embedder", "hashing").out
    assert "nothing proves that hashing is the model that made these vectors" in plain
    store = "    authority: store\n"
    named = POLICIES.replace(store, store + "    search_embedder: hashing\n")
    (memories.directory / "policies.yaml").write_text(named)
    assert memories.dr(*words, "--json").json == answer


def test_a_query_by_another_model_than_the_collections_is_refused(protected: Workplace) -> None:
    assert protected.dr("search", "notes", "crow", "--json").json["query"] == {
        "model": "hashing",
        "runtime": "own",
        "reason": "it needs no library",
        "proven": "fingerprint",
    }
    (protected.directory / "policies.yaml").write_text(
        POLICIES.replace("hashing: {kind: hashing, dimension: 8}", HASHED_BY_MODEL)
    )
    model = tiny_model(protected.directory / "tiny", hidden_size=8)
    assert model.is_dir()
    result = protected.dr("search", "notes", "crow")
    assert result.code == 2
    message = " ".join(result.err.split())
    assert "would be embedded by another model than the collection's vectors were" in message
    assert "embedder.name: 'hashing' → 'tiny'" in message


HASHED_BY_MODEL = "hashing: {kind: sentence-transformers, model: ./tiny}"

PROGRAM = """
import sys
from dr_pipelines.cli.run import run
code = run(sys.argv[1:])
heavy = {"torch", "transformers", "sentence_transformers"} & set(sys.modules)
print(*sorted(heavy), file=sys.stderr)
sys.exit(code)
"""


def searching(directory: Path, *words: str) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "search", "notes", *words, "--json"],
        capture_output=True,
        text=True,
        cwd=directory,
        check=True,
    )
    return done.stdout, done.stderr.strip()


def test_a_search_needs_no_training_library_where_the_model_is_known(fresh: Workplace) -> None:
    tiny_model(fresh.directory / "tiny")
    policies = POLICIES.replace("hashing: {kind: hashing, dimension: 8}", HASHED_BY_MODEL)
    (fresh.directory / "policies.yaml").write_text(policies)
    assert fresh.dr("ingest", "notes").code == 0
    answer, loaded = searching(fresh.directory, "a crow counts")
    assert loaded == ""
    assert '"runtime": "numpy"' in answer
    assert '"proven": "canaries"' in answer
    long = fresh.dr("search", "notes", "crow " * 100)
    assert long.code == 2
    assert "model 'tiny' reads 64: give a shorter one" in " ".join(long.err.split())
