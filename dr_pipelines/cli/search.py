"""`dr search`: by meaning, by words, or by the vector of a record."""

from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dr_pipelines.cli.options import (
    POLICIES,
    Collection,
    Json,
    Limit,
    Policies,
    one_of,
)
from dr_pipelines.cli.output import (
    Answer,
    Mistake,
    asking,
    give,
)
from dr_pipelines.cli.query_vectors import embedded_queries
from dr_pipelines.cli.session import live_store, open_project
from dr_pipelines.errors import DrError, NotFound
from dr_pipelines.model.display import displayed_line

if TYPE_CHECKING:  # imported by the commands that need them
    from collections.abc import Iterator

    import pyarrow as pa
    from rich.console import Console

    from dr_pipelines.contents.query_vectors import QueryVectors
    from dr_pipelines.model.collection import CollectionSpec
    from dr_pipelines.model.query import Filter, FloatArray, Hit
    from dr_pipelines.project.project import Project
    from dr_pipelines.protocols import VectorStore

SNIPPET = 160


def search(
    collection: Collection,
    text: Annotated[
        str | None, typer.Argument(metavar="TEXT", help="Text to search for.", show_default=False)
    ] = None,
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
    like: Annotated[
        str | None,
        typer.Option(
            "--like",
            metavar="ID",
            help="Instead of TEXT: find records near this one, by its stored vector.",
        ),
    ] = None,
    embedder: Annotated[
        str | None,
        typer.Option(
            "--embedder",
            metavar="NAME",
            help="The embedder of the policies that embeds TEXT.",
        ),
    ] = None,
    limit: Limit = 5,
    policies: Policies = POLICIES,
    as_json: Json = False,
) -> int:
    """Ask the live store.

    Examples:
      dr search handbook "stale weather map"
      dr search handbook map --mode hybrid --filter "team = 'cloud'" --limit 3
      dr search memories --like note-17
    """
    from dr_pipelines.model.query import Mode, Query

    _require_one_question(text, like, mode, embedder)
    project = open_project(policies, collection)
    store = live_store(project, collection)
    embedded = None
    with _advised(project, collection):
        if like is None and mode != "keyword":
            describe = partial(_described, store, collection)
            embedded = embedded_queries(project, describe, collection, [text or ""], embedder)
        vector = embedded.vectors[0] if embedded else None
        if like is not None:
            vector = _stored_vector(store, collection, like)
        query = Query(
            mode=Mode(mode),
            text=text,
            vector=vector,
            filter=None if filter is None else _filter(store, collection, filter),
        )
        try:
            hits = store.search(collection, query, limit=limit + (like is not None))
        except NotFound as error:
            raise _Gone(str(error)) from error
    hits = [hit for hit in hits if hit.id != like][:limit]
    return give(_answer(collection, hits, embedded, like), as_json=as_json)


def _require_one_question(
    text: str | None, like: str | None, mode: str, embedder: str | None
) -> None:
    if like is None:
        if not (text or "").strip():
            raise Mistake("TEXT is empty: say what to look for, or give --like ID")
        if embedder is not None and mode == "keyword":
            raise Mistake("--embedder is for searches by meaning: leave it out with --mode keyword")
    elif text is not None or mode != "vector" or embedder is not None:
        raise Mistake(
            "--like asks by the vector of a record: leave out TEXT, --embedder and other modes"
        )


def _stored_vector(store: "VectorStore", collection: str, record: str) -> "FloatArray":
    """The vector that the store has of a record; raises `NotFound`, or `Mistake` where it has
    none."""
    import numpy as np

    from dr_pipelines.contents.record_vectors import stored_vector

    columns = ["id", _described(store, collection).vectors[0].name]

    def records(documents: list[str] | None) -> "Iterator[pa.RecordBatch]":
        try:
            yield from store.scan(collection, columns=columns, documents=documents)
        except NotFound as error:
            raise _Gone(str(error)) from error

    value = stored_vector(record, records)
    if value is None:
        raise NotFound(f"{collection}: no record {displayed_line(record)!r} in the store")
    if not value.is_valid:
        raise Mistake(f"{displayed_line(record)!r} has no vector to search by")
    return np.asarray(value.as_py(), np.float32)


def _filter(store: "VectorStore", collection: str, text: str) -> "Filter":
    from dr_pipelines.model.filter_syntax import parse_filter

    spec = _described(store, collection)
    with asking():
        return parse_filter(text, spec)


def _described(store: "VectorStore", collection: str) -> "CollectionSpec":
    try:
        return store.describe(collection)
    except NotFound as error:
        raise _Gone(str(error)) from error


class _Gone(NotFound):
    """The collection itself is not there, as against a record of it."""


@contextmanager
def _advised(project: "Project", collection: str) -> "Iterator[None]":
    """Who asks a collection that is gone is told what brings it back."""
    try:
        yield
    except _Gone as error:
        raise _lost(project, collection, error) from error


def _lost(project: "Project", collection: str, error: _Gone) -> NotFound:
    """The same, with the command that brings this collection back."""
    from dr_pipelines.planning.serving import way_back

    try:
        manifest = project.collection(collection).history().manifest()
    except DrError:  # of a log that cannot be read nobody knows more
        manifest = None
    physical = manifest.current.physical if manifest else ""
    return NotFound(f"{error}. If it was lost: {way_back(collection, physical)}")


def _answer(
    collection: str, hits: "list[Hit]", embedded: "QueryVectors | None", like: str | None
) -> Answer:
    value: dict[str, Any] = {"collection": collection, "hits": [asdict(hit) for hit in hits]}
    if like is not None:
        value["like"] = like
    if embedded is not None:
        value["query"] = {
            "model": embedded.model,
            "runtime": embedded.runtime,
            "reason": embedded.reason,
            "proven": embedded.proven,
        }

    def show(console: "Console") -> None:
        from dr_pipelines.cli.console import table

        if embedded is not None and embedded.proven == "dimension":
            console.print(
                f"nothing proves that {embedded.model} is the model that made these vectors",
                soft_wrap=True,
            )
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
