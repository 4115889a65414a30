"""Engines are used again for the next file, and bring nothing of the last one along."""

import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import duckdb
import pytest

from dr_pipelines.errors import Damaged
from dr_pipelines.stores.duckdb.connect import CollectionFiles
from dr_pipelines.stores.duckdb.idle import ENGINES, IDLE_ENGINES

FIRST_BLOCK = 3 * 4096
"""Before it are the headers of a DuckDB file."""


@pytest.fixture(autouse=True)
def _nothing_waits() -> None:
    """Engines are the process's, so other tests leave some."""
    ENGINES.close()


@pytest.fixture
def files(tmp_path: Path) -> CollectionFiles:
    files = CollectionFiles(tmp_path, wait_seconds=5, memory_limit_mb=200)
    for name in "ab":
        with files.creating(files.path(name)) as connection:
            connection.execute(f"CREATE TABLE only_{name} (value INTEGER)")
    return files


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A number for every engine that is started, of the process that did."""
    started, connect = list[int](), duckdb.connect

    def counted(*arguments: object, **named: object) -> object:
        started.append(os.getpid())
        return connect(*arguments, **named)

    monkeypatch.setattr(duckdb, "connect", counted)
    return started


def tables(files: CollectionFiles, name: str) -> list[str]:
    with files.reading(name) as connection:
        rows = connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()
    return [table for (table,) in rows]


def test_one_engine_serves_one_file_after_the_other(
    files: CollectionFiles, started: list[int]
) -> None:
    for _ in range(3):
        for name in "ab":
            with files.holding(name) as connection:
                connection.execute("CREATE TEMPORARY TABLE IF NOT EXISTS mine (value INTEGER)")
                connection.execute(f"INSERT INTO only_{name} VALUES (1)")
            assert tables(files, name) == [f"only_{name}"]
    assert started == []
    with files.reading("a") as connection:
        assert connection.execute("SELECT count(*) FROM only_a").fetchall() == [(3,)]


def test_a_file_is_let_go_while_its_engine_waits(files: CollectionFiles, tmp_path: Path) -> None:
    assert tables(files, "a") == ["only_a"]
    other = CollectionFiles(tmp_path, wait_seconds=0, memory_limit_mb=200)
    with other.alone("a") as connection:
        connection.execute("CREATE TABLE another (value INTEGER)")
    assert tables(files, "a") == ["another", "only_a"]


def test_memory_is_as_usual_for_the_next_one(files: CollectionFiles) -> None:
    with files.reading("a") as connection:
        connection.execute("SET memory_limit = '900MiB'")
    with files.reading("b") as connection:
        ((limit,),) = connection.execute("SELECT current_setting('memory_limit')").fetchall()
    assert limit == "200.0 MiB"


def test_an_engine_of_one_store_serves_the_next_by_its_own_settings(
    files: CollectionFiles, started: list[int], tmp_path: Path
) -> None:
    directory = tmp_path / "another's"
    directory.mkdir()
    other = CollectionFiles(directory, wait_seconds=5, memory_limit_mb=300)
    for number in (1, 2):
        with other.creating(other.path("a")) as connection:
            connection.execute(f"CREATE TABLE others_{number} (value INTEGER)")
        assert tables(other, "a") == [f"others_{number}"]
        assert settings(other, "a") == ("300.0 MiB", str(directory / ".spill"))
        assert tables(files, "a") == ["only_a"]
        assert settings(files, "a") == ("200.0 MiB", str(tmp_path / ".spill"))
        other.path("a").unlink()
    assert started == []


def settings(files: CollectionFiles, name: str) -> tuple[str, str]:
    query = "SELECT current_setting('memory_limit'), current_setting('temp_directory')"
    with files.reading(name) as connection:
        ((limit, directory),) = connection.execute(query).fetchall()
    return limit, directory


def test_an_engine_that_cannot_let_go_is_given_up(
    files: CollectionFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines, connect = list[duckdb.DuckDBPyConnection](), duckdb.connect

    def remembered(*arguments: Any, **named: Any) -> duckdb.DuckDBPyConnection:
        engines.append(connect(*arguments, **named))
        return engines[-1]

    monkeypatch.setattr(duckdb, "connect", remembered)
    ENGINES.close()
    new = CollectionFiles(tmp_path, wait_seconds=0, memory_limit_mb=200)
    with new.reading("a"):
        engines[0].close()
    assert tables(new, "a") == ["only_a"]
    assert len(engines) == 2


def test_no_more_engines_are_kept_than_that(files: CollectionFiles, started: list[int]) -> None:
    names = [f"c{number}" for number in range(IDLE_ENGINES + 2)]
    for name in names:
        with files.creating(files.path(name)) as connection:
            connection.execute("CREATE TABLE t (value INTEGER)")
    barrier = threading.Barrier(len(names))

    def read(name: str) -> None:
        with files.reading(name):
            barrier.wait()

    def read_all_at_once() -> None:
        threads = [threading.Thread(target=read, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    read_all_at_once()
    started.clear()
    read_all_at_once()
    assert len(started) == len(names) - IDLE_ENGINES


def test_an_engine_that_has_spilled_is_given_up(
    files: CollectionFiles, started: list[int], tmp_path: Path
) -> None:
    """It would look for its temporary directory for ever."""
    for _ in range(2):
        with files.reading("a") as connection:
            connection.execute("SET memory_limit = '20MiB'; SET threads = 1")
            connection.execute(
                "CREATE TEMPORARY TABLE large AS SELECT md5(range::VARCHAR) FROM range(1_500_000)"
            )
            assert list((tmp_path / ".spill").iterdir())
        assert not (tmp_path / ".spill").exists()
    assert len(started) == 1  # the first had the engine that made the files


def test_a_file_that_cannot_be_opened_costs_no_engine(
    files: CollectionFiles, started: list[int], tmp_path: Path
) -> None:
    files.path("c").write_bytes(files.path("b").read_bytes()[:3000])
    for _ in range(3):
        with pytest.raises(Damaged), files.reading("c"):
            pass
        assert tables(files, "a") == ["only_a"]
    assert started == []


def test_changed_bytes_are_damage(files: CollectionFiles) -> None:
    with files.holding("a") as connection:
        connection.execute("INSERT INTO only_a SELECT hash(range) % 999983 FROM range(200_000)")
    content = bytearray(files.path("a").read_bytes())
    for place in range(FIRST_BLOCK, len(content), 10_000):
        content[place] ^= 1
    files.path("a").write_bytes(content)
    message = re.compile("'a'.*checksum.*restore the collection from a recovery point")
    with pytest.raises(Damaged, match=message), files.reading("a") as connection:
        connection.execute("SELECT sum(value) FROM only_a")
    assert tables(files, "b") == ["only_b"]


def test_what_is_dropped_and_made_again_is_read_anew(files: CollectionFiles) -> None:
    assert tables(files, "a") == ["only_a"]
    files.path("a").unlink()
    with files.creating(files.path("a")) as connection:
        connection.execute("CREATE TABLE new (value INTEGER)")
    assert tables(files, "a") == ["new"]


CHILD = """
import os, sys
from pathlib import Path
from dr_pipelines.stores.duckdb.connect import CollectionFiles
files = CollectionFiles(Path(sys.argv[1]), wait_seconds=5, memory_limit_mb=100)

def read():
    with files.reading("a") as connection:
        assert connection.execute("SELECT count(*) FROM only_a").fetchall() == [(0,)]

read()
child = os.fork()
read()
if child == 0:
    if sys.argv[2] == "dropped":
        del files
    sys.exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
"""


@pytest.mark.parametrize("how", ["dropped", "kept"])
def test_a_process_that_is_forked_works_and_comes_to_its_end(
    files: CollectionFiles, tmp_path: Path, how: str
) -> None:
    command = [sys.executable, "-c", CHILD, str(tmp_path), how]
    subprocess.run(command, check=True, timeout=60)


def test_another_process_may_have_a_file_while_its_engine_waits(
    files: CollectionFiles, tmp_path: Path
) -> None:
    with files.holding("a") as connection:
        connection.execute("INSERT INTO only_a VALUES (5)")
    script = "import duckdb, sys; duckdb.connect(sys.argv[1]).execute('DELETE FROM only_a')"
    command = [sys.executable, "-c", script, str(files.path("a"))]
    subprocess.run(command, check=True, timeout=60)
    with files.reading("a") as connection:
        assert connection.execute("SELECT count(*) FROM only_a").fetchall() == [(0,)]
