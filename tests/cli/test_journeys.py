"""Results of the commands on the way from a feed to a lost collection and back."""

import hashlib
import json
import re

import pytest

from tests.cli.workplace import (
    CHANGES,
    A,
    Workplace,
    feed_lines,
)

DOCUMENTS = {"a": A + " Now they do.", "c": "A crow counts to four.", "d": ""}


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def digest_of(documents: dict[str, str]) -> str:
    return sha256("".join(f"{id_}\t{sha256(text)}\n" for id_, text in sorted(documents.items())))


def plain(text: str) -> str:
    """Without times, hashes and durations."""
    text = re.sub(r"\d{8}T\d{6}Z", "NOW", text)
    text = re.sub(r"\d+-[0-9a-f]{8}", "POINT", text)
    text = re.sub(r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}", "TIME", text)
    return re.sub(r" *\b\d+(\.\d+)? (ms|s|min)( \d+ s)?\b", " SPAN", text)


def test_a_feed_is_ingested_once(fresh: Workplace) -> None:
    first = fresh.dr("ingest", "notes", "--json")
    answer = first.json
    assert first.code == 0
    assert answer.pop("source_read")["new"] == (fresh.directory / "feed.jsonl").stat().st_size
    assert answer.pop("vectors")["encoding"] == "arrow"
    assert answer == {
        "collection": "notes",
        "days": ["2026-01-05", "2026-01-06", "2026-01-07"],
        "records": 6,
        "without_chunks": 1,
        "entries": [1, 3, 5],
        "applied": [1, 3, 5],
        "documents_written": 5,
        "documents_kept_as_edited": [],
        "left_out": 0,
        "refused": [],
        "unread": {
            "count": 0,
            "since": None,
            "lines": [],
            "accepted": 0,
            "unnamed": 0,
            "superseded": 0,
            "duplicates": 0,
            "left_out": 0,
            "left_out_such_as": [],
            "tail_bytes": 0,
            "tail_since": None,
        },
        "unapplied": None,
    }
    again = fresh.dr("ingest", "notes")
    assert (again.code, again.out) == (0, "notes: nothing new in the source\n")


def test_days_are_ingested_as_asked(fresh: Workplace) -> None:
    command = ("ingest", "notes", "--json")
    assert fresh.dr(*command, "--to", "2026-01-05").json["days"] == ["2026-01-05"]
    assert fresh.dr(*command, "--from", "2026-01-07").json["days"] == ["2026-01-07"]
    assert fresh.dr(*command).json["days"] == ["2026-01-06"]


def test_a_backup_is_proven_and_says_so(protected: Workplace) -> None:
    result = protected.dr("backup", "notes")
    assert (result.code, " ".join(plain(result.out).split())) == (
        0,
        "notes: recovery point log:9, proven equal to the live store, bit for bit, fits "
        "(tried SPAN ago): 3 documents, 3 records, source position 6; every value read",
    )
    assert protected.dr("points", "notes", "--json").json["points"][-1]["kind"] == "evidence"


def test_a_backup_that_need_not_be_reads_nothing(protected: Workplace) -> None:
    first = protected.dr("backup", "notes", "--json").json
    again = protected.dr("backup", "notes", "--if-changed", "--json").json
    assert (again["unchanged"], again["log"]) == (True, first["log"])
    protected.dr("replay", "notes", "--from", "2026-01-05", "--to", "2026-01-05")
    third = protected.dr("backup", "notes", "--if-changed", "--json").json
    assert (third["equal"], third["log"] > first["log"]) == (True, True)


def test_what_a_point_rests_on_is_said_everywhere(protected: Workplace) -> None:
    file = protected.directory / "policies.yaml"
    text, whole = file.read_text(), protected.dr("points", "notes").out
    assert whole.endswith("snapshots: every value read\n")
    lenient = text.replace("rpo: 1h", "rpo: 1h, assurance: signs of change only", 1)
    assert lenient != text
    file.write_text(lenient)
    protected.dr("backup", "notes")  # the files are copies, which is a sign of change
    result = protected.dr("backup", "notes")
    words = " ".join(plain(result.out).split())
    assert "; signs of change only; every value was last read TIME UTC" in words
    answer = protected.dr("backup", "notes", "--json").json
    assert (answer["assurance"], answer["equal"]) == ("signs of change only", True)
    points = protected.dr("points", "notes", "--json").json["points"]
    assert [p["assurance"] for p in points if p["kind"] == "snapshot"] == [
        *["every value read"] * 2,
        *["signs of change only"] * 2,
    ]
    assert plain(protected.dr("points", "notes").out).endswith(
        "snapshots: every value read; but signs of change only: log:11, log:13\n"
    )
    notes = protected.dr("status", "--json").json["collections"][0]
    assert (notes["assurance"], notes["uncounted"]) == ("signs of change only", None)
    file.write_text(text)
    notes = protected.dr("status", "--json").json["collections"][0]
    assert (notes["assurance"], notes["proven"]) == ("every value read", 9)
    assert notes["uncounted"] == 13
    shown = " ".join(plain(protected.dr("status").out).split())
    assert "log:13 is newer and rests on less than the objective" in shown
    again = protected.dr("backup", "notes", "--if-changed", "--json").json
    assert (again["unchanged"], again["assurance"]) == (True, None)


