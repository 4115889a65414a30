"""A backup or restore that is interrupted leaves nothing half-done in sight: the served collection
is as it was, and the next run completes.

Lost connections at every kind of call, in this process; in long campaigns also the end of the
process at every call of it, and SIGKILL at random moments.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from dr_pipelines.blobs.memory import MemoryBlobStore
from dr_pipelines.errors import DrError, Unavailable
from dr_pipelines.protocols import VectorStore
from dr_pipelines.testing.memory_witness import MemoryWitness
from dr_pipelines.testing.store_faults import Moment, RecordingStore
from dr_pipelines.testing.world import (
    Contents,
    Process,
    World,
    contents,
)
from tests.campaigns.engine_child import KILLED, READY
from tests.campaigns.engine_story import SPEC, history
from tests.campaigns.results import CAMPAIGN, record_result
from tests.engines import (
    DIRECTORIES,
    ENGINES,
    OpenStore,
    StoreURL,
)
from tests.servers.pgvector import running_postgres

ROOT = Path(__file__).resolve().parents[2]
KEPT = tuple(engine for engine in ENGINES if engine != "memory")
KILLS = 8
SEED = CAMPAIGN.seed(20_260_701)
DISK_MIB = 400
FREE_KIB = (8, 64, 256, 1024)
CALLS = ("collections", "describe", "status", "create", "write", "build_index", "scan", "promote")


def opened(store: VectorStore) -> tuple[World, Process]:
    ids = iter(f"{n:032x}" for n in range(1_000_000))
    world = World(history(), MemoryBlobStore(), store, MemoryWitness(), lambda: next(ids))
    return world, bound(world)


def bound(world: World, store: VectorStore | None = None) -> Process:
    process = world.process(store=store)
    return replace(process, lineage=replace(process.lineage, spec=SPEC))


def cut(store: VectorStore, call: str, moment: Moment) -> VectorStore:
    """A store whose connection is lost at the first such call, and at every one after it."""
    lost = False

    def hook(called: str, _: str, when: Moment, __: int) -> None:
        nonlocal lost
        lost = lost or (called, when) == (call, moment)
        if lost:
            raise Unavailable(f"the connection was lost {moment} {call}")

    return RecordingStore(store, hook)


def calls_of(verb: Callable[[Process], Any], world: World) -> list[str]:
    """Calls of a store that a verb makes, of those that are tried: at any other nothing is lost."""
    made = set[str]()

    def hook(called: str, _: str, __: Moment, ___: int) -> None:
        made.add(called)

    verb(bound(world, RecordingStore(world.store, hook)))
    return [call for call in CALLS if call in made]


def served(store: VectorStore) -> Contents:
    return contents(store, "notes")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_connection_that_is_lost_leaves_the_served_collection_alone(
    engine: str, open_store: OpenStore
) -> None:
    store = open_store(engine)
    world, process = opened(store)
    process.ingest()
    process.backup()
    verbs: dict[str, Callable[[Process], Any]] = {
        "backup": lambda p: p.backup(),
        "restore": lambda p: p.restore(switch=True),
    }
    calls = {name: calls_of(verb, world) for name, verb in verbs.items()}
    assert set().union(*calls.values()) == set(CALLS)
    before, alias = served(store), store.aliases()["notes"]
    for name, verb in verbs.items():
        for call in calls[name]:
            for moment in ("before", "after"):
                with suppress(DrError):
                    verb(bound(world, cut(store, call, moment)))
                moved = store.aliases()["notes"]
                assert served(store) == before, (name, call, moment)
                promoted = (name, call, moment) == ("restore", "promote", "after")
                assert moved == alias or promoted, (name, call, moment)
                alias = moved
    done = bound(world).restore(switch=True)
    assert done.missing == ()
    assert served(store) == before
    assert bound(world).backup().equal


def child(directory: Path, url: str, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "tests.campaigns.engine_child", str(directory), url, *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def succeeded(directory: Path, url: str, verb: str) -> Any:
    result = child(directory, url, verb)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1]) if result.stdout.strip() else None


def first_and_last(calls: list[str]) -> list[str]:
    """Of every call of one kind, before it and after it: the first and the last in a run."""
    kinds: dict[str, list[str]] = {}
    for call in calls:
        kinds.setdefault(call.rpartition(" ")[0], []).append(call)
    return [site for places in kinds.values() for site in dict.fromkeys((places[0], places[-1]))]


@pytest.mark.long
@pytest.mark.parametrize("engine", KEPT)
def test_a_process_that_ends_leaves_the_served_collection_alone(
    engine: str, store_url: StoreURL, tmp_path: Path
) -> None:
    url, killed = store_url(engine), 0
    succeeded(tmp_path, url, "prepare")
    before = succeeded(tmp_path, url, "state")
    for verb in ("backup", "restore"):
        sites = first_and_last(succeeded(tmp_path, url, verb))
        assert sites, verb
        for site in sites:
            result = child(tmp_path, url, verb, *site.split())
            assert result.returncode == KILLED, (site, result.stderr)
            killed += 1
            after = succeeded(tmp_path, url, "state")
            assert (after["contents"], after["verified"]) == (before["contents"], True), site
    succeeded(tmp_path, url, "restore")
    assert succeeded(tmp_path, url, "state")["contents"] == before["contents"]
    record_result(f"engine-kills-{engine}", kills=killed)


@contextmanager
def started(directory: Path, url: str, verb: str) -> Iterator["subprocess.Popen[str]"]:
    """A process, with those that it starts, whose verb has begun; nothing of it is left."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.campaigns.engine_child", str(directory), url, verb],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline().strip() == READY
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def seconds_of(directory: Path, url: str, verb: str) -> float:
    """How long a verb takes that nothing interrupts."""
    with started(directory, url, verb) as process:
        begun = time.monotonic()
        _, output = process.communicate()
        assert process.returncode == 0, output
        return time.monotonic() - begun


