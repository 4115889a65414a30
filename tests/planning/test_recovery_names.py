"""Which name a recovery builds under, and what is said of a name that somebody asks for."""

import pytest

from dr_pipelines.errors import AlreadyExists, Refused
from dr_pipelines.model.recovery import Route
from dr_pipelines.model.recovery_point import Timeline
from dr_pipelines.planning.recovery import (
    Target,
    choose_physical,
    name_notes,
    origin_of,
    target_of,
    unfinished,
)
from dr_pipelines.stores import engines

FIRST = Timeline(id=1, physical="docs", store="here")
SECOND = Timeline(id=2, physical="docs@3-aa", store="here")


def target(into: str | None, *timelines: Timeline, store: str = "here") -> Target:
    return target_of(
        into, "docs", store=store, timelines=timelines, current=max(timelines, key=lambda t: t.id)
    )


def chosen(
    into: str, *, origin: str = "o", there: dict[str, str | None], aliases: dict[str, str]
) -> str:
    return choose_physical(
        "docs",
        point="3-aa",
        origin=origin,
        into=into,
        origins=there,
        aliases=aliases,
        taken=["docs"],
    )


def test_the_name_that_is_served_is_built_again_as_another_timeline() -> None:
    assert target("docs", FIRST) == Target(own=True, served=True, begins=2)
    assert target("docs@3-aa", FIRST, SECOND) == Target(served=True, begins=3)
    assert target("docs", FIRST, SECOND) == Target(own=True, served=True, begins=3)
    assert target("copy", FIRST) == target(None, FIRST) == Target()
    assert target("docs", FIRST, store="there") == Target(own=True)


def test_what_an_earlier_timeline_had_is_built_again_and_not_served_for_that() -> None:
    third = Timeline(id=3, physical="docs@4-bb", store="here")
    assert target("docs@3-aa", FIRST, SECOND, third) == Target(begins=4)


def test_a_name_is_refused_where_it_is_in_the_store_or_served() -> None:
    assert chosen("docs", there={}, aliases={}) == "docs"
    assert chosen("docs", there={"docs": "o"}, aliases={}) == "docs"
    with pytest.raises(AlreadyExists, match="built from something else"):
        chosen("docs", there={"docs": None}, aliases={})
    with pytest.raises(AlreadyExists, match="'docs' is an alias in the store"):
        chosen("docs", there={}, aliases={"docs": "docs@1"})
    with pytest.raises(Refused, match="is being served"):
        chosen("docs@1", there={}, aliases={"docs": "docs@1"})


def test_an_unfinished_collection_says_so_until_its_timeline_is_that_of_the_log() -> None:
    origin = origin_of("3-aa", "load", "f" * 64, begins=2)
    assert unfinished(origin, timeline=1) == "3-aa"
    assert unfinished(origin, timeline=2) is None
    for other in (None, "unreadable", origin_of("3-aa", "load", "f" * 64)):
        assert unfinished(other, timeline=1) is None


def test_what_follows_from_a_name_is_said() -> None:
    def effects(
        into: str | None, *, switch: bool, route: Route = Route.LOAD, engine: str = "duckdb"
    ) -> list[str]:
        notes = name_notes(
            target(into, FIRST),
            "docs",
            route=route,
            switch=switch,
            store="here",
            rules=engines.name_rules(engine, "docs"),
            current=FIRST,
        )
        return [note.consequence for note in notes]

    (visible,) = effects("docs", switch=True)
    assert "sees it while it is built, before it is proven" in visible
    (native,) = effects("docs", switch=True, route=Route.NATIVE)
    assert native.endswith("sees it before it is proven")
    (alias,) = effects(None, switch=True)
    assert "becomes an alias" in alias
    assert "--into docs" in alias
    assert effects(None, switch=False) == effects("copy", switch=False) == []
    _, limited = effects(None, switch=True, engine="pgvector")
    assert limited.startswith("an alias is a view here")
    assert effects(None, switch=False, engine="pgvector") == []


@pytest.mark.parametrize(
    ("engine", "statements"),
    [
        ("pgvector", ['DROP VIEW "docs"', 'ALTER TABLE "docs" RENAME TO "docs_replaced"']),
        ("qdrant", []),
    ],
)
def test_how_a_name_is_freed_is_said_where_an_alias_is_less_than_a_collection(
    engine: str, statements: list[str]
) -> None:
    notes = name_notes(
        Target(),
        "docs",
        route=Route.LOAD,
        switch=True,
        store="here",
        rules=engines.name_rules(engine, "docs"),
        current=SECOND,
    )
    assert len(notes) == len(statements[:1])
    assert all(statement in note.consequence for note in notes for statement in statements)