def test_a_backup_reads_every_value_or_what_changed_and_not_both(protected: Workplace) -> None:
    result = protected.dr("backup", "notes", "--every-value", "--if-changed")
    assert (result.code, "give only one" in result.err) == (2, True)


def test_points_are_listed_in_eighty_columns(protected: Workplace) -> None:
    some = protected.dr("points", "notes", "--newest", "2", "--json").json
    assert ([p["log"] for p in some["points"]], some["earlier"]) == ([7, 8], 6)
    shown = " ".join(protected.dr("points", "notes", "--newest", "2").out.split())
    assert "6 earlier points are not listed: --newest N lists more" in shown
    result = protected.dr("points", "notes")
    assert max(len(line) for line in result.out.splitlines()) <= 80
    head, _, first, second, *_ = plain(result.out).splitlines()
    assert head.split("  ")[0] == "log"
    assert head.split() == [
        "log",
        "time",
        "(UTC)",
        "kind",
        "line",
        "seq",
        "docs",
        "records",
        "applied",
        "fits",
        "age",
    ]
    assert first == "  1  TIME  ingest       1    2     2        3  1 left SPAN"
    assert second == "  2  TIME  applied      1    2     2        3  yes SPAN"


def test_points_say_everything_in_json(protected: Workplace) -> None:
    points = protected.dr("points", "notes", "--json").json["points"]
    assert [p["kind"] for p in points] == [*["ingest", "applied"] * 3, "snapshot", "evidence"]
    newest = points[-1]
    assert newest.pop("age_seconds") >= 0
    assert set(newest.pop("writer")) == {"id", "host", "run", "version"}
    assert newest.pop("at").endswith("+00:00")
    assert newest.pop("id") == f"8-{newest.pop('sha256')[:8]}"
    assert newest == {
        "log": 8,
        "kind": "evidence",
        "timeline": 1,
        "epoch": 1,
        "frontier": 6,
        "documents": 3,
        "records": 3,
        "pending": [],
        "assurance": None,
        "fit": {"verdict": "tried", "unaccepted": [], "misfits": 0, "untried": ""},
    }


def test_documents_are_hashed_from_what_is_stored(protected: Workplace) -> None:
    answer = protected.dr("documents", "notes", "--json").json
    assert {row["id"]: row["sha256"] for row in answer["documents"]} == {
        id_: sha256(text) for id_, text in DOCUMENTS.items()
    }
    assert (answer["count"], answer["digest"]) == (3, digest_of(DOCUMENTS))
    listed = protected.dr("documents", "notes")
    assert listed.out.splitlines()[0] == f"a\t1:3\t{sha256(DOCUMENTS['a'])}"
    assert listed.err.endswith(f": 3 documents, digest {digest_of(DOCUMENTS)}\n")


def test_documents_of_the_store_are_those_with_text(protected: Workplace) -> None:
    with_text = {id_: text for id_, text in DOCUMENTS.items() if text}
    answer = protected.dr("documents", "notes", "--store", "--json").json
    assert answer["at"] == "store"
    assert [(row["id"], row["version"]) for row in answer["documents"]] == [
        ("a", None),
        ("c", None),
    ]
    assert answer["digest"] == digest_of(with_text)
    assert "those without text are not seen" in protected.dr("documents", "notes", "--store").err


@pytest.mark.parametrize(
    ("at", "documents"),
    [
        ("seq:1", {"a": A}),
        ("seq:4", {"a": DOCUMENTS["a"], "b": "The bell rings twice.", "c": DOCUMENTS["c"]}),
        ("2026-01-06T08:30:00Z", {"a": DOCUMENTS["a"], "b": "The bell rings twice."}),
        ("log:2", {"a": A, "b": "The bell rings twice."}),
    ],
)
def test_an_older_state_is_answered(
    protected: Workplace, at: str, documents: dict[str, str]
) -> None:
    assert protected.dr("documents", "notes", "--at", at, "--json").json["digest"] == digest_of(
        documents
    )


