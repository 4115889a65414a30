"""Several processes, processes that are killed, and servers that go away."""

import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dr_pipelines.errors import Unavailable
from dr_pipelines.model.collection import CollectionSpec, Metric, Vector
from dr_pipelines.model.query import Query
from dr_pipelines.protocols import VectorStore
from dr_pipelines.stores.chroma import open_store
from dr_pipelines.testing.store_samples import (
    SPEC,
    contents,
    document,
    expected,
    record,
    table,
    vector,
)
from tests.servers.chroma import ChromaServer, running_chroma
from tests.servers.cutting_proxy import CuttingProxy

NEXT = SPEC.physical("handbook@20260202T120000Z", origin="next")
POINTS = np.random.default_rng(1).normal(size=(300, 3)).astype(np.float32).tolist()
RECORDS = [record(f"d{n // 2:03d}", n % 2, embedding=point) for n, point in enumerate(POINTS)]

WRITER = """
import sys
from pathlib import Path
from dr_pipelines.stores.chroma import open_store
from tests.stores.test_chroma_faults import NEXT, RECORDS, rebuild
store = open_store(sys.argv[1], base=Path())
rebuild(store, after_write=lambda number: print(number, flush=True))
"""

TURNS = """
import sys
from pathlib import Path
from dr_pipelines.stores.chroma import open_store
from dr_pipelines.testing.store_samples import SPEC, contents, record, table
store = open_store(sys.argv[1], base=Path())
for line in sys.stdin:
    number = int(line)
    store.write(SPEC.name, table(*(record(f"n{number}", n) for n in range(40))))
    print(len(contents(store)), flush=True)
"""


def rebuild(store: VectorStore, *, after_write: Any = None) -> None:
    """A restore beside the collection that is served."""
    store.create(NEXT)
    for start in range(0, len(RECORDS), 10):
        store.write(NEXT.name, table(*RECORDS[start : start + 10]))
        if after_write is not None:
            after_write(start)
    store.build_index(NEXT.name)


def _serving(store: VectorStore) -> None:
    store.create(SPEC)
    store.write(SPEC.name, table(*document("old", chunks=3)))
    store.build_index(SPEC.name)
    store.promote(SPEC.name, alias="handbook")


def _serves_the_old_one(store: VectorStore) -> None:
    assert store.aliases() == {"handbook": SPEC.name}
    query = Query(vector=vector(1, 0, 0), exact=False)
    documents = {hit.document_id for hit in store.search("handbook", query, limit=9)}
    assert documents == {"old"}


def _completes(store: VectorStore) -> None:
    rebuild(store)
    assert store.describe(NEXT.name).origin == "next"
    got = contents(store, NEXT.name)
    assert got == expected(*RECORDS, tolerance=store.vector_tolerance)
    store.promote(NEXT.name, alias="handbook")
    query = Query(vector=vector(1, 0, 0), exact=False)
    assert len(store.search("handbook", query, limit=300)) >= 0.98 * len(RECORDS)  # of a graph


