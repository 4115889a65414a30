"""A collection that an engine's own clients made, lost and brought back under its own name."""

import shutil
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import psycopg
import pyarrow as pa
import pytest

from dr_pipelines.stores.shared.driver_store import DriverStore
from tests.cli.workplace import (
    CHANGES,
    POLICIES,
    Result,
    Workplace,
    feed_lines,
)
from tests.servers.pgvector import Server

ROWS = 20


def vectors() -> list[list[float]]:
    values: list[list[float]] = np.random.default_rng(0).normal(size=(ROWS, 8)).tolist()
    return values


@pytest.fixture
def lance(fresh: Workplace) -> Workplace:
    """A table that LanceDB's own client made, backed up and dropped."""
    policies = POLICIES.replace("duckdb:stores", "lance:stores")
    (fresh.directory / "policies.yaml").write_text(policies)
    table = pa.table(
        {
            "id": [f"m{i}" for i in range(ROWS)],
            "text": [f"The user said {i}." for i in range(ROWS)],
            "vector": pa.array(vectors(), pa.list_(pa.float32(), 8)),
        }
    )
    clients(fresh.directory).create_table("memories", table)
    backed_up(fresh, "--native")
    clients(fresh.directory).drop_table("memories")
    return fresh


def clients(directory: Path) -> lancedb.DBConnection:
    return lancedb.connect(directory / "stores")


def backed_up(workplace: Workplace, *words: str) -> None:
    done = workplace.dr("backup", "memories", "--json", *words)
    assert (done.code, done.json["records"], done.json["equal"]) == (0, ROWS, True)


def restored_as_memories(workplace: Workplace, *words: str) -> Result:
    done = workplace.dr("restore", "memories", "--into", "memories", "--json", *words)
    assert done.code == 0, done.err
    assert (done.json["physical"], done.json["switched"]) == ("memories", True)
    return done


class Killed(BaseException):
    """As by `kill -9`, in a test."""


