"""Losses of a restore are reported by every command that reports on a collection."""

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from dr_pipelines.model.collection import CollectionSpec, Vector
from dr_pipelines.model.compatibility import Note, Outcome
from dr_pipelines.model.misfit import Misfits
from dr_pipelines.model.record import store_schema
from dr_pipelines.project.project import open_project
from dr_pipelines.proof.points import newest_proof
from dr_pipelines.protocols import VectorStore
from dr_pipelines.repository.history import History
from dr_pipelines.stores.duckdb.store import duckdb_store
from dr_pipelines.stores.shared.driver_store import DriverStore
from dr_pipelines.stores.shared.misfits import Batch, misfits_of, problem
from tests.cli.workplace import Workplace

PART = "engine.duckdb.rules"


def test_a_loss_is_said_everywhere_until_it_is_accepted(
    protected: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = (Note(PART, Outcome.LOST, "not made again"), Note("name", Outcome.CODE, "calls f()"))
    monkeypatch.setattr(DriverStore, "compatibility", lambda *_: notes)
    result = protected.dr("backup", "notes", "--if-changed")  # quiet, and looked at nevertheless
    words = " ".join(result.out.split())
    assert result.code == 3
    assert f"but cannot be restored in full ({PART})" in words
    assert f"CANNOT BE RESTORED: {PART}: not made again" in words
    assert "code: name: calls f()" in words
    again = protected.dr("backup", "notes", "--if-changed")
    assert (again.code, f"CANNOT BE RESTORED: {PART}" in again.out) == (3, True)

    notes_report = protected.dr("status", "--json").json["collections"][0]
    assert (notes_report["met"], notes_report["fit"]["unaccepted"]) == (False, [PART])
    assert f"NOT in full: {PART}" in " ".join(protected.dr("status").out.split())
    points = protected.dr("points", "notes", "--json").json["points"]
    assert points[-1]["fit"]["verdict"] == "does not fit"
    assert "NO" in protected.dr("points", "notes").out.split()

    taken = protected.dr("backup", "notes", "--accept-loss", PART, "--reason", "made by hand")
    assert taken.code == 0
    assert f"accepted as lost: {PART}" in " ".join(taken.out.split())
    after = protected.dr("status", "--json").json["collections"][0]
    assert (after["met"], after["fit"]["unaccepted"]) == (True, [])
    assert after["fit"]["accepted"][0]["reason"] == "made by hand"
    assert "made by hand" in protected.dr("status").out
    assert "accepted" in protected.dr("points", "notes").out.split()


def test_what_is_not_lost_is_not_accepted(protected: Workplace) -> None:
    result = protected.dr("backup", "notes", "--accept-loss", "records", "--reason", "why not")
    assert result.code == 1
    assert "'records' is nothing that would be lost; there are: none" in result.err


def test_a_record_that_is_refused_is_said_by_backup_restore_and_the_backup_after(
    protected: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: VectorStore, spec: CollectionSpec, batch: Batch) -> Misfits:
        wrong = pc.equal(batch.column("id"), "c#000000")
        return misfits_of(batch, [problem("id", wrong, "no crows here")])

    monkeypatch.setattr(DriverStore, "misfits", refused)
    result = protected.dr("backup", "notes", "--json")
    assert (result.code, result.json["fit"]["misfits"]) == (3, 1)
    plan = protected.dr("restore", "notes", "--plan", "--json").json
    assert (plan["misfits"], plan["refused"][0]["record"]) == (1, "c#000000")
    assert "left out: record 'c#000000': no crows here" in " ".join(
        protected.dr("restore", "notes", "--plan").out.split()
    )
    done = protected.dr("restore", "notes", "--switch")
    words = " ".join(done.out.split())
    assert done.code == 3
    assert "NOT ALL OF IT: the engine refused 1 records" in words
    assert "left out: record 'c#000000': no crows here" in words
    again = protected.dr("backup", "notes", "--json")
    assert (again.code, again.json["equal"], again.json["records"]) == (3, True, 3)
    assert not any(again.json["findings"].values())
    assert again.json["fit"]["named"][0]["record"] == "c#000000"


def test_vectors_that_are_not_finite_are_said_by_backup_and_status(fresh: Workplace) -> None:
    store = duckdb_store(fresh.directory / "stores")
    spec = CollectionSpec(name="memories@1", vectors=(Vector(dimension=8),))
    store.create(spec)
    rows = {
        **{name: ["m1", "m2"] for name in ("id", "document_id", "text")},
        "chunk_index": [0, 0],
        **{name: [None, None] for name in ("uri", "extra")},
        "embedding": [[float("nan")] * 8, [1.0] * 8],
    }
    store.write("memories@1", pa.table(rows, schema=store_schema(spec)))
    store.build_index("memories@1")
    store.promote("memories@1", alias="memories")

    assert fresh.dr("backup", "memories", "--json").json["vectors_not_finite"] == 1
    words = "near nothing: 1 vectors with NaN or infinite components"
    assert words in " ".join(fresh.dr("backup", "memories").out.split())
    assert fresh.dr("status", "--json").json["collections"][1]["vectors_not_finite"] == 1
    assert words in " ".join(fresh.dr("status").out.split())


def test_a_record_of_the_source_that_is_refused_is_said_by_ingest_and_status(
    fresh: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: VectorStore, spec: CollectionSpec, batch: Batch) -> Misfits:
        wrong = pc.equal(batch.column("id"), "c#000000")
        return misfits_of(batch, [problem("id", wrong, "no crows\x1b[31m here")])

    monkeypatch.setattr(DriverStore, "misfits", refused)
    done = fresh.dr("ingest", "notes")
    words = " ".join(done.out.split())
    assert done.code == 3
    assert "safe in the log, but not in the store: its engine refused 1 of the records" in words
    assert "record 'c#000000': no crows" in words
    assert "\x1b" not in done.out
    # said once, by whoever met it
    assert fresh.dr("ingest", "notes", "--json").json["left_out"] == 0
    status = fresh.dr("status")
    assert status.code == 3
    assert "1 records are safe in the log and not in the store" in " ".join(status.out.split())
    assert fresh.dr("backup", "notes").code == 3
    after = fresh.dr("status", "--json").json["collections"][0]
    assert (after["problems"], after["fit"]["unaccepted"]) == ([], ["records"])


def test_a_replay_says_what_was_refused(
    protected: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = duckdb_store(protected.directory / "stores")
    name = store.aliases()["notes"]
    store.write(name, store_schema(store.describe(name)).empty_table(), replaces=["c"])

    def refused(_: VectorStore, spec: CollectionSpec, batch: Batch) -> Misfits:
        wrong = pc.equal(batch.column("id"), "c#000000")
        return misfits_of(batch, [problem("id", wrong, "no crows here")])

    monkeypatch.setattr(DriverStore, "misfits", refused)
    done = protected.dr("replay", "notes", "--from", "2026-01-05", "--to", "2026-01-07")
    words = " ".join(done.out.split())
    assert done.code == 3
    assert "its engine refused 1 of the records" in words
    assert "record 'c#000000': no crows here" in words


def test_a_replay_says_what_it_left_alone(protected: Workplace) -> None:
    store = duckdb_store(protected.directory / "stores")
    name = store.aliases()["notes"]
    rows = pa.Table.from_batches(list(store.scan(name, documents=["a"])))
    by_hand = pa.array(["by hand"] * rows.num_rows, pa.string())
    store.write(name, rows.set_column(rows.column_names.index("text"), "text", by_hand))
    days = ("--from", "2026-01-05", "--to", "2026-01-05")  # an older version of the document
    done = protected.dr("replay", "notes", *days)
    assert "left alone, because they were edited in the store: a" in " ".join(done.out.split())
    value = protected.dr("replay", "notes", *days, "--json").json
    assert value["documents_kept_as_edited"] == ["a"]
    assert value["applied"] == value["entries"]


def test_of_many_losses_a_log_entry_names_some_and_says_how_many_more(
    protected: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = tuple(Note(f"engine.duckdb.p{n:02}", Outcome.LOST, "gone") for n in range(12))
    monkeypatch.setattr(DriverStore, "compatibility", lambda *_: notes)
    assert protected.dr("backup", "notes").code == 3
    project = open_project(protected.directory / "policies.yaml", {})
    unfit = newest_proof(History(project.reading(), "notes")).unfit
    assert (len(unfit), unfit[-1]) == (11, "and 2 more")
