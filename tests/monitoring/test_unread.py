"""Unread changes count against the objective, and nothing readable is passed over."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from dr_pipelines.errors import Refused
from dr_pipelines.ingestion import schema_change
from dr_pipelines.ingestion.by_stage import read_days
from dr_pipelines.ingestion.ingest import (
    ingest,
)
from dr_pipelines.ingestion.lineage import Feed
from dr_pipelines.live.live import Live
from dr_pipelines.model.collection import Field, FieldType
from dr_pipelines.model.unread import Quarantined, Unread, unread
from dr_pipelines.monitoring.exposure import protection_status
from dr_pipelines.planning.freshness import (
    Protection,
    ProtectionStatus,
    exposure,
    protection,
)
from dr_pipelines.repository.history import History
from dr_pipelines.sources.git import GitSource
from dr_pipelines.sources.jsonl import JsonlSource
from dr_pipelines.sources.values import FieldTypes
from dr_pipelines.testing.world import START, Process
from tests.campaigns.machine import new_world
from tests.ingestion.feeds import Repository, line, written

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
PROVEN = ProtectionStatus(head=3, head_sha256="", proven=2, proven_at=NOON)
LINES = tuple(
    Quarantined(f"line {n}", "bad", n, sha256=f"{n}" * 64, since=NOON + n * HOUR) for n in (1, 2)
)


def test_an_unread_change_is_exposed_since_the_oldest_of_it() -> None:
    lines = unread(LINES, count=2)
    assert exposure(replace(PROVEN, unread=lines), now=NOON + 3 * HOUR) == 2 * HOUR
    tail = Unread(tail_bytes=1, tail_since=NOON)
    assert exposure(replace(PROVEN, unread=tail), now=NOON + 3 * HOUR) == 3 * HOUR


def test_what_is_unread_is_never_quiet_and_breaches_in_its_time() -> None:
    status = replace(PROVEN, unread=unread(LINES[:1], count=1))
    times = (NOON, NOON + HOUR, NOON + 2 * HOUR, NOON + 3 * HOUR)
    assert [protection(status, rpo=HOUR, now=now) for now in times] == [
        Protection.WITHIN,
        Protection.WITHIN,
        Protection.BREACHED,
        Protection.BREACHED,
    ]
    assert protection(PROVEN, rpo=HOUR, now=NOON + 9 * HOUR) is Protection.QUIET


def test_lines_that_were_let_go_leave_the_others_their_times() -> None:
    lines = unread(LINES, count=2).without({("line 1", "1" * 64), ("line 2", "other")})
    assert (lines.count, lines.accepted, lines.since) == (1, 1, NOON + 2 * HOUR)
    assert lines.without({("line 2", "2" * 64)}) == Unread(accepted=2)


def test_what_becomes_readable_after_its_day_was_ingested_is_not_passed_over(
    tmp_path: Path,
) -> None:
    data, repository = b"kept elsewhere", Repository(tmp_path / "repository")
    oid = sha256(data).hexdigest()
    repository.write(
        "a.md", f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(data)}\n"
    )
    repository.write("b.md", "here")
    repository.commit("2026-01-05T00:00:00Z")
    world, _ = new_world()
    source = GitSource(repository.path)
    process = replace(world, source=source).process()
    assert process.ingest().unread.count == 1

    def stands() -> ProtectionStatus:
        feed = Feed(process.collection, source)
        return protection_status(process.history, feed=feed, edited=False)

    assert [q.document for q in stands().unread.lines] == ["a.md"]
    place = repository.path / f".git/lfs/objects/{oid[:2]}/{oid[2:4]}"
    place.mkdir(parents=True)
    (place / oid).write_bytes(data)

    [missed] = stands().unread.lines

    assert missed.place == "2026-01-05"
    assert missed.reason == (
        "1 changes can be read now and could not when the day was ingested: read everything again "
        f"with dr ingest {process.collection} --accept-epoch NAME"
    )


class _Killed(BaseException):
    """A stand-in for SIGKILL: nothing after it runs."""


@pytest.mark.parametrize("by", ["the same command", "ingest"])
def test_a_schema_change_that_was_killed_before_it_was_applied_is_finished_by_the_next_run(
    monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    world, source = new_world()
    for hour, document in enumerate(("a", "b")):
        source.upsert(document, f"text of {document}", at=START + timedelta(hours=hour), team="x")
    world.process().ingest()
    before = world.store.aliases()[world.collection]
    process = world.process()
    narrow = process.lineage.spec.model_copy(update={"fields": process.lineage.spec.fields[:1]})
    lineage = replace(process.lineage, spec=narrow)
    places: dict[str, Any] = {"history": process.history, "live": process.live}
    calls = iter((False, True))

    follow = Live.follow

    def dying(*words: Any) -> Any:
        if next(calls):
            raise _Killed
        return follow(*words)

    with monkeypatch.context() as patch:
        patch.setattr(Live, "follow", dying)
        with pytest.raises(_Killed):
            schema_change.accept_schema(lineage, "narrow", **places)
    assert world.store.aliases()[world.collection] == before  # nothing half-made is served

    if by == "ingest":
        ingest(lineage, **places)
    else:
        schema_change.accept_schema(lineage, "narrow", **places)

    now = world.store.aliases()[world.collection]
    assert now != before
    assert world.store.describe(now).fields == narrow.fields
    assert world.store.status(now).records > 0
    assert process.backup().equal


def test_edits_in_the_store_keep_a_schema_from_being_changed() -> None:
    world, source = new_world()
    source.upsert("a", "text", at=START)
    process = world.process()
    process.ingest()
    lineage = replace(process.lineage, spec=process.lineage.spec.model_copy(update={"fields": ()}))
    with pytest.raises(Refused, match="would be lost"):
        schema_change.accept_schema(
            lineage,
            "narrow",
            history=History(process.repository, lineage.collection),
            live=Live(process.store, process.lease, lineage.collection),
            authority="mixed",
        )


@pytest.mark.parametrize(
    ("before", "now"),
    [(FieldType.STRING, FieldType.INTEGER), (FieldType.INTEGER, FieldType.STRING)],
)
def test_documents_that_were_read_by_other_types_of_fields_are_read_again(
    tmp_path: Path, before: FieldType, now: FieldType
) -> None:
    """A first run read the day and was killed; then the policy got another type."""
    rows = (line(1, metadata={"rank": "first"}), line(2, metadata={}))
    feed = written(tmp_path / "feed.jsonl", rows)
    world, _ = new_world()

    def process(type_: FieldType) -> Process:
        fields = (Field(name="rank", type=type_),)
        made = replace(world, source=JsonlSource(feed, misfit=FieldTypes(fields))).process()
        spec = made.lineage.spec.model_copy(update={"fields": fields})
        return replace(made, lineage=replace(made.lineage, spec=spec))

    killed = process(before)
    (read,) = read_days(
        killed.lineage, ["2026-01-01"], history=killed.history, on_day=lambda _: None
    )
    assert read.rows == (2 if before is FieldType.STRING else 1)

    done = process(now).ingest()

    assert (done.days, done.unread.count) == (("2026-01-01",), int(now is FieldType.INTEGER))
    assert done.records == 2 - done.unread.count
