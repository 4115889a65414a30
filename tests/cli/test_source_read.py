"""How much of a source was read, and what was gone by for the rest, is said by every command."""

import json
from pathlib import Path
from typing import Any

from tests.cli.workplace import CHANGES, Workplace, feed_lines

GONE: list[dict[str, Any]] = [
    {"ts": "2026-01-08T10:00:00Z", "op": "delete", "id": f"gone-{n:04}"} for n in range(1000)
]
"""More than 64 KiB of a feed."""
LATER = {"ts": "2026-01-09T10:00:00Z", "op": "upsert", "id": "e", "text": "A later day."}


def read_of(place: Workplace) -> dict[str, Any]:
    """The source's reading, by status."""
    value: dict[str, Any] = place.dr("status", "--json").json["collections"][0]["source_read"]
    return value


def say(place: Workplace, change: dict[str, Any], *, seq: int) -> int:
    """Add a change; how many bytes that is."""
    text = json.dumps({"seq": seq, **change}) + "\n"
    with (place.directory / "feed.jsonl").open("a") as file:
        file.write(text)
    return len(text)


def test_status_and_ingest_say_what_they_read_and_what_they_went_by(protected: Workplace) -> None:
    size = (protected.directory / "feed.jsonl").stat().st_size
    assert "other settings" in read_of(protected)["whole_because"]  # the copy is elsewhere
    new = say(protected, LATER, seq=7)
    read = read_of(protected)
    assert (read["before"], read["new"], read["whole_because"]) == (size, new, "")
    shown = " ".join(protected.dr("status").out.split())
    assert f"{size} bytes read before: not read again (inode, size and the last 64 KiB" in shown
    done = protected.dr("ingest", "notes", "--json").json
    assert (done["entries"], done["source_read"]["new"]) == ([9], 0)
    assert done["source_read"]["assurance"] == "proven by their hash"


def test_an_edit_in_the_middle_is_found_by_ingest_before_anything_is_committed(
    fresh: Workplace,
) -> None:
    fresh.write_feed(feed_lines([*CHANGES, *GONE]))
    assert fresh.dr("ingest", "notes").code == 0
    edit(fresh.directory / "feed.jsonl")
    say(fresh, LATER, seq=len(CHANGES) + len(GONE) + 1)

    looked = fresh.dr("status", "--json").json["collections"][0]
    assert (looked["days_behind"], looked["problems"]) == (1, [])
    assert looked["source_read"]["assurance"].startswith("not read again")
    ingest = fresh.dr("ingest", "notes")
    assert ingest.code == 1
    assert "has other contents up to position 1006, which was read before" in ingest.err
    after = fresh.dr("status", "--json").json["collections"][0]
    assert after["log"] == looked["log"]
    assert "truncated or rewritten" in after["problems"][0]  # what ingest read is known now


def edit(feed: Path) -> None:
    """One word of the first line in place: inode and size stay."""
    with feed.open("r+b") as file:
        file.seek(feed.read_bytes().index(b"river"))
        file.write(b"RIVER")


def test_damaged_marks_are_said_and_cost_a_reading(protected: Workplace) -> None:
    read_of(protected)
    for path in (protected.directory / "state" / "marks").iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    say(protected, LATER, seq=7)
    ingest = " ".join(protected.dr("ingest", "notes").out.split())
    assert "bytes read: its marks are damaged" in ingest
    say(protected, LATER, seq=8)
    assert read_of(protected)["whole_because"] == ""


def test_a_plan_before_the_first_entry_keeps_no_marks(fresh: Workplace) -> None:
    fresh.dr("ingest", "notes", "--plan")
    fresh.dr("status")
    assert not (fresh.directory / "state" / "marks").exists()
