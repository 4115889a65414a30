"""Two processes whose steps fall between each other's, one place after the other."""

from dataclasses import replace
from datetime import timedelta

import pytest

from dr_pipelines.errors import Conflict
from dr_pipelines.ingestion import append_days, bind, prepare_day
from dr_pipelines.stages import Reading, plan_day
from dr_pipelines.testing.blob_faults import Recording
from dr_pipelines.testing.world import START, Process
from tests.campaigns.machine import new_world


def commit_only(process: Process, day: str) -> None:
    """Ingest a day, and stop before it is applied."""
    bound = bind(
        process.lineage, repository=process.repository, store=process.store, lease=process.lease
    )
    reading = Reading.of(process.point().manifest)
    ready = prepare_day(
        process.lineage,
        plan_day(process.lineage, reading, day),
        repository=process.repository,
    )
    append_days(process.lineage, [ready], repository=process.repository, bound=bound)


@pytest.mark.parametrize("moment", range(1, 9))
def test_what_is_committed_while_another_compacts_is_applied(moment: int) -> None:
    world, source = new_world()
    writer, compactor = world.process(), world.process()
    for day in range(2):
        source.upsert("a", f"day {day}", at=START + timedelta(days=day))
        writer.ingest()
    source.upsert("b", "said meanwhile", at=START + timedelta(days=2))
    day = source.partitions()[-1].day.isoformat()

    def hook(call: str, key: str, when: str, number: int) -> None:
        if (number, when) == (moment, "before"):
            commit_only(writer, day)

    blobs = Recording(world.blobs, hook=hook)
    other = replace(compactor, repository=replace(compactor.repository, blobs=blobs))
    try:
        other.compact()
    except Conflict:
        assert writer.point().entry.body.pending == (5,)
    assert writer.point("log:5").entry.kind == "ingest"
    writer.ingest()
    assert writer.point().entry.body.pending == ()
    assert list(world.served()) == ["a", "b"]
    assert world.served() == writer.folded()
