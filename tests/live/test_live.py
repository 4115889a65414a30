"""The live side of a collection: what is served, followed, applied and promoted."""

import itertools
from dataclasses import replace
from datetime import timedelta

import pytest

from dr_pipelines.blobs.memory import MemoryBlobStore
from dr_pipelines.errors import NotFound, Unavailable
from dr_pipelines.ingestion.binding import (
    bind,
)
from dr_pipelines.ingestion.commit import (
    append_days,
    prepare_day,
)
from dr_pipelines.ingestion.days import Reading, plan_days
from dr_pipelines.live.live import Applied, Live
from dr_pipelines.stores.memory import memory_store
from dr_pipelines.testing.memory_witness import MemoryWitness
from dr_pipelines.testing.world import SPEC, START, ListedSource, OneAtATime, Process, World

DAY = START.date().isoformat()


def new_world() -> tuple[World, ListedSource]:
    source, numbers = ListedSource(), itertools.count()
    world = World(
        source=source,
        blobs=MemoryBlobStore(),
        store=memory_store(),
        witness=MemoryWitness(),
        new_id=lambda: f"w{next(numbers)}",
    )
    source.upsert("a", "a text of some chunks", at=START)
    return world, source


def logged_only(process: Process) -> None:
    """An entry that the store has not followed yet."""
    bound = bind(process.lineage, history=process.history, live=process.live)
    reading = Reading.of(process.history, process.history.manifest())
    source = process.lineage.source.partitions()
    (day,) = plan_days(process.lineage, reading, [DAY], source=source)
    commit = prepare_day(process.lineage, day, history=process.history)
    append_days(process.lineage, [commit], history=process.history, bound=bound)


def test_a_name_is_served_once_it_is_promoted() -> None:
    store = memory_store()
    live = Live(store, OneAtATime(), "notes")
    store.create(SPEC.physical("notes@1"))
    assert live.served() is None
    live.promote("notes@1")
    assert live.served() == "notes@1"


def test_a_collection_of_the_very_name_is_served_as_it_is() -> None:
    store = memory_store()
    store.create(SPEC.physical("notes"))
    live = Live(store, OneAtATime(), "notes")
    live.promote("notes")
    assert (live.served(), store.aliases()) == (None, {})


def test_following_takes_the_lease_only_where_something_is_pending() -> None:
    world, _ = new_world()
    process = world.process()
    process.ingest()
    with process.live.leased():
        assert process.live.follow(process.history) == Applied()
    later, source = world.process(), world.source
    assert isinstance(source, ListedSource)
    source.upsert("b", "another", at=START + timedelta(minutes=1))
    logged_only(later)
    with later.live.leased(), pytest.raises(Unavailable, match="'notes' is being written to"):
        later.live.follow(later.history)
    assert later.history.head().pending == (3,)


def test_what_is_logged_is_applied_and_marked_once() -> None:
    world, _ = new_world()
    process = world.process()
    logged_only(process)
    assert world.served() == {}
    applied = process.live.follow(process.history)
    assert (applied.entries, applied.written, applied.taken_over) == ((1,), 1, ())
    assert world.served() == process.folded() != {}
    head = process.history.head()
    assert head.entry is not None
    assert (head.number, head.entry.kind, head.pending) == (2, "applied", ())
    assert process.live.follow(process.history) == Applied()
    assert process.history.head() == head


def test_an_entry_of_another_writer_is_taken_over() -> None:
    world, _ = new_world()
    logged_only(world.process())
    other = world.process()
    assert other.live.follow(other.history).taken_over == (1,)
    manifest = other.history.manifest()
    assert manifest is not None
    assert manifest.taken_over == (1,)


def test_entries_stay_pending_while_the_served_collection_is_gone() -> None:
    world, _ = new_world()
    process = world.process()
    logged_only(process)
    emptied = replace(process, store=memory_store())
    with pytest.raises(NotFound, match=r"which is not in the store: .* Run: dr restore notes"):
        emptied.live.follow(emptied.history)
    assert process.history.head().pending == (1,)
    assert process.live.follow(process.history).entries == (1,)


def test_other_aliases_follow_a_restore_where_nobody_took_them() -> None:
    world, _ = new_world()
    process = world.process()
    process.ingest()
    first = process.live.served()
    assert first is not None
    for alias in ("ours", "taken"):
        process.store.promote(first, alias=alias)
    process.backup()
    process.store.create(SPEC.physical("theirs"))
    process.store.promote("theirs", alias="taken")
    recovery = process.restore(switch=True)
    aliases = process.store.aliases()
    assert (aliases["notes"], aliases["ours"]) == (recovery.plan.physical,) * 2
    assert aliases["taken"] == "theirs"
