"""The memory of this machine, and the right of one process on it to write to a live store."""

import errno
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from dr_pipelines.errors import Damaged, Unavailable
from dr_pipelines.repository.lease import FileLease
from dr_pipelines.repository.log import Witness
from dr_pipelines.repository.witness import FileWitness
from dr_pipelines.testing.memory_witness import MemoryWitness


@pytest.fixture(params=["memory", "file"])
def witness(request: pytest.FixtureRequest, tmp_path: Path) -> Witness:
    return MemoryWitness() if request.param == "memory" else FileWitness(tmp_path / "state")


def test_a_witness_remembers_the_newest_head_of_each_collection(witness: Witness) -> None:
    assert witness.newest("books") is None
    witness.record("books", 7, "seven")
    witness.record("films", 1, "one")
    witness.record("books", 8, "eight")
    assert (witness.newest("books"), witness.newest("films")) == ((8, "eight"), (1, "one"))


def test_a_witness_ignores_an_older_head_and_another_of_the_same_number(witness: Witness) -> None:
    witness.record("books", 7, "seven")
    witness.record("books", 6, "six")
    witness.record("books", 7, "another seven")
    assert witness.newest("books") == (7, "seven")


def test_a_file_witness_outlives_its_process_and_leaves_nothing_else(tmp_path: Path) -> None:
    FileWitness(tmp_path).record("books", 7, "seven")
    FileWitness(tmp_path).record("books", 8, "eight")
    assert FileWitness(tmp_path).newest("books") == (8, "eight")
    assert [path.name for path in tmp_path.iterdir()] == ["books.json"]


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", "null", "7", '{"number":"x","sha256":"s"}', '{"number":1}', "\udcff"]
)
def test_a_witness_that_cannot_be_read_is_damaged_and_says_what_to_do(
    tmp_path: Path, text: str
) -> None:
    (tmp_path / "books.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(Damaged, match=r"books\.json is not readable: remove it if you are sure"):
        FileWitness(tmp_path).newest("books")
    with pytest.raises(Damaged):
        FileWitness(tmp_path).record("books", 9, "nine")


def test_a_witness_that_cannot_be_written_says_so_and_goes_on_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    witness = FileWitness(tmp_path)
    witness.record("books", 7, "seven")
    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", full)
        with pytest.raises(
            Unavailable, match=r"No space left on device\). Entry 8 of 'books' is in"
        ):
            witness.record("books", 8, "eight")
    assert witness.newest("books") == (7, "seven")
    witness.record("books", 8, "eight")
    assert [path.name for path in tmp_path.iterdir()] == ["books.json"]


def test_threads_of_one_process_do_not_trip_over_each_other(tmp_path: Path) -> None:
    start = threading.Barrier(4)

    def record() -> None:
        start.wait()
        for number in range(1, 40):
            FileWitness(tmp_path).record("books", number, f"{number}")

    with ThreadPoolExecutor(4) as pool:
        recording = [pool.submit(record) for _ in range(4)]
    assert [future.result() for future in recording] == [None] * 4
    newest = FileWitness(tmp_path).newest("books")
    assert newest is not None
    assert newest[1] == f"{newest[0]}"


# Leases

HOLD = """
import sys
from pathlib import Path
from dr_pipelines.repository.lease import FileLease
with FileLease(Path(sys.argv[1]))(sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_process_holding(directory: Path, collection: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(directory), collection],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_one_process_at_a_time_holds_a_lease(tmp_path: Path) -> None:
    impatient = FileLease(tmp_path, wait_seconds=0)
    with another_process_holding(tmp_path, "books") as process:
        with (
            pytest.raises(
                Unavailable, match=r"another process has been writing to 'books' for 0 s"
            ),
            impatient("books"),
        ):
            pytest.fail("two processes hold the lease")
        with impatient("films"):
            pass  # another collection
        process.stdin.close()  # type: ignore[union-attr]
        assert process.wait() == 0
        with impatient("books"):
            pass


def test_the_kernel_releases_the_lease_of_a_killed_process(tmp_path: Path) -> None:
    with another_process_holding(tmp_path, "books") as process:
        process.kill()
        process.wait()
        with FileLease(tmp_path, wait_seconds=0)("books"):
            pass


def test_a_waiting_process_gets_the_lease_when_it_is_released(tmp_path: Path) -> None:
    with another_process_holding(tmp_path, "books") as process:
        release = threading.Timer(0.2, process.stdin.close)  # type: ignore[union-attr]
        release.start()
        with FileLease(tmp_path, wait_seconds=60)("books"):
            assert process.wait(60) == 0
        release.join()


def fail_while_holding(lease: FileLease) -> None:
    with lease("books"):
        with pytest.raises(Unavailable), lease("books"):
            pytest.fail("held twice")
        raise ZeroDivisionError


def test_a_lease_is_released_by_an_error_and_is_not_shared_within_a_process(tmp_path: Path) -> None:
    lease = FileLease(tmp_path / "new", wait_seconds=0)
    with pytest.raises(ZeroDivisionError):
        fail_while_holding(lease)
    with lease("books"):
        pass
