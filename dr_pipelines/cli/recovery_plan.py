"""The command that plans a recovery from an incident: plan."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from dr_pipelines.cli.options import POLICIES, Json, Policies, a_hash, a_number, one_of
from dr_pipelines.cli.output import Answer, ExitCode, Mistake, asking, give
from dr_pipelines.cli.session import open_project, stores_asked_for
from dr_pipelines.cli.terms import a_time

if TYPE_CHECKING:  # imported by the commands that need them
    from rich.console import Console

    from dr_pipelines.model.incident import Incident, IncidentKind, SavedFacts
    from dr_pipelines.model.recovery_plan import RecoveryPlan

KINDS = (
    "collection",
    "documents",
    "store",
    "repository-site",
    "corruption-since",
    "bad-batch",
    "wrong-embeddings",
    "wrong-schema",
)


def plan(
    collections: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[COLLECTION]...",
            help="Collections that the policies name; by default all.",
            show_default=False,
        ),
    ] = None,
    incident: Annotated[
        str,
        typer.Option(
            "--incident",
            parser=one_of(*KINDS),
            metavar="KIND",
            help=f"What happened: {', '.join(KINDS)}.",
        ),
    ] = "collection",
    store: Annotated[
        str | None,
        typer.Option(
            "--store", metavar="STORE", help="With --incident store: the store that is lost."
        ),
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            "--since",
            parser=a_time,
            metavar="TIME",
            help="When the damage began, by the clocks of those who wrote the log.",
        ),
    ] = None,
    entry: Annotated[
        list[int] | None,
        typer.Option(
            "--entry",
            parser=a_number(1),
            metavar="N",
            help="With --incident bad-batch: a log entry that brought it; may repeat.",
        ),
    ] = None,
    document: Annotated[
        list[str] | None,
        typer.Option(
            "--document",
            metavar="ID",
            help="With --incident documents: a document that is lost; may repeat.",
        ),
    ] = None,
    at: Annotated[
        str,
        typer.Option(
            "--at",
            metavar="AT",
            help="The point to return to, where somebody knows it: log:N, seq:N or a time. By "
            "default the newest that the incident has not reached.",
        ),
    ] = "latest",
    into: Annotated[
        str | None,
        typer.Option(
            "--into", metavar="STORE", help="Recover into this store; by default the one it was in."
        ),
    ] = None,
    accept_loss: Annotated[
        bool,
        typer.Option(
            "--accept-loss", help="Plan restores although a store cannot keep parts of them."
        ),
    ] = False,
    accept_code: Annotated[
        list[str] | None,
        typer.Option(
            "--accept-code",
            parser=a_hash,
            metavar="DIGEST",
            help="Code that may be run, by the digest that a plan names; may repeat.",
        ),
    ] = None,
    facts: Annotated[
        Path | None,
        typer.Option(
            "--facts",
            metavar="FILE",
            help="Plan from the facts in this file, and look at nothing. Where there is no such "
            "file, they are gathered and saved in it first.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Save the plan, for dr recover --plan FILE."),
    ] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Only say what would stand in the way of a recovery today, with each way out.",
        ),
    ] = False,
    policies: Policies = POLICIES,
    as_json: Json = False,
) -> int:
    """Plan a recovery from an incident; changes nothing.

    For each collection, in order of priority: the recovery point and why, the route and why, what
    it will take by earlier recoveries, what is lost, and which objectives will be met. Facts are
    gathered first; the same facts give the same plan, byte for byte.

    Examples:
      dr plan
      dr plan handbook --out plan.json
      dr plan --incident store --store local --into standby
      dr plan handbook --incident corruption-since --since 2026-05-31T10:00:00Z
      dr plan handbook --incident bad-batch --entry 42
      dr plan handbook --facts facts.json
      dr plan --check

    Exit code 3: something stands in the way, or a collection has no way back. With --check that is
    1.
    """
    from dr_pipelines.model.incident import Incident

    words = Incident(
        kind=cast("IncidentKind", incident),
        collections=tuple(collections or ()),
        store=store,
        at=at,
        since=since,
        entries=tuple(entry or ()),
        documents=tuple(document or ()),
        into=into,
        accept_loss=accept_loss,
        accept_code=tuple(accept_code or ()),
    )
    _require_sense(words)
    if check:
        if words != Incident(kind="collection", collections=words.collections) or facts or out:
            raise Mistake("--check looks at what would stand in the way: use it without the others")
        return give(_check_answer(_facts(words, None, policies)), as_json=as_json)
    from dr_pipelines.planning.recovery_plan import plan_incident

    made = plan_incident(_facts(words, facts, policies))
    if out is not None:
        _write(out, made.canonical(), option="--out")
    return give(_answer(made, out), as_json=as_json)


NEEDS = {
    "store": ("store", "--store STORE"),
    "corruption-since": ("since", "--since TIME"),
    "bad-batch": ("entries", "--entry N"),
    "documents": ("documents", "--document ID"),
}
"""The field that a kind of incident needs, and the option that gives it."""
SINCE_TOO = ("wrong-embeddings", "wrong-schema")
"""Kinds with which --since makes sense, too."""


def _require_sense(incident: "Incident") -> None:
    """Raise `Mistake` where an option is missing for the kind of incident, or is for another."""
    for kind, (name, option) in NEEDS.items():
        value = getattr(incident, name)
        if incident.kind == kind and not value:
            raise Mistake(f"--incident {kind} needs {option}")
        fits = incident.kind == kind or (name == "since" and incident.kind in SINCE_TOO)
        if value and not fits:
            raise Mistake(f"{option} says nothing to --incident {incident.kind}")
    one = incident.documents or incident.entries or incident.at != "latest"
    if one and len(incident.collections) != 1:
        raise Mistake("--document, --entry and --at are about one collection: name it")


def _facts(words: "Incident", file: Path | None, policies: Path) -> "SavedFacts":
    """The facts in a file, or new ones, which are saved in it."""
    if file is not None and file.exists():
        return _read_facts(words, file)
    from dr_pipelines.project.facts import gather_facts
    from dr_pipelines.project.process import now

    project = open_project(policies, *words.collections)
    for name in (words.store, words.into):
        stores_asked_for(project, name)
    with asking():
        gathered = gather_facts(project, words, now=now())
    if file is not None:
        _write(file, gathered.canonical(), option="--facts")
    return gathered


def _read_facts(words: "Incident", file: Path) -> "SavedFacts":
    from pydantic import ValidationError

    from dr_pipelines.model.incident import Incident, SavedFacts

    try:
        saved = SavedFacts.model_validate_json(file.read_bytes())
    except OSError as error:
        raise Mistake(f"--facts {file} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise Mistake(
            f"--facts {file} holds no facts of this version: name another file, or remove it"
        ) from error
    if words not in (Incident(kind="collection"), saved.incident):
        raise Mistake(
            f"the facts in {file} were gathered for another incident ({saved.incident.kind}): name "
            "a new file, or leave the other options out"
        )
    return saved


def _write(file: Path, data: bytes, *, option: str) -> None:
    try:
        file.write_bytes(data + b"\n")
    except OSError as error:
        raise Mistake(f"{option} {file} cannot be written: {error.strerror}") from error


def _answer(made: "RecoveryPlan", out: Path | None) -> Answer:
    def show(console: "Console") -> None:
        from dr_pipelines.planning.plan_page import page

        console.print(page(made), end="", soft_wrap=True)
        if out is not None and not any(c.request for c in made.collections):
            console.print(f"\nSaved in {out}: no restore carries it out", soft_wrap=True)
        elif out is not None:
            console.print(f"\nTo carry it out: dr recover --plan {out}", soft_wrap=True)

    code = ExitCode.SUCCEEDED if made.feasible else ExitCode.PARTIAL
    return Answer(made.model_dump(mode="json"), show, code)


def _check_answer(saved: "SavedFacts") -> Answer:
    from dr_pipelines.planning.recovery_plan import plan_incident

    obstacles = plan_incident(saved).obstacles
    names = [fact.name for fact in saved.collections]
    value = {
        "at": saved.at.isoformat(),
        "collections": names,
        "obstacles": [obstacle.model_dump(mode="json") for obstacle in obstacles],
    }

    def show(console: "Console") -> None:
        from dr_pipelines.cli.console import plural, wrapped
        from dr_pipelines.planning.plan_page import obstacle_lines

        for obstacle in obstacles:
            for number, line in enumerate(obstacle_lines(obstacle)):
                text = wrapped(line, console=console, indent=2 * number)
                console.print(text, soft_wrap=True)
        looked_at = ", ".join(names)
        if not obstacles:
            console.print(f"Nothing stands in the way of a recovery: {looked_at}")
        else:
            noun = plural("obstacle", obstacles)
            console.print(f"{len(obstacles)} {noun} to a recovery: {looked_at}")

    return Answer(value, show, ExitCode.FAILED if obstacles else ExitCode.SUCCEEDED)
