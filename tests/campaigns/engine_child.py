"""A process that does one thing to a collection in an engine, and may end in the middle of it.

python -m tests.campaigns.engine_child DIRECTORY URL VERB [CALL MOMENT NUMBER]
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from uuid6 import uuid7

from dr_pipelines.backup.native import keep_native
from dr_pipelines.blobs.local import LocalBlobStore
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.components import StorePolicy
from dr_pipelines.model.recovery import Route
from dr_pipelines.project import adapters
from dr_pipelines.protocols import (
    NativeFiles,
    NativeVersion,
    OpenFile,
    VectorStore,
)
from dr_pipelines.repository.history import History
from dr_pipelines.repository.lease import FileLease
from dr_pipelines.repository.witness import FileWitness
from dr_pipelines.testing.store_faults import Hook, Moment, RecordingStore
from dr_pipelines.testing.world import Process, World, contents
from tests.campaigns.engine_story import SPEC, history

KILLED = 77
INTERRUPTED = ("backup", "restore", "keep", "files")
READY = "ready"
"""Said when a verb starts: who kills at a random moment counts from here."""


def main(directory: Path, url: str, verb: str, *site: str) -> int:
    """Carry out a verb; with a site, end at that call instead."""
    store = adapters.open_store(StorePolicy(url=url), adapters.PolicyContext(directory))
    calls = list[str]()
    noted = noting(calls, site)
    process = opened(directory, RecordingStore(store, noted))
    native = adapters.open_native(store)
    files = RecordedFiles(native, noted) if native else None
    if verb in INTERRUPTED:
        print(READY, flush=True)
    match verb:
        case "prepare":
            assert process.ingest().unapplied is None
            assert process.backup().equal
        case "backup":
            assert process.backup().equal
        case "restore":
            done = process.restore("log:3", switch=True)
            assert done.missing == ()
        case "keep":
            assert files is not None
            assert process.backup().equal
            keep_native(History(process.repository, "notes"), store=store, native=files)
        case "files":
            done = process.restore(route=Route.NATIVE, switch=True, native=files)
            assert done.missing == ()
        case "state":
            shown = {k: repr(v) for k, v in contents(store, "notes").items()}
            served = store.aliases()["notes"]
            print(json.dumps({"served": served, "contents": shown, "verified": sound(process)}))
    if verb in INTERRUPTED:
        print(json.dumps(calls))
    return 0


def noting(calls: list[str], site: tuple[str, ...]) -> Hook:
    """Notes calls, and ends the process at one of them."""
    seen = dict[tuple[str, Moment], int]()

    def hook(call: str, _: str, moment: Moment, __: int) -> None:
        seen[call, moment] = seen.get((call, moment), 0) + 1
        calls.append(f"{call} {moment} {seen[call, moment]}")
        if (call, moment, str(seen[call, moment])) == site:
            sys.stdout.flush()
            os._exit(KILLED)

    return hook


@dataclass(frozen=True)
class RecordedFiles:
    """An engine's files; `hook` is called before and after every call and every file."""

    files: NativeFiles
    hook: Hook

    def native_files(self, name: str) -> NativeVersion:
        with self._called("native_files", name):
            return self.files.native_files(name)

    @contextmanager
    def open_native(self, name: str, path: str) -> Iterator[IO[bytes]]:
        with self._called("open_native", path), self.files.open_native(name, path) as file:
            yield file

    def restore_native(
        self,
        name: str,
        version: NativeVersion,
        *,
        read: OpenFile,
        spec: CollectionSpec | None = None,
    ) -> None:
        @contextmanager
        def recorded(path: str) -> Iterator[IO[bytes]]:
            with self._called("read", path), read(path) as file:
                yield file

        with self._called("restore_native", name):
            self.files.restore_native(name, version, read=recorded, spec=spec)

    @contextmanager
    def _called(self, call: str, name: str) -> Iterator[None]:
        self.hook(call, name, "before", 0)  # type: ignore[arg-type]
        yield
        self.hook(call, name, "after", 0)  # type: ignore[arg-type]


def opened(directory: Path, store: VectorStore) -> Process:
    world = World(
        history(),
        LocalBlobStore(directory / "repository"),
        store,
        FileWitness(directory / "heads"),
        lambda: str(uuid7()),
        lease=FileLease(directory / "leases"),
    )
    process = world.process()
    return replace(process, lineage=replace(process.lineage, spec=SPEC))


def sound(process: Process) -> bool:
    return process.verify(level=3).sound


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], *sys.argv[4:]))
