"""Commands about what stores hold: stores, drop."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dr_pipelines.cli.options import (
    POLICIES,
    Json,
    Policies,
    StoreName,
)
from dr_pipelines.cli.output import (
    Answer,
    ExitCode,
    Mistake,
    give,
)
from dr_pipelines.cli.session import open_project, stores_asked_for
from dr_pipelines.errors import DrError

if TYPE_CHECKING:  # imported by the commands that need them
    from rich.console import Console

    from dr_pipelines.monitoring.stores import Stored
    from dr_pipelines.planning.stored import Known
    from dr_pipelines.project.project import Project


def stores(store: StoreName = None, policies: Policies = POLICIES, as_json: Json = False) -> int:
    """List what each store holds: what is served, was replaced, was restored beside, is unfinished,
    or was made by something else.

    Examples:
      dr stores
      dr stores --store local

    Exit code 3: a store could not be looked at.
    """
    project = open_project(policies)
    names = stores_asked_for(project, store)
    collections = known_collections(project)
    answers = [_look(project, name, collections) for name in names]
    return give(_stores_answer(answers), as_json=as_json)


def drop(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A physical collection, as `dr stores` lists it.")
    ],
    store: StoreName = None,
    policies: Policies = POLICIES,
    as_json: Json = False,
) -> int:
    """Remove a collection that a restore or an ingestion left in a store. What is served, or was
    made by something else, is never removed. A candidate of a recovery is closed in the log first;
    where its collection is gone already, name its store.

    Examples:
      dr drop handbook@12-520d2a36
      dr drop handbook@12-520d2a36 --store local
    """
    from dr_pipelines.model.display import displayed_line
    from dr_pipelines.upkeep import drop

    project = open_project(policies)
    chosen = _store_of(project, name, store)
    done = drop.drop(
        name,
        store=project.store(chosen),
        store_name=chosen,
        collections=lambda: known_collections(project),
        repository=project.reading(),
        lease=project.lease,
    )
    roles = list(done.kept_roles)
    value = {
        "name": name,
        "store": chosen,
        "was": _value(done.was),
        "closed": done.closed,
        "removed": done.removed,
        "kept_roles": roles,
    }

    def show(console: "Console") -> None:
        if done.removed:
            console.print(f"{name} was removed from store {chosen}: {_described(done.was)}")
        if done.closed is not None:
            console.print(f"it is closed in the log of {done.closed}: no run goes on with it")
        if roles:
            console.print(
                "roles that a restore created for it are kept: "
                f"{', '.join(map(displayed_line, roles))}. "
                "They are in use, or this user may not drop them: DROP ROLE, once that has changed"
            )

    return give(Answer(value, show), as_json=as_json)


def known_collections(project: "Project") -> "tuple[Known, ...]":
    """Every collection of the policies by its log; raises where a log cannot be read: without it
    nobody knows what is served."""
    from dr_pipelines.monitoring.stores import known_collection

    return tuple(
        known_collection(project.collection(name).history(), store=policy.store)
        for name, policy in project.policies.collections.items()
    )


def _store_of(project: "Project", name: str, store: str | None) -> str:
    """The one store that has the collection, or the one that was named."""
    having = [
        each
        for each in stores_asked_for(project, store)
        if store is not None or name in project.store(each).collections()
    ]
    if len(having) == 1:
        return having[0]
    if not having:
        raise Mistake(f"no store of the policies has a collection {name!r}. See: dr stores")
    raise Mistake(f"{name!r} is in several stores ({', '.join(having)}): name one with --store")


def _look(project: "Project", name: str, collections: "tuple[Known, ...]") -> dict[str, Any]:
    """The collections of one store, or the problem that hides them."""
    from dr_pipelines.monitoring.stores import stored

    try:
        opened = project.store(name)
        entries = list(
            stored(opened, store=name, collections=collections, repository=project.reading())
        )
    except DrError as error:
        return {"store": name, "engine": None, "collections": [], "problem": str(error)}
    return {"store": name, "engine": opened.engine, "collections": entries, "problem": None}


def _stores_answer(answers: "list[dict[str, Any]]") -> Answer:
    value = {
        "stores": [
            {**answer, "collections": [_value(each) for each in answer["collections"]]}
            for answer in answers
        ]
    }

    def show(console: "Console") -> None:
        for number, answer in enumerate(answers):
            if number:
                console.print()
            _show(console, answer)

    problems = [answer for answer in answers if answer["problem"]]
    odd = any(each.problem for answer in answers for each in answer["collections"])
    code = ExitCode.PARTIAL if problems or odd else ExitCode.SUCCEEDED
    return Answer(value, show, code)


def _show(console: "Console", answer: dict[str, Any]) -> None:
    from dr_pipelines.cli.console import number, size, table
    from dr_pipelines.model.display import displayed_line

    console.print(f"{answer['store']}: {answer['engine'] or 'not looked at'}", style="bold")
    if answer["problem"]:
        console.print(f"  problem: {answer['problem']}")
        return
    if not answer["collections"]:
        console.print("  empty")
        return
    shown = table("name", "is", "records", "size", right=("records", "size"), fold=("name", "is"))
    for each in answer["collections"]:
        records = "unknown" if each.records is None else number(each.records)
        bytes_ = "unknown" if each.size_bytes is None else size(each.size_bytes)
        shown.add_row(displayed_line(each.name), _described(each), records, bytes_)
    console.print(shown)


def _described(stored: "Stored") -> str:
    """The part that a collection plays, in a few words."""
    through = f" as {', '.join(stored.aliases)}" if stored.aliases else ""
    words = {
        "served": f"served{through}",
        "replaced": "replaced by a restore",
        "candidate": "a candidate of a recovery, not served",
        "restored": "restored beside, not served",
        "unfinished": "unfinished",
        "foreign": "made by something else",
    }
    of = f" ({stored.collection})" if stored.collection and not through else ""
    problem = f"; cannot be read: {stored.problem}" if stored.problem else ""
    return f"{words[str(stored.part)]}{of}{problem}"


def _value(stored: "Stored") -> dict[str, Any]:
    return asdict(stored) | {"part": str(stored.part), "aliases": list(stored.aliases)}
