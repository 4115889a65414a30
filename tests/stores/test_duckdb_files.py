"""Engines are used again for the next file, and bring nothing of the last one along."""

import os
import threading
from pathlib import Path

import duckdb
import pytest

from dr_pipelines.stores.duckdb_files import IDLE_ENGINES, CollectionFiles


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

    def counted(*given: object, **named: object) -> object:
        started.append(os.getpid())
        return connect(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(duckdb, "connect", counted)
    return started


def tables(files: CollectionFiles, name: str) -> list[str]:
    with files.reading(name) as connection:
        found = connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()
    return [table for (table,) in found]


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


def test_an_engine_that_cannot_let_go_is_given_up(
    files: CollectionFiles, started: list[int]
) -> None:
    with files.reading("a"):
        files._open["a"].connection.close()
    assert tables(files, "a") == ["only_a"]
    assert started == [os.getpid()]


def test_no_more_engines_are_kept_than_that(files: CollectionFiles, tmp_path: Path) -> None:
    names = [f"c{number}" for number in range(IDLE_ENGINES + 2)]
    for name in names:
        with files.creating(files.path(name)) as connection:
            connection.execute("CREATE TABLE t (value INTEGER)")
    barrier = threading.Barrier(len(names))

    def read(name: str) -> None:
        with files.reading(name):
            barrier.wait()

    threads = [threading.Thread(target=read, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(files._engines._idle[os.getpid()]) == IDLE_ENGINES


def test_a_process_that_is_forked_starts_its_own(
    files: CollectionFiles, started: list[int], tmp_path: Path
) -> None:
    child = os.fork()
    if child == 0:
        right = tables(files, "a") == ["only_a"] and started == [os.getpid()]
        os._exit(0 if right else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert tables(files, "a") == ["only_a"]
    assert started == []
