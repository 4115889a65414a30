"""A rewritten source is accepted: what becomes of what only the store has."""

from dataclasses import replace
from datetime import timedelta

import pytest

from dr_pipelines.ingestion.epochs import accept_epoch
from dr_pipelines.ingestion.ingest import Ingested
from dr_pipelines.model.collection_policy import Authority
from dr_pipelines.model.recovery import Route
from dr_pipelines.testing.world import (
    START,
    ListedSource,
    Process,
    World,
    table_of,
)
from tests.campaigns.machine import new_world
from tests.campaigns.test_races import commit_only


def by_hand(world: World, document: str, text: str) -> None:
    row = (f"{document}#000000", document, 0, text, None, None, None, None, (1.0, 0.0, 0.0, 0.0))
    physical = world.store.aliases()[world.collection]
    world.store.write(physical, table_of((row,)), replaces=[document])


def texts(world: World) -> dict[str, str]:
    return {document: rows[0][3] for document, rows in world.served().items()}


def edited() -> tuple[World, ListedSource]:
    """The source has `kept`, `dropped` and `edited`, and once had `deleted`. By hand, `edited` was
    changed, `deleted` written again, and `own` added."""
    world, source = new_world()
    for hour, document in enumerate(("kept", "dropped", "edited", "deleted")):
        source.upsert(document, "first", at=START + timedelta(hours=hour))
    source.delete("deleted", at=START + timedelta(hours=5))
    world.process().ingest()
    for document in ("edited", "deleted", "own"):
        by_hand(world, document, "by hand")
    return world, source


def rewrite(source: ListedSource, *documents: str) -> None:
    source.history.clear()
    for hour, document in enumerate(documents):
        source.upsert(document, "second", at=START + timedelta(hours=hour))


def accept(process: Process, authority: Authority, name: str = "second") -> Ingested:
    return accept_epoch(
        process.lineage,
        name,
        history=process.history,
        live=process.live,
        authority=authority,
    )


def test_entries_that_an_earlier_run_left_unapplied_are_in_the_result() -> None:
    world, source = new_world()
    source.upsert("kept", "first", at=START)
    world.process().ingest()
    source.upsert("kept", "again", at=START + timedelta(days=1))
    commit_only(world.process(), (START + timedelta(days=1)).date().isoformat())
    process = world.process()
    pending = process.history.head().pending
    done = accept(process, "source")
    assert len(pending) == 1
    assert done.applied.entries == (*pending, *done.entries)


@pytest.mark.parametrize(
    ("authority", "expected"),
    [
        ("source", {"kept": "second"}),
        ("mixed", {"deleted": "by hand", "kept": "second", "own": "by hand"}),
    ],
)
def test_what_only_the_store_has_outlives_an_epoch_where_the_store_has_a_say(
    authority: Authority, expected: dict[str, str]
) -> None:
    world, source = edited()
    process = world.process()
    assert process.backup().findings.added == ("own",)
    rewrite(source, "kept")
    accept(process, authority)
    assert texts(world) == expected
    assert world.served() == process.folded()
    result = process.backup()
    assert (result.equal, result.findings.recorded) == (True, [])
    for route in (Route.LOAD, Route.REPLAY):
        process.restore(route=route, switch=True)
        assert texts(world) == expected
    assert process.verify(3).findings == ()


def test_what_no_snapshot_has_seen_yet_outlives_it_too() -> None:
    world, source = edited()
    process = world.process()
    rewrite(source, "kept")
    accept(process, "mixed")
    assert texts(world) == {"deleted": "by hand", "kept": "second", "own": "by hand"}
    assert world.served() == (process.backup(), process.folded())[1]


def test_a_new_history_that_names_a_document_has_the_say_of_it() -> None:
    world, source = edited()
    process = world.process()
    process.backup()
    rewrite(source, "kept", "own")
    accept(process, "mixed")
    assert texts(world) == {"deleted": "by hand", "kept": "second", "own": "second"}
    rewrite(source, "kept")
    source.history[0] = replace(source.history[0], text="third")
    accept(process, "mixed", "third")
    assert texts(world) == {"deleted": "by hand", "kept": "third"}
    assert world.served() == process.folded()
