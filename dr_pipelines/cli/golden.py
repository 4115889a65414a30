"""`dr golden`: what a collection must answer."""

from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dr_pipelines.cli.options import AT, POLICIES, Collection, Json, Policies
from dr_pipelines.cli.output import Answer, ExitCode, Mistake, asking, give
from dr_pipelines.cli.query_vectors import embedded_queries
from dr_pipelines.cli.session import live_store, open_project, point_at
from dr_pipelines.model.display import displayed_line

if TYPE_CHECKING:  # imported by the commands that need them
    from rich.console import Console

    from dr_pipelines.contents.answers import PointAnswers, StoreAnswers
    from dr_pipelines.model.golden import GoldenSet
    from dr_pipelines.project.project import Project
    from dr_pipelines.proof.golden import Answered, GoldenReport

NAMED = 10
"""Documents that changed or are gone, in a message; --json has all."""


def check(
    collection: Collection,
    at: Annotated[
        str | None,
        typer.Option(
            "--at", metavar="AT", help=f"Ask a recovery point instead of the live store: {AT}"
        ),
    ] = None,
    into: Annotated[
        str | None,
        typer.Option(
            "--in",
            metavar="NAME",
            help="Ask this collection of the store, such as one that a restore made and nobody "
            "switched to yet.",
        ),
    ] = None,
    policies: Policies = POLICIES,
    as_json: Json = False,
) -> int:
    """Ask the golden queries of a collection, and say which do not hold. Reads only.

    The live store is asked as applications ask, by its own indexes; a recovery point is answered
    exactly, from the repository, with nothing restored.

    Examples:
      dr golden check handbook
      dr golden check handbook --at latest
      dr golden check handbook --in handbook@12-520d

    Exit code 1: a query does not hold. 3: all hold, but documents they name have another text
    since, or are gone.
    """
    if at is not None and into is not None:
        raise Mistake("--at asks a recovery point and --in the store: give only one")
    from dr_pipelines.proof.golden import check_golden, texts_to_embed

    project = open_project(policies, collection)
    golden = _golden(project, collection)
    texts = texts_to_embed(golden)
    with ExitStack() as stack:
        answers = asked_of(project, collection, at=at, into=into, stack=stack)
        vectors = {}
        if texts:
            made = embedded_queries(
                project,
                lambda: answers.spec,
                collection,
                texts,
                None,
                what="the text of a golden query",
                instead="or ask by words (mode: keyword) or by a record (like: ID)",
            )
            vectors = dict(zip(texts, made.vectors, strict=True))
        with asking():
            report = check_golden(golden, answers, vectors=vectors)
    where = at or into or "live"
    return give(_answer(collection, where, report), as_json=as_json)


def _golden(project: "Project", collection: str) -> "GoldenSet":
    from dr_pipelines.project.golden_file import load_golden

    path = project.collection(collection).policy.golden
    if path is None:
        raise Mistake(
            f"{collection!r} has no golden queries: name their file in the policies "
            f"(collections.{collection}.golden; docs/golden.md says how one is written)"
        )
    return load_golden(project.context.path(path))


def asked_of(
    project: "Project", collection: str, *, at: str | None, into: str | None, stack: ExitStack
) -> "StoreAnswers | PointAnswers":
    """Who answers: the live store, a collection `into` of it, or a recovery point, until `stack`
    ends."""
    from dr_pipelines.contents.answers import StoreAnswers, answers_at

    if at is None:
        return StoreAnswers.of(live_store(project, collection), into or collection)
    point = point_at(project, collection, at)
    return stack.enter_context(answers_at(project.collection(collection).history(), point))


def _answer(collection: str, where: str, report: "GoldenReport") -> Answer:
    value: dict[str, Any] = {
        "collection": collection,
        "asked": where,
        "holds": not report.failed,
        "refuses_traffic": report.refuses_traffic,
        "queries": [_value(answered) for answered in report.answered],
        "changed_since_judged": list(report.changed),
        "gone": list(report.gone),
    }

    def show(console: "Console") -> None:
        console.print(
            f"{collection}, {displayed_line(where)}: {len(report.answered)} golden queries, "
            f"{len(report.failed)} do not hold",
            soft_wrap=True,
        )
        shown_failures(console, report)
        for documents, what in (
            (report.changed, "have another text since somebody judged them"),
            (report.gone, "are not in the collection"),
        ):
            if documents:
                console.print(f"  {_some(documents)}: {what}", soft_wrap=True)

    return Answer(value, show, _code(report))


def shown_failures(console: "Console", report: "GoldenReport") -> None:
    """Every query that does not hold, and what must be otherwise."""
    for answered in report.failed:
        must = " (nothing may be served while it fails)" if answered.query.must_hold else ""
        console.print(f"  {answered.query.id}{must}", soft_wrap=True)
        for failure in answered.failures:
            console.print(f"    {displayed_line(failure)}", soft_wrap=True)


def _code(report: "GoldenReport") -> ExitCode:
    if report.failed:
        return ExitCode.FAILED
    return ExitCode.PARTIAL if report.changed or report.gone else ExitCode.SUCCEEDED


def _value(answered: "Answered") -> dict[str, Any]:
    return {
        "id": answered.query.id,
        "must_hold": answered.query.must_hold,
        "holds": not answered.failures,
        "failures": list(answered.failures),
        "documents": list(answered.documents),
        "recall": answered.recall,
        "ndcg": answered.ndcg,
        "judged": answered.judged,
    }


def _some(documents: tuple[str, ...]) -> str:
    named = ", ".join(displayed_line(name) for name in documents[:NAMED])
    more = len(documents) - NAMED
    return f"{named} and {more} more (--json names all)" if more > 0 else named
