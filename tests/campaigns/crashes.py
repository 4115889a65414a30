"""Ending processes at chosen calls: directories to copy, children to fork, what they were doing."""

import hashlib
import itertools
import os
import random
import re
import shutil
import signal
import subprocess
import threading
import traceback
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path

from uuid6 import uuid7

from dr_pipelines.blobs.local import LocalBlobStore
from dr_pipelines.ingestion.schema_change import accept_schema
from dr_pipelines.live.live import Live
from dr_pipelines.model.recovery import Route
from dr_pipelines.repository.history import History
from dr_pipelines.repository.lease import FileLease
from dr_pipelines.repository.witness import FileWitness
from dr_pipelines.stores.duckdb.store import duckdb_store
from dr_pipelines.testing.blob_faults import Recording
from dr_pipelines.testing.store_faults import RecordingStore
from dr_pipelines.testing.world import (
    START,
    Contents,
    ListedSource,
    Process,
    World,
    table_of,
)
from tests.campaigns.results import CAMPAIGN

CRASHED = 77
FAILED = 78
STAGED = ("documents", "chunks", "embeddings", "embeddings index", "embeddings vectors", "canaries")
CHANGING = ("create", "write", "build_index", "promote", "drop")
DAYS = (START.date(), (START + timedelta(days=1)).date())

VERBS: dict[str, Callable[[Process], object]] = {
    "ingest": lambda p: p.ingest(),
    "backup": lambda p: p.backup(),
    "compact": lambda p: p.compact(),
    "replay": lambda p: p.replay(DAYS[0], DAYS[CAMPAIGN.pick(short=0, long=1)]),
    "load": lambda p: p.restore("log:3", switch=True),
    "schema": lambda p: change_schema(p),
    "reembed": lambda p: p.restore("log:3", route=Route.REPLAY, switch=True),
}


def change_schema(process: Process) -> object:
    """`dr ingest --accept-schema`, after the policy declared one field fewer."""
    fields = process.lineage.spec.fields[:1]
    spec = process.lineage.spec.model_copy(update={"fields": fields})
    return accept_schema(
        replace(process.lineage, spec=spec),
        "narrow",
        history=History(process.repository, replace(process.lineage, spec=spec).collection),
        live=Live(process.store, process.lease, replace(process.lineage, spec=spec).collection),
    )


@dataclass(frozen=True, slots=True)
class Site:
    """A call of a store, by its place in a run: `number` counts all calls from 1."""

    store: str
    call: str
    kind: str
    moment: str
    number: int

    @property
    def place(self) -> tuple[str, str, str, str]:
        return self.store, self.call, self.kind, self.moment


class Sites:
    """Hears of every call of both stores, in one count, and does something at chosen ones.

    Calls of other threads wait meanwhile, so nothing that depends on a call happens before its
    `after`.
    """

    def __init__(self, *chosen: Site, at: Callable[[Site], object] = lambda _: None) -> None:
        self.seen: list[Site] = []
        self._left = list(chosen)
        self._at = at
        self._calls = 0
        self._lock = threading.Lock()

    def layered(self, process: Process) -> Process:
        blobs = Recording(process.repository.blobs, hook=self._blobs)
        repository = replace(process.repository, blobs=blobs)
        return replace(
            process, repository=repository, store=RecordingStore(process.store, self._store)
        )

    def _blobs(self, call: str, key: str, moment: str, number: int) -> None:
        self._hear("blobs", call, kind_of(key), moment)

    def _store(self, call: str, name: str, moment: str, number: int) -> None:
        self._hear("store", call, "", moment)

    def _hear(self, store: str, call: str, kind: str, moment: str) -> None:
        with self._lock:
            self._calls += moment == "before"
            self.seen.append(Site(store, call, kind, moment, self._calls))
            # at the call, or at the next one where threads overtook each other
            here = [s for s in self._left if self._calls >= s.number and moment == s.moment]
            for site in here:
                self._left.remove(site)
                self._at(site)


def kind_of(key: str) -> str:
    """The kind of an object, by its name."""
    beside = " index" if key.endswith(".index.parquet") else ""
    beside = " vectors" if key.endswith(".arrow") else beside
    parts = key.split("/")
    name = parts[2] if len(parts) > 2 and parts[1] == "checkpoints" else "".join(parts[1:2])
    return re.sub(r"\d+", "", name) + beside


def numbered_ids() -> Callable[[], str]:
    """Ids that are the same in each process that counts: for one of them alone."""
    numbers = itertools.count()
    return lambda: f"{next(numbers):032x}"


def contents_of(directory: Path) -> str:
    """A hash over the names and bytes of all files in a directory."""
    whole = hashlib.sha256()
    for path in sorted(path for path in directory.rglob("*") if path.is_file()):
        data = path.read_bytes()
        whole.update(f"{path.relative_to(directory)}\0{len(data)}\0".encode() + data)
    return whole.hexdigest()


