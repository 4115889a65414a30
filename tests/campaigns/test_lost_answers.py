"""The answer to a creating call is lost: one commit, never two, never a false failure."""

import itertools
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from dr_pipelines.blobs.local import LocalBlobStore
from dr_pipelines.blobs.s3 import S3BlobStore
from dr_pipelines.model.recovery import Route
from dr_pipelines.protocols import BlobStore
from dr_pipelines.testing.blob_faults import Lost, LostAnswers, Recording
from dr_pipelines.testing.memory_store import MemoryVectorStore
from dr_pipelines.testing.memory_witness import MemoryWitness
from dr_pipelines.testing.world import (
    START,
    Contents,
    ListedSource,
    OneAtATime,
    Process,
    World,
    table_of,
)
from tests.blobs.s3_buckets import client_of, new_bucket
from tests.campaigns.machine import new_world
from tests.campaigns.results import CAMPAIGN, record_result
from tests.servers.cutting_proxy import CuttingProxy
from tests.servers.radosgw import Radosgw

Verb = Callable[[Process], object]
Prepared = tuple[World, Path]
"""A world, and the directory of its repository."""


def prepare(world: World, source: ListedSource) -> None:
    """Two days that are ingested, an edit by hand, a third day that is not ingested yet."""
    source.upsert("a", "the first day", at=START)
    source.upsert("b", "too", at=START + timedelta(days=1))
    process = world.process()
    process.ingest()
    physical = world.store.aliases()[world.collection]
    (row,) = next(iter(world.store.scan(physical, documents=["b"]))).to_pylist()
    edited = tuple({**row, "text": "by hand"}.values())
    world.store.write(physical, table_of((edited,)), replaces=["b"])
    source.upsert("a", "the third day", at=START + timedelta(days=2))


def first_day(process: Process) -> None:
    day = START.date()
    process.replay(day, day)


VERBS: dict[str, Verb] = {
    "ingest": lambda p: p.ingest(),
    "backup": lambda p: p.backup(),
    "compact": lambda p: p.compact(),
    "replay": first_day,
    "load": lambda p: p.restore(switch=True),
    "reembed": lambda p: p.restore(route=Route.REPLAY, switch=True),
}


def outcome(world: World) -> tuple[list[str], Contents, Contents]:
    """Kinds of entries, what the newest point holds, what is served."""
    process = world.process()
    assert process.verify(2).findings == ()
    log = process.repository.log(world.collection)
    kinds = [entry.kind for entry, _ in log.entries()]
    return kinds, process.folded(), world.served()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """Nothing writes to it: each run has a copy."""
    directory = tmp_path_factory.mktemp("lost") / "prepared"
    world, source = new_world()
    world = replace(world, blobs=LocalBlobStore(directory))
    prepare(world, source)
    return world, directory


def copied(prepared: Prepared, directory: Path) -> World:
    """The same repository and store on another machine, whose ids are nobody else's."""
    world, original = prepared
    assert isinstance(world.store, MemoryVectorStore)
    shutil.copytree(original, directory)
    store = MemoryVectorStore()
    store.tables.update(world.store.tables)
    store.targets.update(world.store.targets)
    return replace(
        world,
        blobs=LocalBlobStore(directory),
        store=store,
        witness=MemoryWitness(),
        lease=OneAtATime(),
    )


def run(
    verb: Verb, world: World, layer: Callable[[BlobStore], BlobStore]
) -> tuple[World, Recording]:
    """Run the verb with a layer between it and the blobs."""
    recording = Recording(layer(world.blobs))
    process = world.process()
    verb(replace(process, repository=replace(process.repository, blobs=recording)))
    return world, recording


def nth(number: int) -> Callable[[str], bool]:
    """Accepts the n-th key it is asked about, and no other."""
    calls: list[str] = []

    def accept(key: str) -> bool:
        calls.append(key)
        return len(calls) == number

    return accept


@pytest.mark.parametrize("name", VERBS)
def test_each_creating_call_may_lose_its_answer(
    name: str, prepared: Prepared, tmp_path: Path
) -> None:
    world, recording = run(VERBS[name], copied(prepared, tmp_path / "whole"), lambda blobs: blobs)
    expected, calls = outcome(world), recording.count("create")
    before = outcome(copied(prepared, tmp_path / "before"))
    assert calls > 0
    assert before[0] == expected[0][: len(before[0])] != expected[0]
    numbers = range(1, calls + 1) if CAMPAIGN.long else sorted({1, calls // 2 + 1, calls})
    for how, number in itertools.product(Lost, numbers):
        world, recording = run(
            VERBS[name],
            copied(prepared, tmp_path / f"{how.name}-{number}"),
            partial(LostAnswers, keys=nth(number), how=how),
        )
        assert outcome(world) == expected, (name, how, number)
        assert recording.count("create") == calls + (how is Lost.DROPPED)


@pytest.mark.parametrize("how", Lost)
def test_a_repository_is_made_once_when_its_first_answer_is_lost(how: Lost) -> None:
    world, _ = new_world()
    made = replace(world, blobs=LostAnswers(world.blobs, how=how)).process()
    assert made.repository.identity == world.process().repository.identity
    assert list(world.blobs.keys("")) == ["repo.json"]


def through_a_proxy(
    endpoint: str, access_key: str = "test", secret_key: str = "test"
) -> dict[str, int]:
    """Ingest and back up, again for each PUT with that PUT's answer cut off, each time under
    another prefix; a third of them in a short campaign. Returns how many there were."""
    bucket = new_bucket(client_of(endpoint, access_key, secret_key))
    with CuttingProxy(endpoint) as proxy:
        client = client_of(proxy.endpoint, access_key, secret_key)
        expected, puts = ingested_and_backed_up(S3BlobStore(bucket, "whole", client=client), proxy)
        for number in range(1, puts + 1, CAMPAIGN.pick(short=3, long=1)):
            blobs = S3BlobStore(bucket, f"cut-{number}", client=client)
            assert ingested_and_backed_up(blobs, proxy, cut=number) == (expected, puts), number
            assert not proxy.cut_next_put
    return {"puts": puts}


def ingested_and_backed_up(
    blobs: BlobStore, proxy: CuttingProxy, *, cut: int | None = None
) -> tuple[object, int]:
    """The outcome, and how many PUTs it took; the answer to one of them is cut off."""
    world, source = new_world()
    world = replace(world, blobs=blobs)
    process = world.process()
    counted = Counter[str]()

    def arm(call: str, key: str, moment: str, number: int) -> None:
        if (call, moment) == ("create", "before"):
            counted["create"] += 1
            proxy.cut_next_put = counted["create"] == cut

    recording = Recording(blobs, hook=arm)
    process = replace(process, repository=replace(process.repository, blobs=recording))
    source.upsert("a", "said on the first day", at=START)
    process.ingest()
    assert process.backup().equal
    return outcome(world), counted["create"]


def test_each_put_may_lose_its_answer_on_the_way_from_an_imitation(moto_endpoint: str) -> None:
    record_result("lost-answers-moto", **through_a_proxy(moto_endpoint))


@pytest.mark.radosgw
def test_each_put_may_lose_its_answer_on_the_way_from_a_real_server(radosgw: Radosgw) -> None:
    figures = through_a_proxy(radosgw.endpoint, radosgw.access_key, radosgw.secret_key)
    record_result("lost-answers-radosgw", **figures)