def test_a_lost_collection_comes_back_and_goes_on(protected: Workplace) -> None:
    command = ("search", "notes", "crow", "--json")
    before = protected.dr(*command).json
    protected.lose()

    failed = protected.dr(*command)
    assert failed.code == 1
    assert failed.err.endswith(". If it was lost: dr restore notes --switch\n")
    assert protected.dr("backup", "notes").code == 1

    restored = protected.dr("restore", "notes", "--switch", "--json")
    assert restored.code == 0
    answer = restored.json
    assert (answer["route"], answer["vectors"], answer["switched"]) == (
        "load",
        "equal bit for bit",
        True,
    )
    assert [phase["name"] for phase in answer["phases"]] == [
        "access",
        "fold",
        "schema",
        "records",
        "index",
        "prove",
        "catch-up",
        "probe",
        "warm",
        "switch",
        "confirm",
    ]
    assert protected.dr(*command).json == before

    more = {"ts": "2026-01-08T08:00:00Z", "op": "upsert", "id": "e", "title": "E", "text": "Elm."}
    protected.write_feed(feed_lines([*CHANGES, more]))
    assert protected.dr("ingest", "notes", "--json").json["days"] == ["2026-01-08"]
    assert protected.dr("backup", "notes", "--json").json["equal"] is True
    documents = protected.dr("documents", "notes", "--json").json["documents"]
    assert [row["id"] for row in documents] == ["a", "c", "d", "e"]


def test_a_restore_says_what_it_did(protected: Workplace) -> None:
    result = protected.dr(
        "restore", "notes", "--at", "seq:4", "--into", "before", "--store", "other"
    )
    assert result.code == 0
    lines = plain(result.out).splitlines()
    assert lines[:3] == [
        "notes at POINT.4 is back as before in store other, by load: 3 documents, 4 ",
        "records",
        "read back and compared: text and fields equal, vectors equal bit for bit",
    ]
    assert lines[-1] == "It is not served: the same command with --switch does that"


def test_a_replay_by_another_model_is_said_to_be_one(protected: Workplace) -> None:
    command = ("restore", "notes", "--route", "replay", "--json")
    same = protected.dr(*command).json
    assert (same["embedded"], same["vectors"]) == (3, "equal bit for bit")
    other = protected.dr(*command, "--embedder", "wider").json
    assert (other["embedded"], other["vectors"]) == (3, "made by another model")


def test_days_are_replayed_and_compacted_away(protected: Workplace) -> None:
    days = ("--from", "2026-01-05", "--to", "2026-01-06")
    assert protected.dr("replay", "notes", *days, "--json").json == {
        "collection": "notes",
        "days": ["2026-01-05", "2026-01-06"],
        "records": 6,
        "entries": [9, 11],
        "applied": [9, 11],
        "documents_written": 0,
        "documents_kept_as_edited": [],
        "left_out": 0,
        "refused": [],
    }
    compacted = protected.dr("compact", "notes")
    shown = " ".join(compacted.out.split())
    assert shown.startswith(
        "notes: 5 segments became 1 (22 rows, now 12) at log:13 6 checkpoints of small days lie in "
        "few objects now the newest"
    )
    assert re.search(
        r"refers to \d+ objects of .*, where it had \d+ of .*; nothing was deleted", shown
    )
    assert protected.dr("compact", "notes").out == "notes: nothing to compact\n"
    assert protected.dr("documents", "notes", "--json").json["digest"] == digest_of(DOCUMENTS)


def test_a_diff_names_what_happened(protected: Workplace) -> None:
    result = protected.dr("diff", "notes", "seq:2", "latest")
    assert plain(result.out) == (
        "notes, POINT.2 → POINT: 2 added, 1 removed, 1 changed, 0 unchanged\n"
        "  + c\n"
        "  + d\n"
        "  - b\n"
        "  ~ a: text, vectors, rank 1 → 3\n"
    )
    few = protected.dr("diff", "notes", "seq:2", "latest", "--limit", "1", "--json").json
    assert (few["added"], few["added_total"]) == (["c"], 2)
    assert few["changed"] == [
        {"id": "a", "text": True, "vectors": True, "fields": {"rank": {"old": 1, "new": 3}}}
    ]
    assert protected.dr("diff", "notes", "latest", "latest", "--json").json["equal"] is True


def test_search_by_words_by_meaning_and_by_both(protected: Workplace) -> None:
    for mode in ("vector", "keyword", "hybrid"):
        hits = protected.dr("search", "notes", "crow", "--mode", mode, "--json").json["hits"]
        assert hits[0]["id"] == "c#000000"
    filtered = protected.dr("search", "notes", "crow", "--filter", "team = 'red'", "--json").json
    assert {hit["document_id"] for hit in filtered["hits"]} == {"a"}
    assert len(protected.dr("search", "notes", "crow", "--limit", "1", "--json").json["hits"]) == 1
    nothing = protected.dr("search", "notes", "crow", "--filter", "rank > 100")
    assert (nothing.code, nothing.out) == (0, "nothing found\n")