@pytest.mark.long
@pytest.mark.parametrize("engine", KEPT)
def test_a_process_that_is_killed_leaves_the_served_collection_alone(
    engine: str, store_url: StoreURL, tmp_path: Path
) -> None:
    """At a random moment of a verb; whatever was left, the next run of the verb completes."""
    print(f"{engine}: seed {SEED}")
    url, draw, killed = store_url(engine), random.Random(SEED), dict[str, int]()
    succeeded(tmp_path, url, "prepare")
    before = succeeded(tmp_path, url, "state")["contents"]
    for verb in ("backup", "restore"):
        takes, killed[verb] = seconds_of(tmp_path, url, verb), 0
        for number in range(KILLS):
            with started(tmp_path, url, verb) as process:
                time.sleep(draw.uniform(0.0, takes))
                os.killpg(process.pid, signal.SIGKILL)
                killed[verb] += process.wait() == -signal.SIGKILL
            left = succeeded(tmp_path, url, "state")
            succeeded(tmp_path, url, verb)
            after = succeeded(tmp_path, url, "state")
            for state in (left, after):
                assert (state["contents"], state["verified"]) == (before, True), (verb, number)
        assert killed[verb], f"every {verb} had ended before it was killed"
    record_result(f"engine-sigkill-{engine}", seed=SEED, attempts=2 * KILLS, killed=killed)


