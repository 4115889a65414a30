"""How vectors are stored follows the policy, and a backup says which way and why."""

import pyarrow as pa
import pytest

from dr_pipelines.stores.duckdb.store import duckdb_store
from tests.cli.workplace import CHANGES, Workplace, feed_lines


def edit(place: Workplace, text: str) -> None:
    """A document that somebody edits in the store."""
    store = duckdb_store(place.directory / "stores")
    name = store.aliases()["notes"]
    rows = pa.Table.from_batches(list(store.scan(name, documents=["a"])))
    by_hand = pa.array([text] * rows.num_rows, pa.string())
    store.write(name, rows.set_column(rows.column_names.index("text"), "text", by_hand))


@pytest.mark.parametrize(
    ("compression", "encoding", "reason"),
    [
        ("auto", "arrow", "the repository is on this machine"),
        ("never", "arrow", "the policy says as they are"),
        ("always", "arrow+zstd", "the policy says compressed"),
    ],
)
def test_a_backup_says_how_vectors_are_stored(
    protected: Workplace, compression: str, encoding: str, reason: str
) -> None:
    file = protected.directory / "policies.yaml"
    file.write_text(f"{file.read_text()}\ncompression: {compression}\n")
    assert protected.dr("backup", "notes", "--json").json["vectors"] is None  # none were stored
    edit(protected, "by hand")
    answer = protected.dr("backup", "notes", "--json").json
    assert answer["vectors"] == {"encoding": encoding, "reason": reason}
    edit(protected, "by hand again")
    mentioned = f"vectors are compressed: {reason}" in protected.dr("backup", "notes").out
    assert mentioned == (encoding == "arrow+zstd")
    assert protected.dr("verify", "notes", "--level", "3").code == 0


def test_an_ingestion_says_how_vectors_are_stored(protected: Workplace) -> None:
    file = protected.directory / "policies.yaml"
    file.write_text(f"{file.read_text()}\ncompression: always\n")
    new = {"ts": "2026-01-08T08:00:00Z", "op": "upsert", "id": "e", "title": "Elm", "text": "Old."}
    protected.write_feed(feed_lines([*CHANGES, new]))
    answer = protected.dr("ingest", "notes", "--json").json
    assert answer["days"] == ["2026-01-08"]
    assert answer["vectors"] == {
        "encoding": "arrow+zstd",
        "reason": "the policy says compressed",
    }
    assert protected.dr("ingest", "notes", "--json").json["vectors"] is None  # none were stored
    newer = new | {"ts": "2026-01-09T08:00:00Z", "text": "Very old."}
    protected.write_feed(feed_lines([*CHANGES, new, newer]))
    assert "vectors are compressed: the policy says" in protected.dr("ingest", "notes").out
