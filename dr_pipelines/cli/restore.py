"""The command that brings a collection back: restore."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from dr_pipelines.cli.options import (
    POLICIES,
    At,
    Collection,
    ExpectHead,
    Json,
    Policies,
    StoreName,
    a_hash,
    one_of,
)
from dr_pipelines.cli.output import (
    Answer,
    ExitCode,
    Mistake,
    asking,
    give,
)
from dr_pipelines.cli.plan import plan_answer, tell, tell_estimate
from dr_pipelines.cli.session import (
    named_store,
    open_project,
    require_head,
)
from dr_pipelines.cli.terms import Began, By, EvidenceDirectory, GoOn, Reason, TimeOut, given_terms
from dr_pipelines.errors import NotFound, in_words
from dr_pipelines.model.display import displayed

if TYPE_CHECKING:  # imported by the commands that need them
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console

    from dr_pipelines.model.recovery import Recovery, Request
    from dr_pipelines.project.project import Project
    from dr_pipelines.recovery.resources import Resources
    from dr_pipelines.recovery.stopped import Stopped


def restore(
    collection: Collection,
    at: At = "latest",
    route: Annotated[
        str,
        typer.Option(
            "--route",
            parser=one_of("load", "replay", "native", "auto"),
            metavar="load|replay|native|auto",
            help="load: the vectors that were kept. replay: embed the kept chunks again. native: "
            "the engine's own files with their indexes, where `dr backup --native` kept them. "
            "auto: native where they were kept for this point, else load.",
        ),
    ] = "load",
    into: Annotated[
        str | None,
        typer.Option(
            "--into",
            metavar="NAME",
            help="Name of the new collection in the store. COLLECTION itself if that was lost: it "
            "is then served while it is being built.",
        ),
    ] = None,
    store: StoreName = None,
    switch: Annotated[
        bool, typer.Option("--switch", help="Serve the restored collection once it is proven.")
    ] = False,
    embedder: Annotated[
        str | None,
        typer.Option(
            "--embedder",
            metavar="NAME",
            help="With --route replay: another embedder of the policies, for a new collection.",
        ),
    ] = None,
    accept_loss: Annotated[
        bool,
        typer.Option(
            "--accept-loss",
            help="Restore although the store cannot keep parts of the collection.",
        ),
    ] = False,
    accept_code: Annotated[
        str | None,
        typer.Option(
            "--accept-code",
            parser=a_hash,
            metavar="DIGEST",
            help="Run code of others that definitions of the collection call: exactly the calls "
            "and statements for which --plan prints this digest.",
        ),
    ] = None,
    with_roles: Annotated[
        bool,
        typer.Option(
            "--with-roles",
            help="Grant created roles the memberships that they had; never one in a role with "
            "rights beyond using data.",
        ),
    ] = False,
    catch_up: Annotated[
        bool,
        typer.Option(
            "--catch-up",
            help="With --at and --switch: before it is served, bring everything that was logged "
            "since that point, as a restore of the newest point does. Without, that is left behind "
            "and listed.",
        ),
    ] = False,
    plan_only: Annotated[
        bool,
        typer.Option(
            "--plan", help="Print what would be done, with the exact SQL; change nothing."
        ),
    ] = False,
    go_on: GoOn = None,
    by: By = None,
    reason: Reason = None,
    began: Began = None,
    time_out: TimeOut = None,
    evidence: EvidenceDirectory = None,
    expect_head: ExpectHead = None,
    policies: Policies = POLICIES,
    as_json: Json = False,
) -> int:
    """Build a collection beside the one being served, prove it by reading it back, and with
    --switch serve it.

    Nothing is restored over a collection that is being served, which goes on accepting writes:
    what is logged meanwhile is caught up before the switch, unless an older point was asked for.
    After a crash the same command goes on where it stopped. Into a store of another engine, what
    becomes of each part is said first.

    What an engine's own clients had made, and ask for by its own name, comes back under that name
    by --into COLLECTION, if nothing has the name any more: they see it while it is built. Without,
    the name becomes an alias.

    Examples:
      dr restore handbook --switch
      dr restore memories --into memories
      dr restore handbook --at 2026-01-31T12:00:00Z --into before-the-import
      dr restore handbook --route replay --embedder minilm --switch
      dr restore handbook --store other-engine --accept-loss
      dr restore handbook --route native --switch
      dr restore handbook --plan

    What differs from the recovery point is a finding: the restore stops at the end of the phase,
    and nothing is served. --go-on goes on in spite of one, by name.

    Exit code 1: a finding refuses it. 3: it is restored, and some part of its configuration is not
    as it was. 5: it took longer than --time-out.
    """
    from dr_pipelines.cli.meter import metering
    from dr_pipelines.model.recovery import Request, Route
    from dr_pipelines.planning.refusals import require_possible, require_runnable
    from dr_pipelines.project.recovery import clock_of, steps_after
    from dr_pipelines.recovery.plan import plan_recovery
    from dr_pipelines.recovery.run import run_recovery
    from dr_pipelines.recovery.stopped import Stopped

    project = open_project(policies, collection)
    require_head(project, collection, expect_head)
    request = Request(
        collection=collection,
        store=named_store(project, store, collection),
        at=at,
        clock=clock_of(project.collection(collection).policy),
        route="auto" if route == "auto" else Route(route),
        embedder=embedder,
        into=into,
        switch=switch,
        accept_loss=accept_loss,
        accept_code=accept_code,
        with_roles=with_roles,
        catch_up=catch_up,
        terms=given_terms(go_on, by=by, reason=reason, began=began, time_out=time_out),
    )
    resources = _opened(project, request, evidence=evidence)
    with asking():
        plan = plan_recovery(request, resources)
    if plan_only:
        return give(plan_answer(plan, accepted=accept_code), as_json=as_json)
    with asking():
        require_possible(plan)
    tell(plan)
    require_runnable(plan)
    tell_estimate(plan)
    try:
        with metering(f"restoring {collection}") as meter:
            done = run_recovery(plan, resources, progress=meter.rows)
    except Stopped as error:
        return give(_stopped_answer(error), as_json=as_json)
    then = steps_after(project, done, policies=str(policies))
    return give(_restore_answer(done, then), as_json=as_json)


def _opened(project: "Project", request: "Request", *, evidence: "Path | None") -> "Resources":
    """The parts that the request names; raises `Mistake` for an unknown embedder."""
    from dr_pipelines.project.recovery import open_for

    if request.embedder is not None:
        try:
            project.require_embedder(request.embedder)
        except NotFound as error:
            raise Mistake(str(error)) from error
    with asking():
        return open_for(project, request, evidence=evidence)


def _stopped_answer(error: "Stopped") -> Answer:
    """A recovery that its findings ended: the message is on standard error for everybody."""
    from dr_pipelines.recovery.verdict_report import verdict_value

    sys.stderr.write(f"{displayed(in_words(error))}\n")
    value = {
        "error": in_words(error),
        "kind": type(error).__name__,
        "verdict": verdict_value(error.verdict, error.made_in),
    }
    return Answer(value, lambda _: None, ExitCode.FAILED)


def _restore_answer(done: "Recovery", then: "Sequence[str]") -> Answer:
    from dr_pipelines.recovery.line_report import line_lines
    from dr_pipelines.recovery.report import (
        chosen_lines,
        compared_line,
        evidence_lines,
        interruption_lines,
        recovery_head,
        recovery_lines,
        recovery_value,
    )
    from dr_pipelines.recovery.verdict_report import check_rows, verdict_head, verdict_lines

    def show(console: "Console") -> None:
        from dr_pipelines.cli.console import (
            number,
            seconds,
            table,
            wrapped,
        )

        console.print(recovery_head(done))
        console.print(compared_line(done))
        phases = table("phase", "time", "rows", right=("time", "rows"))
        for phase in done.phases:
            rows = number(phase.rows) if phase.rows else ""
            phases.add_row(phase.name, seconds(phase.seconds), rows)
        console.print(phases)
        console.print(verdict_head(done.verdict))
        checks = table("check", "phase", "looked at", "result", right=("looked at",))
        for row in check_rows(done.verdict, done.made_in):
            checks.add_row(*row)
        console.print(checks)
        for line in verdict_lines(done.verdict):
            console.print(wrapped(line, console=console, indent=0), soft_wrap=True)
        for line in [*chosen_lines(done), *interruption_lines(done)]:
            console.print(line)
        for line in line_lines(done):
            console.print(wrapped(line, console=console, indent=0), soft_wrap=True)
        for line in evidence_lines(done.evidence):
            console.print(line, soft_wrap=True)
        for line in recovery_lines(done):
            console.print(wrapped(line, console=console, indent=0), soft_wrap=True)
        console.print(" ".join(then))

    code = ExitCode.SUCCEEDED if done.whole else ExitCode.PARTIAL
    return Answer(recovery_value(done), show, code)