@pytest.mark.long
def test_a_process_that_ends_between_files_leaves_the_served_collection_alone(
    tmp_path: Path,
) -> None:
    """While an engine's own files are kept, and while a collection is made of them: each time from
    the same state, and what is interrupted completes."""
    url, first, killed = f"{DIRECTORIES['lancedb']}:store", tmp_path / "first", 0
    first.mkdir()
    succeeded(first, url, "prepare")
    before = succeeded(first, url, "state")
    for verb in ("keep", "files"):
        rehearsal = tmp_path / f"{verb}-rehearsed"
        shutil.copytree(first, rehearsal)
        sites = first_and_last(succeeded(rehearsal, url, verb))
        assert sites, verb
        for number, site in enumerate(sites):
            place = tmp_path / f"{verb}-{number}"
            shutil.copytree(first, place)
            result = child(place, url, verb, *site.split())
            assert result.returncode == KILLED, (site, result.stderr)
            killed += 1
            after = succeeded(place, url, "state")
            assert (after["contents"], after["verified"]) == (before["contents"], True), site
            succeeded(place, url, verb)
            assert succeeded(place, url, "state")["contents"] == before["contents"]
            shutil.rmtree(place)
        first = rehearsal
    record_result("engine-kills-files", kills=killed)


@pytest.fixture
def small_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file system of its own, on which servers that are started now keep their data too."""
    place = Path(tempfile.mkdtemp(prefix="dr-disk-"))  # pytest's are closed to other users
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", str(place)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("file systems cannot be mounted here")
    place.chmod(0o755)
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)
    place.rmdir()


def filled(disk: Path, *, free_kib: int) -> Path:
    """A file that leaves so much of a disk."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(b"0" * 2**16):
            pass
    with filler.open("r+b") as file:
        file.truncate(max(0, filler.stat().st_size - free_kib * 1024))
    return filler


def verbs_of(engine: str) -> tuple[str, ...]:
    """Operations to interrupt; with an engine's own files also keeping and restoring those."""
    return ("backup", "restore", *(("keep", "files") if engine == "lancedb" else ()))


@pytest.mark.long
@pytest.mark.small_disk
@pytest.mark.parametrize("engine", KEPT)
def test_a_full_disk_leaves_the_served_collection_alone(engine: str, small_disk: Path) -> None:
    with url_on(engine) as url:
        succeeded(small_disk, url, "prepare")
        before, failed = succeeded(small_disk, url, "state")["contents"], 0
        for verb, free_kib in product(verbs_of(engine), FREE_KIB):
            filler = filled(small_disk, free_kib=free_kib)
            result = child(small_disk, url, verb)
            filler.unlink()
            failed += result.returncode != 0
            require_said(engine, result)
            state = child(small_disk, url, "state")
            if engine in DAMAGED_BY_A_FULL_DISK and state.returncode:
                url = f"{DIRECTORIES[engine]}:another"
                succeeded(small_disk, url, "restore")
                state = child(small_disk, url, "state")
            after = json.loads(state.stdout.splitlines()[-1])
            assert (after["contents"], after["verified"]) == (before, True)
        assert failed
        succeeded(small_disk, url, "restore")
        assert succeeded(small_disk, url, "state")["contents"] == before
        record_result(f"engine-full-disk-{engine}", failed=failed, free_kib=FREE_KIB)


DAMAGED_BY_A_FULL_DISK = frozenset(["milvus"])
"""milvus-lite may not read its directory again after the disk was full: that the collection is lost
is found, and it comes back in another directory."""


def require_said(engine: str, result: "subprocess.CompletedProcess[str]") -> None:
    """A failure is this package's own error, or the end of a process whose engine writes to mapped
    files and is stopped by the system (SIGBUS)."""
    last = result.stderr.strip().splitlines() or [""]
    stopped = engine == "qdrant" and result.returncode == -signal.SIGBUS
    assert result.returncode == 0 or stopped or "dr_pipelines.errors." in last[-1], last[-12:]


@contextmanager
def url_on(engine: str) -> Iterator[str]:
    """Where a store of an engine is, whose data is on the small disk."""
    if engine != "pgvector":
        yield f"{DIRECTORIES[engine]}:store"
        return
    with running_postgres(18, max_wal_size="64MB", shared_buffers="32MB") as server:
        yield server.url(server.create_database())
