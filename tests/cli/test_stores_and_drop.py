"""`dr stores` tells collections of a store apart, and `dr drop` never removes what is served."""

import shutil

import pytest

from dr_pipelines.errors import Refused
from dr_pipelines.model.record import store_schema
from dr_pipelines.model.recovery_point import Timeline
from dr_pipelines.planning.stored import (
    Found,
    Known,
    Part,
    part_of,
    require_droppable,
)
from dr_pipelines.stores.duckdb.store import duckdb_store
from tests.cli.test_hostile_text import remember
from tests.cli.workplace import Workplace


def parts(place: Workplace, store: str = "local") -> dict[str, tuple[str, str | None]]:
    answer = place.dr("stores", "--json").json
    [listing] = [each for each in answer["stores"] if each["store"] == store]
    return {each["name"]: (each["part"], each["collection"]) for each in listing["collections"]}


def physical(place: Workplace) -> str:
    served = place.dr("status", "--json").json["collections"][0]["physical"]
    assert isinstance(served, str)
    return served


def test_what_a_store_holds_is_told_apart(protected: Workplace) -> None:
    first = physical(protected)
    remember(protected.directory / "stores", "m1")
    assert protected.dr("restore", "notes", "--into", "beside").code == 0
    assert protected.dr("restore", "notes", "--switch").code == 0
    now = physical(protected)
    assert parts(protected) == {
        "beside": ("restored", "notes"),
        "memories@1": ("served", "memories"),
        first: ("replaced", "notes"),
        now: ("served", "notes"),
    }
    result = protected.dr("stores")
    assert result.code == 0
    for words in ("restored beside, not served (notes)", "served as memories", "replaced by a res"):
        assert words in " ".join(result.out.split()).replace("│ ", "")
    assert "other: duckdb" in result.out
    assert "empty" in result.out


def test_a_restore_that_was_killed_is_unfinished_until_it_ends(protected: Workplace) -> None:
    assert protected.dr("restore", "notes", "--into", "again").code == 0
    store = duckdb_store(protected.directory / "stores")
    document = next(store.scan("again"))["document_id"][0].as_py()
    nothing = store_schema(store.describe("again")).empty_table()
    store.write("again", nothing, replaces=[document])
    assert parts(protected)["again"] == ("unfinished", "notes")
    assert protected.dr("restore", "notes", "--into", "again").code == 0
    assert parts(protected)["again"] == ("restored", "notes")


def test_what_is_left_over_is_dropped_and_nothing_else(protected: Workplace) -> None:
    first = physical(protected)
    assert protected.dr("restore", "notes", "--into", "beside").code == 0
    assert protected.dr("restore", "notes", "--switch").code == 0
    assert protected.dr("drop", "beside").code == 0
    answer = protected.dr("drop", first, "--json")
    assert (answer.code, answer.json["was"]["part"]) == (0, "replaced")
    assert answer.json["kept_roles"] == []
    assert parts(protected) == {physical(protected): ("served", "notes")}
    assert protected.dr("search", "notes", "crow", "--mode", "keyword").code == 0


def test_what_is_served_is_never_dropped(protected: Workplace) -> None:
    served = physical(protected)
    refused = protected.dr("drop", served)
    assert refused.code == 1
    assert f"{served!r} in store 'local' is served as notes: it is never dropped" in refused.err
    assert parts(protected) == {served: ("served", "notes")}


def test_what_no_log_knows_is_left_to_its_engine(protected: Workplace) -> None:
    store = remember(protected.directory / "stores", "m1")
    spec = store.describe("memories@1").physical("theirs", origin=None)
    store.create(spec)
    refused = protected.dr("drop", "theirs")
    assert refused.code == 1
    assert "was made by neither a restore nor an ingestion of these policies" in refused.err
    assert parts(protected)["theirs"] == ("foreign", None)


def test_nothing_is_dropped_while_the_log_cannot_be_read(protected: Workplace) -> None:
    assert protected.dr("restore", "notes", "--into", "beside").code == 0
    shutil.move(protected.directory / "repository", protected.directory / "away")
    assert protected.dr("drop", "beside").code == 1
    shutil.move(protected.directory / "away", protected.directory / "repository")
    assert parts(protected)["beside"] == ("restored", "notes")


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ("drop nothing", 2, "no store of the policies has a collection 'nothing'"),
        ("drop nothing --store local", 1, "store 'local' has no collection 'nothing'"),
        ("drop nothing --store lokal", 2, "did you mean 'local'?"),
        ("stores --store lokal", 2, "did you mean 'local'?"),
        ("drop", 2, "Missing argument 'NAME'"),
    ],
)
def test_a_name_that_is_nowhere(protected: Workplace, words: str, code: int, says: str) -> None:
    result = protected.dr(*words.split())
    assert (result.code, says in result.err) == (code, True), result


def test_a_store_out_of_reach_is_a_problem_and_not_the_end(protected: Workplace) -> None:
    policies = protected.directory / "policies.yaml"
    away = "  away: {url: 'qdrant://127.0.0.1:9'}\n"
    policies.write_text(policies.read_text().replace("  other:", f"{away}  other:"))
    result = protected.dr("stores", "--json")
    by_name = {each["store"]: each for each in result.json["stores"]}
    assert result.code == 3
    assert by_name["away"]["problem"]
    assert by_name["local"]["collections"]


HERE = Timeline(id=2, physical="notes@2", store="local")
BEFORE = Timeline(id=1, physical="notes@1", store="local")
NOTES = Known("notes", "local", HERE, (BEFORE, HERE), {"3-abc": 7, "3-abc.5": None})


@pytest.mark.parametrize(
    ("physical", "part"),
    [
        (Found("notes@2", "new", (), 7), (Part.SERVED, "notes")),
        (Found("notes", None, (), 7), (Part.SERVED, "notes")),
        (Found("x", None, ("notes",), 7), (Part.SERVED, "notes")),
        (Found("x", "restore:3-abc:load:", ("theirs",), 7), (Part.SERVED, None)),
        (Found("notes@1", "new", (), 7), (Part.REPLACED, "notes")),
        (Found("notes@1", None, (), 7), (Part.FOREIGN, "notes")),
        (Found("x", "restore:3-abc:load:", (), 7), (Part.RESTORED, "notes")),
        (Found("x", "restore:3-abc:load:", (), 6), (Part.UNFINISHED, "notes")),
        (Found("x", "restore:3-abc.5:load:", (), 2), (Part.RESTORED, "notes")),
        (Found("x", "restore:9-fff:load:", (), 7), (Part.FOREIGN, None)),
        (Found("notes@9", "new", (), 0), (Part.UNFINISHED, "notes")),
        (Found("other@9", "new", (), 0), (Part.UNFINISHED, None)),
        (Found("x", "something", (), 0), (Part.FOREIGN, None)),
        (Found("x", None, (), 0), (Part.FOREIGN, None)),
    ],
)
def test_the_part_of_a_collection(physical: Found, part: tuple[Part, str | None]) -> None:
    assert part_of(physical, store="local", collections=[NOTES]) == part


def test_another_store_does_not_know_the_name() -> None:
    part, _ = part_of(Found("notes@2", "new", (), 7), store="other", collections=[NOTES])
    assert part is Part.UNFINISHED


def test_what_an_ingestion_of_others_has_begun_is_theirs() -> None:
    with pytest.raises(Refused, match="made by neither"):
        require_droppable("other@9", Part.UNFINISHED, None, store="local", aliases=())
