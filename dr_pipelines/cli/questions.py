"""Commands that answer questions: search, diff."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dr_pipelines.cli.answers import Answer, Mistake, asking, give
from dr_pipelines.cli.options import (
    AT,
    POLICIES,
    Collection,
    Json,
    Limit,
    Policies,
    one_of,
)
from dr_pipelines.cli.session import live_store, open_project, point_at
from dr_pipelines.errors import NotFound, TextTooLong
from dr_pipelines.model.display import displayed_line

if TYPE_CHECKING:  # imported by the commands that need them
    from rich.console import Console

    from dr_pipelines.diff import Diff, DocumentChange
    from dr_pipelines.model.query import Filter, FloatArray, Hit
    from dr_pipelines.project import Project
    from dr_pipelines.protocols import VectorStore

SNIPPET = 160


def search(
    collection: Collection,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to look for.")],
    filter: Annotated[
        str | None,
        typer.Option(
            "--filter",
            metavar="FILTER",
            help="Such as: team = 'cloud' and version >= 2. Also !=, in, contains, or, not.",
        ),
    ] = None,
    mode: Annotated[
        str,
        typer.Option(
            "--mode",
            parser=one_of("vector", "keyword", "hybrid"),
            metavar="vector|keyword|hybrid",
            help="By meaning, by words, or both rankings fused.",
        ),
    ] = "vector",
    limit: Limit = 5,
    policies: Policies = POLICIES,
    as_json: Json = False,
) -> int:
    """Ask the live store.

    Examples:
      dr search handbook "stale weather map"
      dr search handbook map --mode hybrid --filter "team = 'cloud'" --limit 3
    """
    from dr_pipelines.model.query import Mode, Query

    if not text.strip():
        raise Mistake("TEXT is empty: say what to look for")
    project = open_project(policies, collection)
    store = live_store(project, collection)
    query = Query(
        mode=Mode(mode),
        text=text,
        vector=None if mode == "keyword" else _vector(project, collection, text),
        filter=None if filter is None else _filter(store, collection, filter),
    )
    try:
        hits = store.search(collection, query, limit=limit)
    except NotFound as error:
        raise _lost(collection, error) from error
    return give(_search_answer(collection, hits), as_json=as_json)


def diff(
    collection: Collection,
    a: Annotated[str, typer.Argument(metavar="AT", help=f"From: {AT}")],
    b: Annotated[str, typer.Argument(metavar="AT", help=f"To: {AT}")],
    limit: Limit = 1000,
    policies: Policies = POLICIES,
    as_json: Json = False,
) -> int:
    """Show which documents were added, removed and changed between two points, and what of them.

    Examples:
      dr diff handbook seq:120 latest
      dr diff handbook 2026-01-12 2026-01-14
    """
    from dr_pipelines import diff as verb

    project = open_project(policies, collection)
    before, after = point_at(project, collection, a), point_at(project, collection, b)
    found = verb.diff(project.reading(), before, after, limit=limit)
    return give(_diff_answer(collection, found), as_json=as_json)


def _vector(project: "Project", collection: str, text: str) -> "FloatArray":
    """The query's vector; raises `Mistake` where the policies name nothing that makes it."""
    if project.collection(collection).embedder is None:
        raise Mistake(f"{collection!r} has no embedder in the policies: use --mode keyword")
    try:
        vectors = project.lineage(collection).embedder.embed_queries([text])
    except TextTooLong as error:
        raise Mistake(
            f"TEXT has {error.counts[0]} {error.unit} with the query's prompt, and model "
            f"{error.model!r} reads {error.limit}: give a shorter one, or use --mode keyword"
        ) from error
    found: FloatArray = vectors[0]
    return found


def _filter(store: "VectorStore", collection: str, text: str) -> "Filter":
    from dr_pipelines.model.filter_syntax import parse_filter

    try:
        spec = store.describe(collection)
    except NotFound as error:
        raise _lost(collection, error) from error
    with asking():
        return parse_filter(text, spec)


def _lost(collection: str, error: NotFound) -> NotFound:
    return NotFound(f"{error}. If it was lost: dr restore {collection} --switch")


def _search_answer(collection: str, hits: "list[Hit]") -> Answer:
    value = {"collection": collection, "hits": [asdict(hit) for hit in hits]}

    def show(console: "Console") -> None:
        from dr_pipelines.console import table

        if not hits:
            console.print("nothing found")
            return
        shown = table("score", "id", "text", right=("score",), fold=("id", "text"))
        for hit in hits:
            shown.add_row(f"{hit.score:.4f}", displayed_line(hit.id), snippet(hit.text or ""))
        console.print(shown)

    return Answer(value, show)


def snippet(text: str) -> str:
    """The beginning of a text, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= SNIPPET else f"{line[: SNIPPET - 1]}…"


def _diff_answer(collection: str, found: "Diff") -> Answer:
    value = {
        "collection": collection,
        "a": found.a,
        "b": found.b,
        "equal": found.equal,
        "added": list(found.added),
        "removed": list(found.removed),
        "changed": [_change_value(change) for change in found.changed],
        "added_total": found.added_total,
        "removed_total": found.removed_total,
        "changed_total": found.changed_total,
        "unchanged": found.unchanged,
    }

    def show(console: "Console") -> None:
        console.print(
            f"{collection}, {found.a} → {found.b}: {found.added_total} added, "
            f"{found.removed_total} removed, {found.changed_total} changed, "
            f"{found.unchanged} unchanged"
        )
        for mark, named, total in (
            ("+", found.added, found.added_total),
            ("-", found.removed, found.removed_total),
            ("~", found.changed, found.changed_total),
        ):
            for item in named:
                text = item if isinstance(item, str) else f"{item.id}: {_described(item)}"
                console.print(f"  {mark} {displayed_line(text)}", soft_wrap=True)
            if total > len(named):
                console.print(f"  {mark} and {total - len(named)} more: give a larger --limit")

    return Answer(value, show)


def _change_value(change: "DocumentChange") -> dict[str, Any]:
    return {
        "id": change.id,
        "text": change.text,
        "vectors": change.vectors,
        "fields": {
            field.name: {"old": _plain(field.old), "new": _plain(field.new)}
            for field in change.fields
        },
    }


def _described(change: "DocumentChange") -> str:
    parts = [
        name for name, differs in (("text", change.text), ("vectors", change.vectors)) if differs
    ]
    parts += [
        f"{field.name} {_plain(field.old)!r} → {_plain(field.new)!r}" for field in change.fields
    ]
    return ", ".join(parts) or "written again with the same values"


def _plain(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value
