"""The power goes at any moment: only what was synced is left, and that is enough."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from dr_pipelines.blobs.local import LocalBlobStore
from dr_pipelines.testing.blob_faults import Recording
from dr_pipelines.testing.file_faults import Names, PowerCut, RecordingFiles
from dr_pipelines.testing.world import (
    START,
    ListedSource,
    Process,
    World,
)
from tests.campaigns.machine import new_world
from tests.campaigns.results import CAMPAIGN, record_result

STRIDE = CAMPAIGN.pick(short=9, long=1)


def worlds(root: Path, files: RecordingFiles | None = None) -> tuple[World, ListedSource]:
    world, source = new_world()
    source.upsert("a", "the first day", at=START)
    source.upsert("b", "the second day", at=START + timedelta(days=1))
    return replace(world, blobs=LocalBlobStore(root, files)), source


def ingest_and_back_up(process: Process) -> None:
    process.ingest()
    process.backup()


def cut_at(root: Path, step: int | None, names: Names) -> tuple[World, int, int]:
    """Run until a durable operation; what a new process finds, entries acknowledged, operations."""
    acknowledged = 0

    def cut(call: str, path: Path, number: int) -> None:
        if number == step:
            raise PowerCut

    def acknowledge(call: str, key: str, moment: str, number: int) -> None:
        nonlocal acknowledged
        acknowledged += (call, moment) == ("create", "after") and "/log/" in key

    root.mkdir()
    files = RecordingFiles(root, hook=cut)
    world, _ = worlds(root, files)
    recording = replace(world, blobs=Recording(world.blobs, hook=acknowledge))
    try:
        ingest_and_back_up(recording.process())
    except PowerCut:
        files.power_cut(names=names)
    lease = worlds(root)[0].lease
    return replace(world, blobs=LocalBlobStore(root), lease=lease), acknowledged, len(files.calls)


@pytest.mark.parametrize("names", ["synced", "all"])
def test_what_was_acknowledged_survives_the_power_and_is_whole(
    names: Names, tmp_path: Path
) -> None:
    whole, entries, steps = cut_at(tmp_path / "whole", None, names)
    expected = (whole.process().folded(), whole.served())
    kinds = [e.kind for e, _ in whole.process().repository.log("notes").entries()]
    assert (len(kinds), entries) == (5, 5)
    left = Counter[int]()
    for step in range(1, steps + 1, STRIDE):
        world, acknowledged, _ = cut_at(tmp_path / str(step), step, names)
        process = world.process()
        log = process.repository.log(world.collection)
        entry_kinds = [entry.kind for entry, _ in log.entries()]
        assert acknowledged <= len(entry_kinds) <= acknowledged + 1
        assert entry_kinds == kinds[: len(entry_kinds)]
        assert process.verify(2).findings == (), step
        left[len(entry_kinds)] += 1
        ingest_and_back_up(process)
        assert (process.folded(), world.served()) == expected, step
    assert {0, 1, 2} <= set(left)
    cuts = {str(number): count for number, count in sorted(left.items())}
    record_result(f"power-cut-{names}", operations=steps, entries_left=cuts)