@pytest.mark.parametrize("level", ["0", "1", "2", "3"])
def test_what_is_kept_is_sound(protected: Workplace, level: str) -> None:
    answer = protected.dr("verify", "notes", "--level", level, "--json").json
    assert (answer["sound"], answer["level"], answer["points"]) == (True, int(level), 8)
    one = protected.dr("verify", "notes", "--at", "latest", "--level", level, "--json").json
    assert (one["sound"], one["points"]) == (True, 1)


def test_status_of_everything_fits_eighty_columns(protected: Workplace) -> None:
    result = protected.dr("status")
    assert result.code == 3  # memories: nothing is proven yet
    assert max(len(line) for line in result.out.splitlines()) <= 80
    lines = [line.rstrip() for line in plain(result.out).splitlines()]
    source, restorable = (
        next(number for number, line in enumerate(lines) if line.startswith(label))
        for label in ("source ", "restorable")
    )
    assert (
        " bytes read: its marks are of another" in lines[source]
    )  # the machine's files are copies
    assert lines[:source] + lines[restorable:] == [
        "notes",
        "served from   notes@NOW in store local",
        "newest point  log:8 (evidence), SPAN old; proven: log:7, SPAN old",
        "rests on      every value read",
        "holds         3 documents, 3 records, source position 6",
        "no chunk      versions read without one: 1",
        "exposed       nothing; objective 1 h met",
        "restorable    fits (tried SPAN ago); equal bit for bit",
        "owner         you; call you",
        "",
        "memories",
        "served from  nowhere in store local",
        "exposed      everything, since nothing is proven yet; objective SPAN MISSED",
        "restorable   not known until the next backup",
        "owner        team:assistant; call oncall",
        "problem      nothing is backed up yet. Run: dr backup memories",
    ]


def test_status_needs_no_model(protected: Workplace) -> None:
    answer = protected.dr("status", "--json").json["collections"][0]
    file = protected.directory / "policies.yaml"
    gone = "{kind: sentence-transformers, model: ./nowhere}"
    file.write_text(file.read_text().replace("{kind: hashing, dimension: 8}", gone))
    notes = protected.dr("status", "--json").json["collections"][0]
    assert (notes["met"], notes["problems"]) == (True, [])
    assert {**notes, "age_seconds": 0} == {**answer, "age_seconds": 0}
    assert protected.dr("ingest", "notes").code == 1


def test_status_knows_what_is_exposed(protected: Workplace) -> None:
    more = {"ts": "2026-01-08T08:00:00Z", "op": "delete", "id": "a"}
    protected.write_feed(feed_lines([*CHANGES, more]))
    notes = protected.dr("status", "--json").json["collections"][0]
    assert (notes["days_behind"], notes["met"]) == (1, False)
    assert notes["exposed_seconds"] > 86_400


def test_a_collection_of_the_store_alone_is_backed_up_and_comes_back(fresh: Workplace) -> None:
    """Agents write to it; there is no source."""
    import numpy as np
    import pyarrow as pa

    from dr_pipelines.model.collection import CollectionSpec, Vector
    from dr_pipelines.model.record import store_schema
    from dr_pipelines.stores.duckdb.store import duckdb_store

    spec = CollectionSpec(name="memories@1", vectors=(Vector(dimension=8),))
    rows = {
        "id": ["m1", "m2"],
        "document_id": ["m1", "m2"],
        "chunk_index": [0, 0],
        "text": ["The user likes tea.", "The user has a dog."],
        "uri": [None, None],
        "extra": [None, None],
        "embedding": list(np.eye(8, dtype=np.float32)[:2]),
    }
    store = duckdb_store(fresh.directory / "stores")
    store.create(spec)
    store.write("memories@1", pa.table(rows, schema=store_schema(spec)))
    store.build_index("memories@1")
    store.promote("memories@1", alias="memories")

    first = fresh.dr("backup", "memories", "--json")
    assert (first.code, first.json["records"], first.json["equal"]) == (0, 2, True)
    assert fresh.dr("status", "--json").json["collections"][1]["met"] is True
    fresh.lose()
    assert fresh.dr("restore", "memories", "--switch").code == 0
    answer = fresh.dr("search", "memories", "tea", "--mode", "keyword", "--json").json
    assert [hit["id"] for hit in answer["hits"]] == ["m1"]
    versions = fresh.dr("documents", "memories", "--json").json["documents"]
    assert [json.dumps(row["version"]["edit"]) for row in versions] == ["1", "1"]
