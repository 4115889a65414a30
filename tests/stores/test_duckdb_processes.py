"""One directory, several processes: waiting, giving up, and being killed in the middle."""

import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from dr_pipelines.errors import Damaged, Unavailable
from dr_pipelines.model.query import Mode, Query
from dr_pipelines.stores.duckdb.store import duckdb_store
from dr_pipelines.testing.store_samples import (
    SPEC,
    contents,
    document,
    expected,
    record,
    table,
    vector,
)

NAME = SPEC.name
PRELUDE = """
import os, sys
from dr_pipelines.stores.duckdb.store import duckdb_store
from dr_pipelines.testing.store_samples import SPEC, document, record, table
store = duckdb_store(sys.argv[1], wait_seconds=30)
"""


def _child(directory: Path, script: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(script), str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _line(child: "subprocess.Popen[str]") -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def _finish(child: "subprocess.Popen[str]") -> None:
    child.communicate("\n", timeout=60)
    assert child.returncode == 0


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    store = duckdb_store(tmp_path)
    store.create(SPEC)
    store.write(NAME, table(*document("a", chunks=3)))
    return tmp_path


HOLDS = """
scan = store.scan(SPEC.name, batch_rows=1)
next(scan)
print("held", flush=True)
sys.stdin.readline()
scan.close()
"""


def test_a_collection_held_elsewhere_is_unavailable_after_the_wait(directory: Path) -> None:
    holder = _child(directory, HOLDS)
    assert _line(holder) == "held"
    store = duckdb_store(directory, wait_seconds=0.2)
    for call in (
        lambda: store.status(NAME),
        lambda: store.write(NAME, table(record("b"))),
        lambda: next(store.scan(NAME)),
        lambda: store.drop(NAME),
    ):
        with pytest.raises(Unavailable) as error:
            call()
        message = str(error.value)
        assert repr(NAME) in message
        assert str(directory / f"{NAME}.duckdb") in message
        assert "0.2 s" in message
        assert str(holder.pid) in message
    _finish(holder)
    assert contents(store) == expected(*document("a", chunks=3))


def test_a_collection_that_is_let_go_in_time_is_used(directory: Path) -> None:
    holder = _child(directory, HOLDS.replace("sys.stdin.readline()", "import time; time.sleep(1)"))
    assert _line(holder) == "held"
    store = duckdb_store(directory, wait_seconds=30)
    store.write(NAME, table(), replaces=["a"])
    assert contents(store) == []
    _finish(holder)


def test_processes_read_side_by_side(directory: Path) -> None:
    reader = _child(
        directory,
        """
        with store.driver.files.reading(SPEC.name):
            print("reads", flush=True)
            sys.stdin.readline()
        """,
    )
    assert _line(reader) == "reads"
    store = duckdb_store(directory, wait_seconds=0)
    assert store.status(NAME).records == 3
    assert len(store.search(NAME, Query(vector=vector(1, 0, 0)), limit=9)) == 3
    with pytest.raises(Unavailable):
        store.write(NAME, table(record("b")))
    _finish(reader)


def test_a_killed_writer_leaves_every_write_whole_or_absent(directory: Path) -> None:
    writer_script = """
    store.build_index(SPEC.name)
    n = 0
    while True:
        n += 1
        rows = [record("k", chunk, text=f"version {n}", year=n) for chunk in range(400)]
        store.write(SPEC.name, table(*rows[: 200 + n % 200]), replaces=["k"])
        print(n, flush=True)
    """
    last = 0
    for kill_after, delay in ((1, 0.0), (2, 0.02), (1, 0.05), (3, 0.1)):
        writer = _child(directory, writer_script)
        for _ in range(kill_after):
            acknowledged = int(_line(writer))
        time.sleep(delay)  # somewhere in a later write
        writer.send_signal(signal.SIGKILL)
        rest, _ = writer.communicate(timeout=60)
        acknowledged = int((rest.split() or [str(acknowledged)])[-1])
        store = duckdb_store(directory, wait_seconds=30)
        rows = list(store.scan(NAME, columns=["year", "document_id"]))
        years = {r["year"] for b in rows for r in b.to_pylist() if r["document_id"] == "k"}
        count = sum(r["document_id"] == "k" for b in rows for r in b.to_pylist())
        (last,) = years
        assert last in (acknowledged, acknowledged + 1)
        assert count == 200 + last % 200
        hits = store.search(NAME, Query(mode=Mode.KEYWORD, text="version"), limit=1000)
        assert [hit.text for hit in hits] == [f"version {last}"] * count
        assert store.status(NAME).records == count + 3
    store.write(NAME, table(), replaces=["k"])
    assert contents(store) == expected(*document("a", chunks=3))


DIES_AT_EVERY_STEP = """
from contextlib import contextmanager
import itertools, signal

class Dying:
    # kills the process before the step of that number
    def __init__(self, connection, last):
        self.connection, self.left = connection, last

    def __getattr__(self, name):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return getattr(self.connection, name)

def write_and_die(step):
    writing = store.driver.files.writing

    @contextmanager
    def dying(name):
        with writing(name) as connection:
            yield Dying(connection, step)

    store.driver.files.writing = dying
    store.write(SPEC.name, table(record("a", 1, text="new"), record("b")), replaces=["a"])

for step in itertools.count(1):
    child = os.fork()
    if child == 0:
        write_and_die(step)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print("survived" if status == 0 else "killed", flush=True)
    sys.stdin.readline()
    if status == 0:
        break
"""


def test_a_writer_killed_at_any_step_has_written_nothing(directory: Path) -> None:
    store = duckdb_store(directory)
    store.build_index(NAME)
    writer = _child(directory, DIES_AT_EVERY_STEP)
    assert writer.stdin is not None
    kills = 0
    while _line(writer) == "killed":
        kills += 1
        assert contents(store) == expected(*document("a", chunks=3))
        hits = store.search(NAME, Query(mode=Mode.KEYWORD, text="chunk new"), limit=9)
        assert [hit.text for hit in hits] == [f"chunk {n} of a" for n in range(3)]
        writer.stdin.write("\n")
        writer.stdin.flush()
    _finish(writer)
    assert kills > 8
    assert contents(store) == expected(record("a", 1, text="new"), record("b"))


def test_a_log_left_by_a_killed_writer_is_read(directory: Path) -> None:
    """Reading only, and then again when the file may be written."""
    writer = _child(
        directory,
        """
        import signal
        with store.driver.files.holding(SPEC.name) as connection:
            store.write(SPEC.name, table(record("b")))
            os.kill(os.getpid(), signal.SIGKILL)
        """,
    )
    writer.communicate(timeout=60)
    assert (directory / f"{NAME}.duckdb.wal").stat().st_size > 0
    store = duckdb_store(directory, wait_seconds=1)
    assert store.status(NAME).records == 4
    store.drop(NAME)
    store.create(SPEC)
    assert (contents(store), store.collections()) == ([], [NAME])


def test_a_collection_whose_creation_was_killed_does_not_exist(tmp_path: Path) -> None:
    creator = _child(
        tmp_path,
        """
        import dr_pipelines.stores.duckdb.store as module
        module.sync_file = lambda path: os._exit(9)
        store.create(SPEC)
        """,
    )
    creator.communicate(timeout=60)
    assert creator.returncode == 9
    assert len(list(tmp_path.glob(f".{NAME}.*"))) == 1
    store = duckdb_store(tmp_path)
    assert store.collections() == []
    store.create(SPEC)
    assert contents(store) == []


def test_a_file_that_is_not_a_collection_is_damaged(directory: Path) -> None:
    (directory / "other.duckdb").write_bytes(b"not a database" * 1000)
    store = duckdb_store(directory)
    with pytest.raises(Damaged, match="other"):
        store.describe("other")
    assert contents(store) == expected(*document("a", chunks=3))


def test_a_drop_waits_for_scans_of_the_same_process(directory: Path) -> None:
    store = duckdb_store(directory, wait_seconds=0.1)
    scan = store.scan(NAME, batch_rows=1)
    next(scan)
    with pytest.raises(Unavailable, match="this process"):
        store.drop(NAME)
    assert sum(len(batch) for batch in scan) == 2
    store.drop(NAME)
    assert store.collections() == []


def test_two_stores_of_one_process_wait_for_each_other(directory: Path) -> None:
    first, second = (duckdb_store(directory, wait_seconds=0.1) for _ in range(2))
    scan = first.scan(NAME, batch_rows=1)
    next(scan)
    with pytest.raises(Unavailable, match=r"in use for 0\.1 s"):
        second.write(NAME, table(record("b")))
    scan.close()  # type: ignore[attr-defined]
    second.write(NAME, table(record("b")))
    assert first.status(NAME).records == 4


def test_threads_write_one_after_the_other(directory: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    store = duckdb_store(directory)
    store.build_index(NAME)
    with ThreadPoolExecutor(4) as pool:
        writes = [pool.submit(store.write, NAME, table(record(f"t{n}"))) for n in range(12)]
        counts = [pool.submit(store.status, NAME) for _ in range(12)]
    for future in (*writes, *counts):
        future.result()  # type: ignore[attr-defined]
    assert store.status(NAME).records == 15


def test_no_descriptor_and_no_file_is_left_behind(directory: Path) -> None:
    store = duckdb_store(directory)
    open_before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        next(store.scan(NAME, batch_rows=1))
        store.write(NAME, table(record("b")))
        store.promote(NAME, alias="handbook")
    assert len(list(Path("/proc/self/fd").iterdir())) == open_before
    assert {p.name for p in directory.iterdir()} <= {
        ".lock",
        ".spill",
        "handbook.alias",
        f"{NAME}.duckdb",
    }
