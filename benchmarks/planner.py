"""Plans of recovery: how long one takes to make, and how well it foretells."""

import itertools
import json
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import Figure, Laps, Ratio, Scale
from dr_pipelines.backup.run import back_up
from dr_pipelines.ingestion.ingest import ingest
from dr_pipelines.model.backup import BackupRequest
from dr_pipelines.model.incident import Incident, Measurement, PlannedRoute, SavedFacts
from dr_pipelines.model.recovery import Recovery, Request, Route
from dr_pipelines.model.recovery_plan import Span
from dr_pipelines.planning.plan_outlook import expected_phases, measured_alike
from dr_pipelines.planning.recovery_plan import plan_incident
from dr_pipelines.project.backup import open_for_backup
from dr_pipelines.project.facts import gather_facts
from dr_pipelines.project.process import now
from dr_pipelines.project.project import Project, open_project
from dr_pipelines.project.recovery import open_for
from dr_pipelines.recovery.report import total_seconds
from dr_pipelines.recovery.run import recover
from tests.planning.plan_samples import collection, saved

WHAT = """\
`plan` makes a plan for 20 collections of 500 points each from saved facts, the reading of them
included. `recoveries` are judged: of each engine and route, three recoveries of a small collection
and three of one twice as large are measured, each leaving its evidence; from that, a plan foretells
recoveries of one four times larger than those. Vectors are made by hashing; DuckDB, LanceDB and
Qdrant Edge, by `load` and by `replay`."""
CACHE = "warm: everything was written in the same run"
COLLECTIONS, POINTS = 20, 500
ENGINES = {"duckdb": "duckdb:stores", "lancedb": "lance:lance", "qdrant": "qdrant+edge:edge"}
ROUTES: tuple[PlannedRoute, ...] = ("load", "replay")
SIZES = {"small": 1, "double": 2, "large": 8}
JUDGED, DRILLS = 60, 3
POLICY = """\
  {name}-{engine}:
    owner: you
    store: {engine}
    source: {{kind: jsonl, path: {name}.jsonl}}
    chunker: {{kind: document}}
    embedder: hashing
    partitions_start: 2026-01-05
    objectives: {{rpo: 1h, rto: 30m}}
"""
HEAD = """\
version: 1
repository: repository
state: state
stores:
{stores}
embedders:
  hashing: {{kind: hashing, dimension: 128}}
collections:
"""


@dataclass(frozen=True)
class Judged:
    """A recovery: the seconds that were foretold, and those that it took."""

    span: Span
    seconds: float

    @property
    def error(self) -> float:
        return abs(self.span.expected / self.seconds - 1)

    @property
    def inside(self) -> bool:
        return self.span.low <= self.seconds <= self.span.high


def run(scale: Scale, directory: Path) -> Figure:
    """Time the plan; then foretell real recoveries, and hold them against it."""
    laps = Laps()
    facts = saved(
        *(collection(f"c{n}", points=POINTS, measurements=20) for n in range(COLLECTIONS))
    ).canonical()
    for _ in laps.turns(scale.repeats):
        with laps.lap("plan"):
            plan_incident(SavedFacts.model_validate_json(facts))
    judged = list(_judged(scale, directory, laps))
    inside = sum(each.inside for each in judged)
    widths = [each.span.high / each.span.low for each in judged]
    ratios = (
        Ratio("plan : 2 s", laps.median("plan") / 2, 1.0),
        Ratio("median error of an expected time", statistics.median(e.error for e in judged), 0.25),
        Ratio("inside the 90 % interval : all", inside / len(judged), 0.8, at_least=True),
        Ratio("upper : lower bound, median", statistics.median(widths), 2.5),
    )
    measured = {"recoveries judged": len(judged), "inside the interval": inside}
    return Figure("planner", WHAT, CACHE, laps, measured, ratios)


def _judged(scale: Scale, directory: Path, laps: Laps) -> Iterator[Judged]:
    project = _furnished(directory, scale.rows // 400)
    cells = list(itertools.product(ENGINES, ROUTES))
    names = itertools.count()
    for engine, route in cells:
        for size in ("small", "double"):
            for _ in range(DRILLS):
                _recover(project, f"{size}-{engine}", route, f"drill-{next(names)}")
    least = 1 if scale.repeats == 1 else JUDGED // len(cells)
    for engine, route in cells:
        span = _foretold(project, engine, route)
        for _ in range(least):
            with laps.lap(f"{engine}, {route}"):
                done = _recover(project, f"large-{engine}", route, f"drill-{next(names)}")
            yield Judged(span, total_seconds(done.phases))


def _foretold(project: Project, engine: str, route: PlannedRoute) -> Span:
    """By the facts of the smaller collections; the large one was never recovered on the route."""
    facts = gather_facts(project, Incident(kind="store", store=engine), now=now())
    large = next(fact for fact in facts.collections if fact.name == f"large-{engine}")
    alike, _ = measured_alike(large, facts, route=route, engine=facts.place(engine).engine)
    smaller: list[Measurement] = [m for m in alike if m.collection != large.name]
    _, span = expected_phases(smaller, large.state_of(large.points[-1]).records)
    if span is None:
        raise AssertionError(f"{engine}, {route}: not measured, with {len(smaller)} recoveries")
    return span


def _recover(project: Project, name: str, route: PlannedRoute, into: str) -> Recovery:
    store = project.collection(name).policy.store
    request = Request(collection=name, store=store, route=Route(route), into=into)
    done = recover(request, open_for(project, request))
    project.store(store).drop(into)
    return done


def _furnished(directory: Path, rows: int) -> Project:
    """Collections of three sizes in each engine, ingested and backed up."""
    stores = "\n".join(f'  {name}: {{url: "{url}"}}' for name, url in ENGINES.items())
    text = HEAD.format(stores=stores)
    for name, times in SIZES.items():
        _feed(directory / f"{name}.jsonl", rows * times)
        text += "".join(POLICY.format(name=name, engine=engine) for engine in ENGINES)
    (directory / "policies.yaml").write_text(text)
    project = open_project(directory / "policies.yaml", {})
    for name in project.policies.collections:
        protected = project.collection(name)
        ingest(protected.lineage(), history=protected.writable_history(), live=protected.live())
        request = BackupRequest(collection=name)
        back_up(request, open_for_backup(project, request))
    return project


def _feed(path: Path, rows: int) -> None:
    with path.open("w") as file:
        for number in range(rows):
            text = " ".join(f"word{(number * step) % 997}" for step in range(1, 60))
            change = {"seq": number + 1, "ts": "2026-01-05T08:00:00Z", "op": "upsert"}
            file.write(json.dumps(change | {"id": f"d{number}", "title": "", "text": text}) + "\n")
