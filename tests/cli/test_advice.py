"""After a loss, the command that is printed is one that works: for each engine and each loss it is
run as it was printed."""

import re
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import chromadb
import lancedb
import psycopg
import pytest
from qdrant_client import QdrantClient

from tests.cli.test_init import (
    ROWS,
    made_by_chroma,
    made_by_lance,
    made_by_qdrant,
)
from tests.cli.workplace import POLICIES, Workplace
from tests.servers.pgvector import Server

COMMAND = re.compile(
    r"(?:Bring it back|Run|If it was lost): (dr restore memories --(?:into memories|switch))"
)


@dataclass(frozen=True)
class Engine:
    """How clients of an engine make a collection, and how it is lost."""

    url: str
    make: Callable[[Path, str], None]
    drop: Callable[[Path, str], None]


def dropped_from_lance(stores: Path, name: str) -> None:
    lancedb.connect(stores).drop_table(name.replace("@", "."))


def dropped_from_chroma(stores: Path, name: str) -> None:
    chromadb.PersistentClient(str(stores)).delete_collection(name.replace("@", "."))


def dropped_from_qdrant(stores: Path, name: str) -> None:
    client = QdrantClient(path=str(stores))
    client.delete_collection(name)
    client.close()


ENGINES = {
    "lance": Engine("lance:base", made_by_lance, dropped_from_lance),
    "chroma+local": Engine("chroma+local:base", made_by_chroma, dropped_from_chroma),
    "qdrant+local": Engine("qdrant+local:base", made_by_qdrant, dropped_from_qdrant),
}
LOSSES = ("dropped", "all files gone")


def advice(place: Workplace) -> list[str]:
    """Every command that anything prints after a loss, in the order of asking."""
    outputs = [
        place.dr("status").out,
        place.dr("backup", "memories").err,
        place.dr("search", "memories", "memory", "--mode", "keyword").err,
    ]
    commands = [COMMAND.findall(" ".join(text.split())) for text in outputs]
    assert all(commands), outputs
    return [command for each in commands for command in each]


def followed(place: Workplace) -> None:
    """All of them say the same command, and it works as it is."""
    [command] = set(advice(place))
    done = place.dr(*shlex.split(command)[1:])
    assert done.code == 0, (command, done.out, done.err)
    after = place.dr("backup", "memories", "--json")
    assert (after.code, after.json["records"], after.json["equal"]) == (0, ROWS, True)
    [protection_status] = place.dr("status", "--json").json["collections"]
    assert protection_status["problems"] == []


def policies(url: str) -> str:
    text = POLICIES.replace("duckdb:stores", url)
    head, _, rest = text.partition("  notes:\n")
    return head + "  memories:\n" + rest.partition("  memories:\n")[2]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("engine", ENGINES)
def test_what_clients_made_comes_back_by_the_command_that_is_printed(
    fresh: Workplace, engine: str, loss: str
) -> None:
    engine_case, base = ENGINES[engine], fresh.directory / "base"
    engine_case.make(base, "memories")
    (fresh.directory / "policies.yaml").write_text(policies(engine_case.url))
    assert fresh.dr("backup", "memories").code == 0
    lose(engine_case, base, "memories", loss)
    followed(fresh)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_behind_an_alias_comes_back_by_the_command_that_is_printed(
    fresh: Workplace, engine: str, loss: str
) -> None:
    engine_case, base = ENGINES[engine], fresh.directory / "base"
    engine_case.make(base, "memories")
    (fresh.directory / "policies.yaml").write_text(policies(engine_case.url))
    fresh.dr("backup", "memories")
    engine_case.drop(base, "memories")
    assert fresh.dr("restore", "memories", "--switch").code == 0
    [protection_status] = fresh.dr("status", "--json").json["collections"]
    lose(engine_case, base, protection_status["physical"], loss)
    followed(fresh)


def lose(engine: Engine, base: Path, name: str, loss: str) -> None:
    if loss == "dropped":
        engine.drop(base, name)
    else:
        shutil.rmtree(base)


@pytest.mark.parametrize("alias", [False, True])
def test_a_table_of_postgresql_comes_back_by_the_command_that_is_printed(
    fresh: Workplace, postgres: Server, alias: bool
) -> None:
    database = postgres.create_database()
    (fresh.directory / "policies.yaml").write_text(policies(postgres.url(database)))
    with psycopg.connect(postgres.conninfo(database), autocommit=True) as clients:
        clients.execute("CREATE TABLE memories (id int PRIMARY KEY, t text, v vector(2))")
        clients.execute(
            "INSERT INTO memories SELECT n, 'memory', '[1, 0]' FROM generate_series(1, %s) n",
            [ROWS],
        )
        assert fresh.dr("backup", "memories").code == 0
        clients.execute("DROP TABLE memories")
        if alias:
            assert fresh.dr("restore", "memories", "--switch").code == 0
            [protection_status] = fresh.dr("status", "--json").json["collections"]
            clients.execute(f'DROP TABLE "{protection_status["physical"]}" CASCADE')
        followed(fresh)


@pytest.mark.parametrize("loss", ["files", "alias", "both"])
def test_a_collection_of_a_source_comes_back_by_the_command_that_is_printed(
    protected: Workplace, loss: str
) -> None:
    stores = protected.directory / "stores"
    if loss != "alias":
        protected.lose()
    if loss != "files":
        (stores / "notes.alias").unlink()
    status = " ".join(protected.dr("status").out.split())
    [command] = set(re.findall("Bring it back: (dr restore notes --[a-z]+)", status))
    done = protected.dr(*shlex.split(command)[1:])
    assert done.code == 0, done.err
    assert protected.dr("backup", "notes", "--json").json["equal"] is True


def test_a_store_out_of_reach_is_unknown_and_not_nowhere(protected: Workplace) -> None:
    text = POLICIES.replace("duckdb:stores", "postgresql://127.0.0.1:1/nowhere")
    (protected.directory / "policies.yaml").write_text(text)
    shown = protected.dr("status")
    assert shown.code == 3
    assert "served from   unknown in store local" in shown.out
    assert "Bring it back" not in shown.out
    answer = protected.dr("status", "--json").json["collections"][0]
    assert (answer["physical"], answer["store_looked_at"]) == (None, False)


def test_losses_are_accepted_by_the_command_that_is_printed(
    fresh: Workplace, postgres: Server
) -> None:
    database = postgres.create_database()
    (fresh.directory / "policies.yaml").write_text(policies(postgres.url(database)))
    with psycopg.connect(postgres.conninfo(database), autocommit=True) as clients:
        clients.execute("CREATE TABLE memories (id int PRIMARY KEY, v vector(2))")
        clients.execute("INSERT INTO memories VALUES (1, '[1, 0]')")
        clients.execute("CREATE RULE kept AS ON DELETE TO memories DO ALSO NOTHING")
        clients.execute("CREATE VIEW recent AS SELECT id FROM memories")
    result = fresh.dr("backup", "memories")
    assert result.code == 3
    [command] = re.findall(
        "to accept that: (dr backup .*--reason TEXT)", " ".join(result.out.split())
    )
    assert fresh.dr(*shlex.split(command)[1:]).code == 0
