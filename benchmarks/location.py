"""A code location of many collections and days: what loading, looking and planning cost."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import sample
from benchmarks.harness import Figure, Laps, Scale
from dr_pipelines.ingestion.ingest import ingest
from dr_pipelines.project.project import open_project

if TYPE_CHECKING:
    import dagster as dg

WHAT = """\
A code location of collections that each have a change feed. `location` makes all definitions of it
and the description that a code server gives out; `ticks` is one tick of each collection's sensor,
in turn, where nothing is due; `behind` is the first tick of a collection that has all its days to
catch up with. `plan` is what a daemon does with the one run that it asks for: four events for each
day, in its one thread for sensors. `asset page` reads what an asset's page shows of that many
materialized days: the state of each, and the newest hundred events. Instances are on disk."""
COLLECTIONS, DAYS = 50, 1_500
FIRST_DAY = date(2022, 1, 1)
BEHIND = "behind"
HEAD = """\
version: 1
repository: repository
state: state
stores:
  local: {url: "duckdb:stores"}
embedders:
  hashing: {kind: hashing, dimension: 8}
collections:
"""
COLLECTION = """\
  {name}:
    owner: team:search
    store: local
    source: {{kind: jsonl, path: {name}.jsonl}}
    chunker: {{kind: characters, size: 800}}
    embedder: hashing
    partitions_start: {start}
    objectives: {{rpo: 1h, rto: 30m}}
"""


def run(scale: Scale, directory: Path) -> Figure:
    """Time each; the catch-up must be one run over all days."""
    small = scale.days is not None
    days, count = scale.days or DAYS, 2 if small else COLLECTIONS
    names = [f"c{number:02}" for number in range(count)]
    _furnish(directory, names, days)
    place, laps, requests = _Place(directory, names), Laps(), 0
    for number in laps.turns(scale.repeats):
        with _instance(directory / f"home-{number}") as instance:
            with laps.lap("location"):
                place.load()
            place.tick_all(instance)  # the first one reports what was made before
            with laps.lap("ticks"):
                place.tick_all(instance)
            with laps.lap("behind"):
                requested = place.tick(instance, BEHIND).run_requests or []
            requests = len(requested)
            with laps.lap("plan"):
                job = place.definitions.resolve_job_def(f"ingest_{BEHIND}")
                instance.create_run_for_job(job, tags=dict(requested[0].tags))
            place.report(instance, days)
            with laps.lap("asset page"):
                seen = place.asset_page(instance)
            assert (requests, seen) == (1, days)
    return Figure(
        "location",
        WHAT,
        sample.WARM,
        laps,
        {"collections": count + 1, "days": days, "runs_of_the_catch_up": requests},
    )


class _Place:
    """The code location in a directory."""

    def __init__(self, directory: Path, names: list[str]) -> None:
        self._policies = directory / "policies.yaml"
        self._names = names
        self._cursors = dict[str, str | None]()

    def load(self) -> None:
        """Make everything that a code server makes when it starts."""
        from dagster._core.remote_representation.external_data import RepositorySnap
        from dagster._serdes import serialize_value

        from assets.builder import build_defs

        self.definitions = build_defs(self._policies)
        serialize_value(RepositorySnap.from_def(self.definitions.get_repository_def()))

    def tick_all(self, instance: "dg.DagsterInstance") -> None:
        """One tick of every collection that is up to date."""
        for name in self._names:
            assert not self.tick(instance, name).run_requests

    def tick(self, instance: "dg.DagsterInstance", name: str) -> "dg.SensorResult":
        """One tick, with the cursor that the one before left."""
        import dagster as dg

        from assets.resources import ProjectResource

        sensor = self.definitions.resolve_sensor_def(f"rpo_{name}")
        context = dg.build_sensor_context(
            instance=instance,
            cursor=self._cursors.get(name),
            resources={"dr_project": ProjectResource(policies=str(self._policies))},
            definitions=self.definitions,
            sensor_name=sensor.name,
        )
        result = sensor(context)
        assert isinstance(result, dg.SensorResult)
        self._cursors[name] = result.cursor
        return result

    def report(self, instance: "dg.DagsterInstance", days: int) -> None:
        """Every day of an asset, materialized."""
        import dagster as dg

        for day in _days(days):
            event = dg.AssetMaterialization(dg.AssetKey([BEHIND, "collection"]), partition=day)
            instance.report_runless_asset_event(event)

    def asset_page(self, instance: "dg.DagsterInstance") -> int:
        """How many days are materialized, by the reads of an asset's page."""
        import dagster as dg

        key = dg.AssetKey([BEHIND, "collection"])
        partitions = self.definitions.resolve_asset_graph().get(key).partitions_def
        assert partitions is not None
        states = instance.get_status_by_partition(key, partitions.get_partition_keys(), partitions)
        instance.fetch_materializations(key, limit=100)
        return sum(str(state).endswith("MATERIALIZED") for state in (states or {}).values())


@contextmanager
def _instance(home: Path) -> Iterator["dg.DagsterInstance"]:
    import dagster as dg

    home.mkdir()
    with dg.DagsterInstance.local_temp(str(home)) as instance:
        yield instance


def _days(count: int) -> list[str]:
    return [(FIRST_DAY + timedelta(days=n)).isoformat() for n in range(count)]


def _furnish(directory: Path, names: list[str], days: int) -> None:
    """Feeds and policies; all but one collection are ingested."""
    for name, count in ((BEHIND, days), *((name, 1) for name in names)):
        lines = (
            {"seq": n, "ts": f"{day}T00:00:00Z", "op": "upsert", "id": "a", "text": f"text {n}"}
            for n, day in enumerate(_days(count), start=1)
        )
        feed = "".join(json.dumps(line) + "\n" for line in lines)
        (directory / f"{name}.jsonl").write_text(feed)
    each = (COLLECTION.format(name=name, start=FIRST_DAY) for name in (BEHIND, *names))
    (directory / "policies.yaml").write_text(HEAD + "".join(each))
    project = open_project(directory / "policies.yaml", os.environ)
    for name in names:
        protected = project.collection(name)
        history, live = protected.writable_history(), protected.live()
        ingest(protected.lineage(), history=history, live=live)
