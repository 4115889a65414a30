"""Commands that bring data back: restore, replay."""

from dataclasses import asdict
from datetime import date
from typing import TYPE_CHECKING, Annotated

import typer

from dr_pipelines.cli.fitness import refused_lines
from dr_pipelines.cli.options import (
    POLICIES,
    At,
    Collection,
    ExpectHead,
    Json,
    Policies,
    StoreName,
    a_day,
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
from dr_pipelines.cli.plan import (
    membership_lines,
    misfit_lines,
    note_lines,
    plan_answer,
)
from dr_pipelines.cli.session import (
    named_store,
    open_project,
    point_at,
    require_head,
)
from dr_pipelines.errors import NotFound

if TYPE_CHECKING:  # imported by the commands that need them
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console

    from dr_pipelines.ingestion.lineage import Lineage
    from dr_pipelines.ingestion.replay import Replayed
    from dr_pipelines.model.parts import PartFinding
    from dr_pipelines.model.recovery import Plan, Recovery
    from dr_pipelines.model.recovery_point import RecoveryPoint
    from dr_pipelines.project.project import Project


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
            help="Name of the new collection in the store. COLLECTION itself where that was lost: "
            "then it is served from the moment it is there.",
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
            help="Go on although parts of the collection cannot be kept in the store.",
        ),
    ] = False,
    accept_code: Annotated[
        str | None,
        typer.Option(
            "--accept-code",
            parser=a_hash,
            metavar="DIGEST",
            help="Go on although definitions of the collection call code of others: exactly the "
            "calls and statements of which --plan prints this digest.",
        ),
    ] = None,
    with_roles: Annotated[
        bool,
        typer.Option(
            "--with-roles",
            help="Grant roles that are made again the memberships that they had; never one in a "
            "role that may more than use data.",
        ),
    ] = False,
    plan_only: Annotated[
        bool,
        typer.Option("--plan", help="Say what would be done, with the exact SQL; touch nothing."),
    ] = False,
    expect_head: ExpectHead = None,
    policies: Policies = POLICIES,
    as_json: Json = False,
) -> int:
    """Build a collection beside the one being served, prove it by reading it back, and with
    --switch serve it.

    Nothing is restored over a collection that is being served. After a crash the same command
    goes on where it stopped. Into a store of another engine, what becomes of each part is said
    first.

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

    Exit code 3: it is restored, and some part of its configuration is not as it was.
    """
    from dr_pipelines.cli.meter import metering
    from dr_pipelines.model.recovery import Route
    from dr_pipelines.planning.recovery import require_allowed
    from dr_pipelines.recovery.plan import outline_restore
    from dr_pipelines.recovery.run import restore as carry_out

    if embedder is not None and route != "replay":
        raise Mistake("--embedder is for --route replay: load takes the vectors that were kept")
    project = open_project(policies, collection)
    require_head(project, collection, expect_head)
    store_name = named_store(project, store, collection)
    point = point_at(project, collection, at)
    lineage = _lineage(project, collection, embedder) if route == "replay" else None
    target = project.store(store_name)
    repository = project.reading() if plan_only else project.repository()
    if route == "auto":
        route = _quickest(project, point, store_name)
    with asking():
        plan = outline_restore(
            point,
            repository=repository,
            store=target,
            store_name=store_name,
            route=Route(route),
            lineage=lineage,
            into=into,
            switch=switch,
            with_roles=with_roles,
        )
    if plan_only:
        return give(plan_answer(plan, accepted=accept_code), as_json=as_json)
    _tell(plan)
    require_allowed(plan, accept_loss=accept_loss, accept_code=accept_code)
    _tell_estimate(plan)
    with metering(f"restoring {collection}") as meter:
        done = carry_out(
            point,
            plan,
            repository=repository,
            store=target,
            lease=project.lease,
            lineage=lineage,
            native=project.native(store_name) if route == "native" else None,
            progress=meter.rows,
        )
    same_model = lineage is None or lineage.provenance == point.manifest.provenance
    then = _then(project, done, policies)
    return give(_restore_answer(done, then, same_model=same_model), as_json=as_json)


