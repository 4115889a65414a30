"""A feed of many days, ingested through Dagster and without it."""

import itertools
import os
import shutil
from pathlib import Path

from benchmarks import sample
from benchmarks.corpora import longest_feed
from benchmarks.harness import Figure, Laps, Scale
from dr_pipelines.ingestion.days import source_days
from dr_pipelines.ingestion.ingest import (
    ingest,
)
from dr_pipelines.project.project import open_project
from dr_pipelines.repository.history import History
from dr_pipelines.sources.jsonl import JsonlSource

WHAT = """\
A change feed of many days, from nothing to a served collection, by the hashing embedder: documents,
chunks, embeddings and collection of each day. `verbs` is `ingest`, which commits and applies one
day after the other. `dagster` is one run over all days, as a backfill starts it, in this process,
with an instance on disk."""
COLLECTION = "feed"
POLICIES = """\
version: 1
repository: repository
state: state
stores:
  local: {{url: "duckdb:stores"}}
embedders:
  hashing: {{kind: hashing, dimension: 64}}
collections:
  feed:
    owner: team:search
    store: local
    source: {{kind: jsonl, path: feed.jsonl}}
    chunker: {{kind: characters, size: 800}}
    embedder: hashing
    partitions_start: {start}
    objectives: {{rpo: 1h, rto: 30m}}
"""


def run(scale: Scale, directory: Path) -> Figure:
    """Time both in turn; they must leave the same state."""
    feed = longest_feed()
    days = JsonlSource(feed).partitions()[: scale.days]
    last = days[-1].through
    laps, states = Laps(), set[str]()
    for number in laps.turns(scale.repeats):
        for case, work in (("verbs", _by_verbs), ("dagster", _by_dagster)):
            place = directory / f"{case}-{number}"
            place.mkdir()
            with feed.open() as lines:
                head = "".join(itertools.islice(lines, last))
            (place / "feed.jsonl").write_text(head)
            start = days[0].day.isoformat()
            (place / "policies.yaml").write_text(POLICIES.format(start=start))
            with laps.lap(case):
                work(place, (start, days[-1].day.isoformat()))
            states.add(_state(place))
            shutil.rmtree(place)
    assert len(states) == 1, "the two ways lead to different states"
    per_day = {case: round(laps.median(case) / len(days), 3) for case in laps.seconds}
    return Figure(
        "days",
        WHAT,
        sample.WARM,
        laps,
        {"feed": feed.parent.name, "days": len(days), "changes": last, "seconds_a_day": per_day},
        (laps.ratio("dagster : verbs", of=("dagster",), to="verbs", aim=1.5),),
    )


def _by_verbs(place: Path, days: tuple[str, str]) -> None:
    del days  # all of the feed
    project = open_project(place / "policies.yaml", os.environ)
    protected = project.collection(COLLECTION)
    ingest(protected.lineage(), history=protected.writable_history(), live=protected.live())


def _by_dagster(place: Path, days: tuple[str, str]) -> None:
    import dagster as dg

    from assets.builder import build_defs

    names = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
    job = build_defs(place / "policies.yaml").resolve_job_def(f"ingest_{COLLECTION}")
    home = place / "dagster"
    home.mkdir()
    with dg.DagsterInstance.local_temp(str(home)) as instance:
        done = job.execute_in_process(instance=instance, tags=dict(zip(names, days, strict=True)))
    assert done.success


def _state(place: Path) -> str:
    project = open_project(place / "policies.yaml", os.environ)
    lineage, repository = project.collection(COLLECTION).lineage(), project.repository()
    history = History(repository, COLLECTION)
    manifest = history.latest().manifest
    assert set(history.days(manifest)) == {d.day.isoformat() for d in source_days(lineage)}
    return manifest.digests.model_dump_json()