def open_world(directory: Path, *, new_id: Callable[[], str] = lambda: str(uuid7())) -> World:
    """The world of a process on this machine; the same source for everybody."""
    return World(
        source=world_told(),
        blobs=LocalBlobStore(directory / "repository"),
        store=duckdb_store(directory / "stores", wait_seconds=20),
        witness=FileWitness(directory / "heads"),
        lease=FileLease(directory / "leases", wait_seconds=20),
        new_id=new_id,
    )


def world_told(days: int = CAMPAIGN.pick(short=3, long=4)) -> ListedSource:
    """Days of upserts, a deletion, a return and an empty document."""
    source = ListedSource()
    for day in range(days):
        at = START + timedelta(days=day)
        source.upsert("a", f"a of day {day}, in some pieces", at=at, title="A")
        if day in (1, 3):
            source.delete("b", at=at)
        else:
            source.upsert("b", f"b of day {day}", at=at)
        source.upsert(f"c{day}", "" if day == 2 else "stays", at=at)
    return source


def build_base(directory: Path) -> None:
    """Two days ingested, an edit recorded, another edit not recorded yet."""
    world = open_world(directory)
    process = world.process()
    process.ingest(last=DAYS[1])
    edit(world, "c0", "by hand")
    process.backup()
    edit(world, "c1", "by another hand")


def edit(world: World, document: str, text: str) -> None:
    physical = world.store.aliases()[world.collection]
    (row,) = next(iter(world.store.scan(physical, documents=[document]))).to_pylist()
    changed = tuple({**row, "text": text}.values())
    world.store.write(physical, table_of((changed,)), replaces=[document])


def sites_to_end_at(
    name: str, seen: Sequence[Site], *, every: bool, draw: random.Random
) -> list[Site]:
    """Every call of a verb, before and after it; or each place once: after a call only if it
    changes something, for otherwise it is the same as before the next one. A schema's change reads
    and leaves checkpoints as `ingest` does, which tries those."""
    if every:
        return list(seen)
    places: dict[tuple[str, str, str, str], list[Site]] = {}
    for site in seen:
        if name == "schema" and site.kind in STAGED and site.moment == "before":
            continue
        if site.moment == "before" or site.call in CHANGING:
            places.setdefault(site.place, []).append(site)
    return [draw.choice(sites) for sites in places.values()]


def in_a_child(work: Callable[[], object]) -> int:
    """Run something in a forked child; its exit status, or FAILED with the traceback on stderr."""
    child = os.fork()
    if child == 0:
        status = FAILED
        try:
            work()
            status = 0
        except BaseException:  # noqa: BLE001 - the child ends here, whatever it was
            traceback.print_exc()
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert not os.WIFSIGNALED(status), signal.Signals(os.WTERMSIG(status))
    return os.WEXITSTATUS(status)


def crashes(
    verb: Callable[[Process], object],
    base: Path,
    target: Path,
    chosen: Sequence[Site],
    *,
    ended: Collection[Site],
) -> Iterator[tuple[Site, Path]]:
    """A directory for each site, as a process that ends there leaves it; gone at the next step.

    At sites in `ended` a process of its own ends. At the others the directory is copied while one
    process runs: the end of a process changes no file and a copy has none of its locks, so both are
    the same. Raises `AssertionError` for a site that was not reached.
    """
    copies = target.with_name(f"{target.name}-copies")
    copied(base, target)
    numbers = {site: str(number) for number, site in enumerate(chosen) if site not in ended}
    sites = Sites(*numbers, at=lambda site: _copied_aside(target, copies / numbers[site]))
    if numbers:
        verb(sites.layered(open_world(target, new_id=numbered_ids()).process()))
    for site in chosen:
        if site in ended:
            assert in_a_child(partial(_end_at, site, verb, copied(base, target))) == CRASHED, site
        else:
            shutil.rmtree(target)
            (copies / numbers[site]).rename(target)
        yield site, target


def _end_at(site: Site, verb: Callable[[Process], object], directory: Path) -> None:
    sites = Sites(site, at=lambda _: os._exit(CRASHED))
    verb(sites.layered(open_world(directory, new_id=numbered_ids()).process()))


def _copied_aside(directory: Path, copy: Path) -> None:
    """Copied by another process: closing a file here would end this process's locks on it."""
    copy.parent.mkdir(exist_ok=True)
    subprocess.run(["cp", "--recursive", directory, copy], check=True)


@dataclass(frozen=True)
class Outcome:
    kinds: tuple[str, ...]
    folded: Contents
    served: Contents


def outcome(world: World) -> Outcome:
    process = world.process()
    log = process.repository.log(world.collection)
    kinds = tuple(entry.kind for entry, _ in log.entries())
    return Outcome(kinds, process.folded(), world.served())


def copied(base: Path, target: Path) -> Path:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(base, target)
    return target
