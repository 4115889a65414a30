"""The act of the demo in which a restore is damaged, and stopped."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import pyarrow as pa

from dr_pipelines.cli.demo.acts import STORE
from dr_pipelines.cli.demo.story import Story
from dr_pipelines.model.recovery import Request
from dr_pipelines.project.recovery import open_for
from dr_pipelines.protocols import VectorStore
from dr_pipelines.recovery.run import recover
from dr_pipelines.recovery.stopped import Stopped


class Swapping:
    """A store that gives two records each other's vectors when it is written to: damage that no
    count shows."""

    def __init__(self, store: VectorStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def write(self, name: str, batch: pa.Table, *, replaces: Sequence[str] = ()) -> None:
        """Write the rows with the vectors of the first and the last exchanged."""
        order = [batch.num_rows - 1, *range(1, batch.num_rows - 1), 0][: batch.num_rows]
        (vector, *_) = self._store.describe(name).vectors
        place = batch.schema.get_field_index(vector.name)
        column = batch.column(place).take(pa.array(order, pa.int64()))
        self._store.write(name, batch.set_column(place, vector.name, column), replaces=replaces)


def stop_at_the_gate(story: Story) -> None:
    """Restore once more through a store that damages what it is given: nothing of it is served."""
    served, into = story.store.aliases()[story.name], f"{story.name}@damaged"
    story.dr(f"restore {story.name} --into {into} --switch")
    request = Request(collection=story.name, store=STORE, into=into, switch=True)
    resources = open_for(story.project, request)
    damaging = replace(resources, store=cast("VectorStore", Swapping(resources.store)))
    findings: list[str] = []
    try:
        recover(request, damaging)
    except Stopped as stopped:
        findings = [f"{one.id}: {one.message}" for one in stopped.verdict.in_the_way]
    for line in findings:
        story.tell.say(line)
    story.tell.check("the verdict refuses it, by a finding that says what differs", bool(findings))
    unchanged = story.store.aliases()[story.name] == served
    story.tell.check("what was served is served still", unchanged)
    story.dr(f"drop {into}")
    story.store.drop(into)