def killed_but_for_one(
    workplace: Workplace,
    store: type[DriverStore[Any]],
    collection: str,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A restore that dies when all records are written but the first."""
    usual = store.write

    def short(self: Any, name: str, batch: pa.Table, **how: list[str]) -> None:
        usual(self, name, batch.slice(1), **how)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(store, "write", short)
        with pytest.raises(Killed):
            workplace.dr("restore", collection, "--into", name)


def test_clients_of_lancedb_find_again_what_they_lost(lance: Workplace) -> None:
    output = restored_as_memories(lance)

    assert "sees it while it is" in output.err
    assert clients(lance.directory).open_table("memories").count_rows() == ROWS
    assert not list((lance.directory / "stores").glob("*.alias"))
    backed_up(lance)
    lines = lance.dr("status").out.splitlines()
    assert "served from   memories in store local" in [line.rstrip() for line in lines]


def test_files_of_lancedb_come_back_under_its_own_name(lance: Workplace) -> None:
    output = restored_as_memories(lance, "--route", "native")
    assert "while it is built" not in " ".join(output.err.split())
    assert clients(lance.directory).open_table("memories").count_rows() == ROWS
    backed_up(lance)


def test_a_second_restore_over_it_is_refused(lance: Workplace) -> None:
    restored_as_memories(lance, "--switch")
    again = lance.dr("restore", "memories", "--into", "memories")
    assert again.code != 0
    assert "'memories' exists and was built from something else" in again.err
    assert clients(lance.directory).open_table("memories").count_rows() == ROWS


def test_it_is_lost_and_comes_back_twice(lance: Workplace) -> None:
    restored_as_memories(lance)
    backed_up(lance)
    clients(lance.directory).drop_table("memories")
    restored_as_memories(lance)
    backed_up(lance)


def test_what_is_half_restored_is_neither_backed_up_nor_lost(
    lance: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after the records were written but for one: no backup takes that for a deletion."""
    killed_but_for_one(lance, DriverStore, "memories", "memories", monkeypatch)
    assert clients(lance.directory).open_table("memories").count_rows() == ROWS - 1

    for words in (("backup", "memories"), ("backup", "memories", "--accept-absence")):
        refused = lance.dr(*words)
        assert refused.code == 1
        assert "'memories' is being restored and is not whole" in refused.err
        assert "dr restore memories --into memories --at log:3" in refused.err
    assert "--into memories" in lance.dr("restore", "memories", "--switch").err
    for words in (  # type: ignore[assignment]
        ("search", "memories", "user", "--mode", "keyword"),
        ("documents", "memories", "--store"),
    ):
        refused = lance.dr(*words)
        assert refused.code == 1
        assert "'memories' is being restored and is not whole" in refused.err
    assert protection_status(lance)["physical"] is None
    assert "is being restored and is not whole" in protection_status(lance)["problems"][-1]

    done = restored_as_memories(lance)
    assert done.json["resumed"] is True
    backed_up(lance)


def protection_status(workplace: Workplace) -> dict[str, Any]:
    collections = workplace.dr("status", "--json").json["collections"]
    (entry,) = (entry for entry in collections if entry["collection"] == "memories")
    return dict(entry)


def test_what_was_an_alias_before_is_not_whole_until_it_ends_either(
    lance: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert lance.dr("restore", "memories", "--switch").code == 0
    physical = protection_status(lance)["physical"]
    shutil.rmtree(lance.directory / "stores")
    killed_but_for_one(lance, DriverStore, "memories", "memories", monkeypatch)

    message = "'memories' is being restored and is not whole"
    assert protection_status(lance)["physical"] is None
    assert message in protection_status(lance)["problems"][-1]
    assert message in lance.dr("search", "memories", "user", "--mode", "keyword").err
    assert message in lance.dr("documents", "memories", "--store").err

    restored_as_memories(lance)
    assert (protection_status(lance)["physical"], protection_status(lance)["problems"]) == (
        "memories",
        [],
    )
    clients(lance.directory).drop_table("memories")
    assert lance.dr("restore", "memories", "--switch").code == 0
    assert protection_status(lance)["physical"] != physical


def test_a_collection_under_the_name_of_an_alias_is_pointed_out(lance: Workplace) -> None:
    assert lance.dr("restore", "memories", "--switch").code == 0
    physical = protection_status(lance)["physical"]
    shutil.rmtree(lance.directory / "stores")
    clients(lance.directory).create_table("memories", pa.table({"id": ["x"], "vector": [[1.0]]}))
    assert f"no alias of '{physical}'" in protection_status(lance)["problems"][-1]


def test_a_store_is_looked_at_while_the_repository_is_away(lance: Workplace) -> None:
    restored_as_memories(lance)
    (lance.directory / "repository").rename(lance.directory / "away")
    status = protection_status(lance)
    assert status["physical"] == "memories"
    assert [problem.partition(":")[0] for problem in status["problems"]] == ["repository"]
    assert len(lance.dr("documents", "memories", "--store", "--json").json["documents"]) == ROWS


def test_nothing_is_applied_to_what_is_half_restored(
    protected: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A collection lost with its alias, and built again under the name that it had."""
    physical = protected.dr("status", "--json").json["collections"][0]["physical"]
    protected.lose()
    (protected.directory / "stores" / "notes.alias").unlink()
    killed_but_for_one(protected, DriverStore, "notes", physical, monkeypatch)

    more = {"ts": "2026-01-08T08:00:00Z", "op": "upsert", "id": "e", "title": "E", "text": "Elm."}
    protected.write_feed(feed_lines([*CHANGES, more]))
    behind = protected.dr("ingest", "notes", "--json")
    assert behind.code == 3
    assert f"--into {physical} --at log:8" in behind.json["unapplied"]

    done = protected.dr("restore", "notes", "--into", physical, "--at", "log:8", "--json")
    assert (done.code, done.json["resumed"], done.json["switched"]) == (0, True, True)
    assert protected.dr("ingest", "notes").code == 0
    assert protected.dr("backup", "notes", "--json").json["equal"] is True
    answer = protected.dr("documents", "notes", "--store", "--json").json["documents"]
    assert [row["id"] for row in answer] == ["a", "c", "e"]


def test_behind_an_alias_it_is_said_who_does_not_find_it(lance: Workplace) -> None:
    done = lance.dr("restore", "memories", "--switch")
    assert done.code == 0
    assert "--into memories" in " ".join(done.err.split())
    assert "becomes an alias" in " ".join(done.err.split())
    refused = lance.dr("restore", "memories", "--into", "memories")
    assert "'memories' is an alias in the store" in refused.err


def test_what_has_no_source_is_not_sent_to_one(lance: Workplace) -> None:
    result = lance.dr("restore", "memories", "--switch")
    assert "is served from it since log:" in " ".join(result.out.split())
    assert "ingest" not in result.out


def test_clients_of_postgresql_find_again_what_they_lost(
    fresh: Workplace, postgres: Server
) -> None:
    database = postgres.create_database()
    policies = POLICIES.replace("duckdb:stores", postgres.url(database))
    (fresh.directory / "policies.yaml").write_text(policies)
    with psycopg.connect(postgres.conninfo(database), autocommit=True) as clients:
        clients.execute(
            "CREATE TABLE memories (id int PRIMARY KEY, content text, embedding vector(8) NOT NULL)"
        )
        rows = [(i, f"The user said {i}.", str(v)) for i, v in enumerate(vectors())]
        clients.cursor().executemany("INSERT INTO memories VALUES (%s, %s, %s)", rows)
        backed_up(fresh)
        clients.execute("DROP TABLE memories")
        restored_as_memories(fresh)
        row = clients.execute("SELECT count(*), max(content) FROM memories").fetchone()
        kind = clients.execute("SELECT relkind FROM pg_class WHERE relname = 'memories'")
        assert (row, kind.fetchone()) == ((ROWS, "The user said 9."), ("r",))
    backed_up(fresh)