def replay(
    collection: Collection,
    first: Annotated[
        date,
        typer.Option("--from", parser=a_day, metavar="DATE", help="First day to replay, UTC."),
    ],
    last: Annotated[
        date, typer.Option("--to", parser=a_day, metavar="DATE", help="Last day to replay, UTC.")
    ],
    policies: Policies = POLICIES,
    as_json: Json = False,
) -> int:
    """Embed some ingested days again from their kept chunks, and repair the served collection.

    Needs neither the source nor the kept vectors. Any days, in any order, repeated: the same
    state.

    Example:
      dr replay handbook --from 2026-01-12 --to 2026-01-14
    """
    if first > last:
        raise Mistake(f"--from {first} is after --to {last}")
    from dr_pipelines.cli.meter import metering
    from dr_pipelines.ingestion.replay import replay as carry_out

    project = open_project(policies, collection)
    lineage = _lineage(project, collection, None)
    point_at(project, collection, "latest")  # raises: there is nothing to replay yet
    with metering(collection) as meter:
        done = carry_out(
            lineage,
            repository=project.repository(),
            store=project.store_of(collection),
            lease=project.lease,
            first=first,
            last=last,
            progress=meter.rows,
            on_day=meter.day,
        )
    return give(_replay_answer(collection, done), as_json=as_json)


def _lineage(project: "Project", collection: str, embedder: str | None) -> "Lineage":
    if embedder is not None:
        try:
            project.require_embedder(embedder)
        except NotFound as error:
            raise Mistake(str(error)) from error
    with asking():
        return project.lineage(collection, embedder=embedder)


def _quickest(project: "Project", point: "RecoveryPoint", store: str) -> str:
    """The engine's own files need no index to be built; where there are none, the kept vectors."""
    from dr_pipelines.backup.native import kept_for
    from dr_pipelines.planning.parts import namespace

    engine = namespace(project.store(store).engine)
    kept = project.native(store) and kept_for(project.repository(), point, engine=engine)
    return "native" if kept else "load"


def _tell(plan: "Plan") -> None:
    """What becomes of the collection in the store, where not everything is plainly the same; to
    standard error, which is read before the answer and stays out of it."""
    from dr_pipelines.cli.console import output, wrapped

    granted = plan.definitions.memberships if plan.definitions else ()
    if not plan.notes and not plan.misfits and not granted:
        return
    console = output(errors=True)
    console.print(f"{plan.collection} in store {plan.store}:")
    for line in [*note_lines(plan.notes), *misfit_lines(plan), *membership_lines(plan)]:
        console.print(wrapped(line, console=console), soft_wrap=True)


def _tell_estimate(plan: "Plan") -> None:
    """How long it will take, on a terminal, where an earlier recovery lets one say so."""
    from dr_pipelines.cli.console import output, seconds

    console = output(errors=True)
    if plan.estimate and console.is_terminal:
        total = sum(phase.seconds for phase in plan.estimate)
        longest = max(plan.estimate, key=lambda phase: phase.seconds)
        console.print(
            f"expected: {seconds(total)}, of it {longest.name} {seconds(longest.seconds)}, going "
            "by the last recovery into such a store"
        )