def _started(program: str, url: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", program, url],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def child() -> Iterator[list["subprocess.Popen[str]"]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


def test_processes_take_turns_on_a_directory(
    tmp_path: Path, child: list["subprocess.Popen[str]"]
) -> None:
    """Two that have it open for good destroy it: an index is written over the other's."""
    url = f"chroma+local:{tmp_path}"
    store = open_store(url, base=Path())
    sync = {"configuration": {"sync_threshold": 20, "batch_size": 10}}
    store.create(SPEC.model_copy(update={"engine": {"chroma": sync}}))
    child.append(_started(TURNS, url))
    written: list[dict[str, Any]] = []
    assert child[0].stdin is not None
    assert child[0].stdout is not None
    for number in range(0, 10, 2):
        rows = [record(f"n{number}", n) for n in range(40)]
        store.write(SPEC.name, table(*rows))
        child[0].stdin.write(f"{number + 1}\n")
        child[0].stdin.flush()
        written += rows + [record(f"n{number + 1}", n) for n in range(40)]
        assert int(child[0].stdout.readline()) == len(written)
        assert contents(store) == expected(*written, tolerance=store.vector_tolerance)
    query = Query(vector=vector(1, 0, 0), exact=False)
    assert len(store.search(SPEC.name, query, limit=100)) == 100


def test_a_process_that_is_killed_leaves_nothing_half_done(
    tmp_path: Path, child: list["subprocess.Popen[str]"]
) -> None:
    url = f"chroma+local:{tmp_path}"
    store = open_store(url, base=Path())
    _serving(store)
    child.append(_started(WRITER, url))
    assert child[0].stdout is not None
    after = 9
    for _ in range(after):
        child[0].stdout.readline()
    time.sleep(0.01)
    child[0].send_signal(signal.SIGKILL)
    child[0].wait()
    _serves_the_old_one(store)
    ids = {row["id"] for row in contents(store, NEXT.name, columns=["id"])}
    assert len(ids) >= 10 * after
    assert ids <= {row["id"] for row in RECORDS}
    _completes(store)


def test_a_server_that_is_killed_leaves_nothing_half_done(tmp_path: Path) -> None:
    with running_chroma(tmp_path / "server") as server:
        store = open_store(server.url, base=Path())
        _serving(store)

        def kill(start: int) -> None:
            if start == 50:
                threading.Timer(0.02, server.kill).start()

        with pytest.raises(Unavailable):
            rebuild(store, after_write=kill)
        with pytest.raises(Unavailable, match="running"):
            store.describe("handbook")
        server.start()  # the connections that the store keeps are dead
        _serves_the_old_one(store)
        ids = {row["id"] for row in contents(store, NEXT.name, columns=["id"])}
        assert {row["id"] for row in RECORDS[:60]} <= ids <= {row["id"] for row in RECORDS}
        _completes(store)


def test_a_call_whose_answer_is_lost_is_repeated(chroma_server: ChromaServer) -> None:
    with CuttingProxy(f"http://127.0.0.1:{chroma_server.port}") as proxy:
        url = proxy.endpoint.replace("http", "chroma", 1)
        store = open_store(f"{url}/?database=d{uuid.uuid4().hex}", base=Path())
        _serving(store)
        proxy.cut_next_get_after = 20
        assert store.aliases() == {"handbook": SPEC.name}
        store.create(NEXT)
        proxy.cut_next_put = True  # that which moves the alias
        store.promote(NEXT.name, alias="handbook")
        assert not proxy.cut_next_put
        assert store.aliases() == {"handbook": NEXT.name}


def test_a_scan_of_a_server_gives_whole_records_while_clients_write(
    chroma_server: ChromaServer,
) -> None:
    """Chroma reads metadata and vectors one after the other: alone, an answer may mix versions."""
    url = f"{chroma_server.url}?database=d{uuid.uuid4().hex}"
    store, other = open_store(url, base=Path()), open_store(url, base=Path())
    spec = CollectionSpec(name="busy", vectors=(Vector(dimension=2, metric=Metric.L2),))
    store.create(spec)

    def rows(version: int) -> list[dict[str, Any]]:
        shown = {"extra": str(version), "text": str(version), "uri": str(version)}
        return [record("b", n, embedding=[float(version), float(n)], **shown) for n in range(30)]

    store.write("busy", table(*rows(0), spec=spec))
    done = threading.Event()

    def write() -> None:
        version = 0
        while not done.is_set():
            version += 1
            other.write("busy", table(*rows(version), spec=spec))

    writer = threading.Thread(target=write)
    writer.start()
    seen = set[float]()
    try:
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            for batch in store.scan("busy"):
                for row in batch.to_pylist():
                    versions = {float(row[name]) for name in ("text", "uri", "extra")}
                    assert versions == {row["embedding"][0]}
                    seen |= versions
    finally:
        done.set()
        writer.join()
    assert len(seen) > 3


@pytest.mark.parametrize("remote", [False, True])
def test_a_reader_never_misses_a_collection_that_is_dropped_after_a_promotion(
    tmp_path: Path, chroma_server: ChromaServer, remote: bool
) -> None:
    database = f"d{uuid.uuid4().hex}"
    place = chroma_server.url if remote else f"chroma+local:{tmp_path}"
    reader, writer = (open_store(f"{place}?database={database}", base=Path()) for _ in range(2))
    _serving(writer)
    done, seen = threading.Event(), list[Any]()

    def read() -> None:
        query = Query(vector=vector(1, 0, 0), exact=False)
        while not done.is_set():
            try:
                seen.append(len(reader.search("handbook", query, limit=5)))
            except Exception as error:  # noqa: BLE001 - shown by the assertion below
                seen.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        for number in range(8):
            spec = SPEC.physical(f"handbook@{number}")
            writer.create(spec)
            writer.write(spec.name, table(*document("new", chunks=3)))
            old = writer.aliases()["handbook"]
            writer.promote(spec.name, alias="handbook")
            writer.drop(old)
    finally:
        done.set()
        thread.join()
    assert set(seen) == {3}


def test_threads_share_a_store(tmp_path: Path) -> None:
    store = open_store(f"chroma+local:{tmp_path}", base=Path())
    store.create(SPEC)
    failed: list[BaseException] = []

    def work(number: int) -> None:
        try:
            rows = [record(f"t{number}", n) for n in range(20)]
            store.write(SPEC.name, table(*rows))
            assert len(contents(store, documents=[f"t{number}"])) == 20
        except BaseException as error:  # noqa: BLE001 - shown by the assertion below
            failed.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert store.status(SPEC.name).records == 120
    assert np.isfinite(store.status(SPEC.name).size_bytes)
