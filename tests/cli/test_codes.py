"""How commands end: each exit code, and what is said with it."""

import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dr_pipelines.backup import snapshot
from dr_pipelines.errors import (
    Conflict,
    Damaged,
    OutcomeUnknown,
    Unavailable,
)
from dr_pipelines.proof import verify
from tests.cli.workplace import CHANGES, Workplace, feed_lines

DR = [sys.executable, "-m", "dr_pipelines"]


def raising(error: BaseException) -> Any:
    def verb(*_: object, **__: object) -> None:
        raise error

    return verb


def test_lines_that_cannot_be_read_make_an_ingestion_partial(fresh: Workplace) -> None:
    fresh.write_feed(feed_lines() + '{"seq": 7, "op": "upsert"}\nnot json\n')
    result = fresh.dr("ingest", "notes", "--json")
    assert result.code == 3
    assert result.json["unread"]["count"] == 2
    assert [line["place"] for line in result.json["unread"]["lines"]] == ["line 7", "line 8"]
    again = fresh.dr("ingest", "notes")
    assert again.code == 3
    first, second, third = again.out.splitlines()[:3]
    assert first == "notes: nothing new in the source"
    assert second.startswith("2 lines or files of the source cannot be read since 2026-01-07T09:00")
    assert third.startswith("line 7: ")


def test_an_ingestion_whose_store_is_gone_is_partial(protected: Workplace) -> None:
    protected.lose()
    more = {"ts": "2026-01-08T08:00:00Z", "op": "upsert", "id": "e", "title": "E", "text": "Elm."}
    protected.write_feed(feed_lines([*CHANGES, more]))
    result = protected.dr("ingest", "notes", "--json")
    assert result.code == 3
    assert result.json["days"] == ["2026-01-08"]
    assert "dr restore notes --switch" in result.json["unapplied"]
    assert "safe in the log, but not in the store" in protected.dr("ingest", "notes").out
    assert protected.dr("restore", "notes", "--switch").code == 0
    assert protected.dr("backup", "notes", "--json").json["equal"] is True


def test_damage_makes_verify_fail_and_is_named(protected: Workplace) -> None:
    victim = next(
        (protected.directory / "repository/notes/checkpoints/embeddings").rglob("*.parquet")
    )
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.chmod(0o644)
    victim.write_bytes(data)
    result = protected.dr("verify", "notes", "--json")
    assert (result.code, result.json["sound"]) == (1, False)
    key = str(victim.relative_to(protected.directory / "repository"))
    assert [finding["key"] for finding in result.json["findings"]] == [key]
    assert "NOT SOUND" in protected.dr("verify", "notes").out


def test_damaged_documents_are_one_json_document_all_the_same(protected: Workplace) -> None:
    for victim in (protected.directory / "repository/notes/checkpoints/embeddings").rglob(
        "*.parquet"
    ):
        victim.unlink()
    result = protected.dr("documents", "notes", "--json")
    assert (result.code, result.json["kind"], result.json["documents"]) == (1, "Damaged", [])
    assert result.json["error"] == result.err.rstrip("\n")
    assert " is missing from file:" in result.err


def test_nothing_to_verify_is_not_sound(protected: Workplace) -> None:
    result = protected.dr("verify", "memories")
    assert result.code == 1
    assert "there was nothing to verify" in result.out


def test_status_speaks_of_what_it_cannot_reach(protected: Workplace) -> None:
    (protected.directory / "feed.jsonl").unlink()
    protected.lose()
    result = protected.dr("status", "--json")
    notes = result.json["collections"][0]
    assert (result.code, notes["met"], notes["log"]) == (3, None, 8)
    source, store = notes["problems"]
    assert source.startswith("source: no change feed at ")
    assert store.endswith("is gone. Bring it back: dr restore notes --switch")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OutcomeUnknown("the answer was lost"), 4),
        (Damaged("an object is missing"), 1),
        (Unavailable("locked"), 1),
        (Conflict("somebody was first"), 1),
    ],
)
def test_an_error_has_its_code(
    protected: Workplace, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int
) -> None:
    monkeypatch.setattr(snapshot, "backup", raising(error))
    result = protected.dr("backup", "notes", "--json")
    assert (result.code, result.err) == (code, f"{error}\n")
    assert result.json == {"error": str(error), "kind": type(error).__name__}


def test_a_defect_is_one_line_and_a_trace_only_when_asked(
    protected: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "verify", raising(ZeroDivisionError("division by zero")))
    message = (
        "ZeroDivisionError: division by zero. This is a defect in dr_pipelines: please report it "
        "with what --debug prints\n"
    )
    result = protected.dr("verify", "notes")
    assert (result.code, result.out, result.err) == (1, "", message)
    assert "Traceback" in protected.dr("verify", "notes", "--debug").err
    monkeypatch.setenv("DR_DEBUG", "1")
    assert "Traceback" in protected.dr("verify", "notes").err


def test_an_interruption_says_how_to_go_on(
    protected: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "verify", raising(KeyboardInterrupt()))
    result = protected.dr("verify", "notes", "--json")
    message = "interrupted; run the same command again to go on"
    assert (result.code, result.err) == (130, f"{message}\n")
    assert result.json == {"error": message, "kind": "Interrupted"}


def test_a_reader_that_stops_reading_is_no_defect(protected: Workplace) -> None:
    process = subprocess.Popen(
        [*DR, "documents", "notes"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    message = process.stderr.read().decode()
    process.stderr.close()
    process.wait()
    assert "Traceback" not in message
    assert "defect" not in message


def test_control_c_in_a_real_process_is_130(protected: Workplace) -> None:
    """The lease is held elsewhere, so the command waits until it is interrupted."""
    from dr_pipelines.repository.lease import FileLease

    more = {"ts": "2026-01-08T08:00:00Z", "op": "upsert", "id": "e", "title": "E", "text": "Elm."}
    protected.write_feed(feed_lines([*CHANGES, more]))
    with FileLease(protected.directory / "state" / "leases")("notes"):
        heeded = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # what runs us may ignore it
        process = subprocess.Popen(
            [*DR, "ingest", "notes"], stderr=subprocess.PIPE, preexec_fn=heeded
        )
        _await_entries(protected.directory / "repository/notes/log", 9)
        process.send_signal(signal.SIGINT)
        _, message = process.communicate()
    assert (process.returncode, message) == (
        130,
        b"interrupted; run the same command again to go on\n",
    )
    assert protected.dr("ingest", "notes", "--json").json["applied"] == [9]


def _await_entries(log: Path, count: int) -> None:
    while len(list(log.iterdir())) < count:
        time.sleep(0.05)
