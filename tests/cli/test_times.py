"""A time that `dr points` prints names the point that it is printed for."""

import re
from typing import Any

import pyarrow as pa
import pytest

from dr_pipelines.model.collection import CollectionSpec, Vector
from dr_pipelines.model.record import store_schema
from dr_pipelines.project.project import open_project
from tests.cli.workplace import Workplace

SPEC = CollectionSpec(name="memories", vectors=(Vector(dimension=8),))


def remembered(count: int) -> pa.Table:
    """Records of so many documents, each a chunk."""
    ids = [f"m{n}" for n in range(count)]
    values: dict[str, list[Any]] = {
        "id": [f"{id_}#000000" for id_ in ids],
        "document_id": ids,
        "chunk_index": [0] * count,
        "text": ids,
        "vector": [[1.0] + [0.0] * 7] * count,
    }
    columns = [pa.array(values.get(f.name, [None] * count), f.type) for f in store_schema(SPEC)]
    return pa.table(columns, schema=store_schema(SPEC))


@pytest.fixture
def remembering(fresh: Workplace) -> Workplace:
    """A collection that only the store has, backed up as it grew."""
    store = open_project(fresh.directory / "policies.yaml", {}).store("local")
    store.create(SPEC)
    for count in (1, 2, 3):
        store.write("memories", remembered(count))
        assert fresh.dr("backup", "memories").code == 0
    return fresh


def printed(place: Workplace, collection: str) -> dict[str, str]:
    """Log number and time of each point, as people see them."""
    rows = re.findall(r"^ *(\d+) +(\d{4}-\S+Z)\s", place.dr("points", collection).out, re.MULTILINE)
    assert rows
    return dict(rows)


def test_each_printed_time_of_a_collection_without_source_names_its_point(
    remembering: Workplace,
) -> None:
    for number, time in printed(remembering, "memories").items():
        answer = remembering.dr("documents", "memories", "--at", time, "--json").json
        assert answer["at"].partition("-")[0] == number
    for point in remembering.dr("points", "memories", "--json").json["points"]:
        answer = remembering.dr("documents", "memories", "--at", point["at"], "--json").json
        assert (answer["at"], answer["count"]) == (point["id"], point["documents"])


def test_an_edited_collection_with_a_source_is_found_by_the_times_of_the_log(
    protected: Workplace,
) -> None:
    policies = protected.directory / "policies.yaml"
    policies.write_text(
        policies.read_text().replace("owner: you", "owner: you\n    authority: mixed")
    )
    times = printed(protected, "notes")
    assert len(times) > 3
    for number, time in times.items():
        answer = protected.dr("documents", "notes", "--at", time, "--json").json
        assert answer["at"].partition("-")[0] == number
    early = protected.dr("documents", "notes", "--at", "2026-01-06")
    assert (early.code, "nothing was logged at or before" in early.err) == (1, True)