def _restore_answer(done: "Recovery", then: "Sequence[str]", *, same_model: bool) -> Answer:
    plan = done.plan
    vectors = "equal within tolerance" if same_model else "made by another model"
    vectors = "equal bit for bit" if done.bit_identical else vectors
    value = {
        "collection": plan.collection,
        "point": plan.point,
        "route": str(plan.route),
        "physical": plan.physical,
        "store": plan.store,
        "resumed": plan.resumed,
        "records": done.records,
        "documents": done.documents,
        "embedded": done.embedded,
        "bit_identical": done.bit_identical,
        "vectors": vectors,
        "digests": done.digests.model_dump(),
        "switched": done.switched,
        "log": done.entry,
        "notes": [asdict(note) for note in plan.notes],
        "findings": [asdict(finding) for finding in done.findings],
        "left_out": done.left_out,
        "refused": [misfit.model_dump() for misfit in done.refused],
        "estimate": [asdict(phase) for phase in plan.estimate],
        "phases": [asdict(phase) for phase in done.phases],
        "seconds": sum(phase.seconds for phase in done.phases),
    }

    def show(console: "Console") -> None:
        from dr_pipelines.cli.console import (
            number,
            seconds,
            table,
            wrapped,
        )

        console.print(
            f"{plan.collection} at {plan.point} is back as {plan.physical} in store {plan.store}, "
            f"by {plan.route}: {number(done.documents)} documents, {number(done.records)} records"
        )
        console.print(f"read back and compared: text and fields equal, vectors {vectors}")
        phases = table("phase", "time", "rows", right=("time", "rows"))
        for phase in done.phases:
            rows = number(phase.rows) if phase.rows else ""
            phases.add_row(phase.name, seconds(phase.seconds), rows)
        console.print(phases)
        for line in (*_refused_lines(done), *_finding_lines(plan.collection, done.findings)):
            console.print(wrapped(line, console=console, indent=0), soft_wrap=True)
        console.print(" ".join(then))

    partial = done.missing or done.left_out
    return Answer(value, show, ExitCode.PARTIAL if partial else ExitCode.SUCCEEDED)


def _refused_lines(done: "Recovery") -> list[str]:
    """What the engine refused of the records, and where it is."""
    if not done.left_out:
        return []
    more = done.left_out - len(done.refused)
    lines = [f"left out: {misfit}" for misfit in done.refused]
    lines += [f"left out: {more} more"] if more else []
    return [
        f"NOT ALL OF IT: the engine refused {done.left_out} records; they stay in the recovery "
        "point, and all others are equal",
        *lines,
    ]


def _finding_lines(collection: str, findings: "Sequence[PartFinding]") -> list[str]:
    """One for each part that is not as it was; those that nobody can look at together, by what is
    said of them."""
    from dr_pipelines.model.parts import shown

    lines = [
        f"not as it was: {finding.part} was {shown(finding.expected, collection=collection)}, is "
        f"{shown(finding.found, collection=collection)}: {finding.consequence}"
        for finding in findings
        if not finding.unreported
    ]
    silent = dict[str, list[str]]()
    for finding in findings:
        if finding.unreported:
            silent.setdefault(finding.consequence, []).append(finding.part)
    lines += [
        f"{said}, asked for as they were ({len(parts)}): {', '.join(parts)}"
        for said, parts in silent.items()
    ]
    return lines


def _then(project: "Project", done: "Recovery", policies: "Path") -> list[str]:
    """What is to be done now."""
    from dr_pipelines.planning.serving import way_back

    plan, policy = done.plan, project.collection(done.plan.collection)
    if not done.switched:
        if plan.collection in project.store(plan.store).collections():
            return [
                f"It is not served: {plan.collection} is a collection itself there. If that may "
                f"go: rename or drop it, then: {way_back(plan.collection, plan.collection)}"
            ]
        return ["It is not served: the same command with --switch does that"]
    said = [f"{plan.collection} is served from it since log:{done.entry}."]
    if plan.store != policy.store:
        said.append(
            f"Set store: {plan.store} for it in {policies}, which says {policy.store}: until then "
            "nothing is ingested or backed up."
        )
    if policy.source is not None:
        said.append(f"What the source has said since: dr ingest {plan.collection}")
    return said


def _replay_answer(collection: str, done: "Replayed") -> Answer:
    value = {
        "collection": collection,
        "days": list(done.days),
        "records": done.records,
        "entries": list(done.entries),
        "documents_written": done.written,
        "left_out": done.left_out,
        "refused": [misfit.model_dump() for misfit in done.refused],
    }

    def show(console: "Console") -> None:
        console.print(
            f"{collection}: {len(done.days)} days embedded again ({', '.join(done.days)}), "
            f"{done.records} records, log entries up to {done.entries[-1]}; "
            f"{done.written} documents differed in the store and were repaired"
        )
        for line in refused_lines(done.left_out, done.refused):
            console.print(line, soft_wrap=True)

    return Answer(value, show, ExitCode.PARTIAL if done.left_out else ExitCode.SUCCEEDED)
