"""Commands that bring data back: restore, replay."""

from dataclasses import asdict
from datetime import date
from typing import TYPE_CHECKING, Annotated

import typer

from dr_pipelines.cli.answers import Answer, Mistake, asking, give
from dr_pipelines.cli.options import (
    POLICIES,
    At,
    Collection,
    Json,
    Policies,
    StoreName,
    a_day,
    one_of,
)
from dr_pipelines.cli.session import named_store, open_project, point_at

if TYPE_CHECKING:  # imported by the commands that need them
    from rich.console import Console

    from dr_pipelines.ingest.lineage import Lineage
    from dr_pipelines.model.recovery import Recovery
    from dr_pipelines.project import Project
    from dr_pipelines.replay import Replayed


def restore(
    collection: Collection,
    at: At = "latest",
    route: Annotated[
        str,
        typer.Option(
            "--route",
            parser=one_of("load", "replay"),
            metavar="load|replay",
            help="load: the vectors that were kept. replay: embed the kept chunks again.",
        ),
    ] = "load",
    into: Annotated[
        str | None,
        typer.Option("--into", metavar="NAME", help="Name of the new collection in the store."),
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
    policies: Policies = POLICIES,
    as_json: Json = False,
) -> int:
    """Build a collection beside the one being served, prove it by reading it back, and with
    --switch serve it.

    Nothing is restored over a collection that is being served. After a crash the same command
    goes on where it stopped.

    Examples:
      dr restore handbook --switch
      dr restore handbook --at 2026-01-31T12:00:00Z --into before-the-import
      dr restore handbook --route replay --embedder minilm --switch
    """
    from dr_pipelines.console import metering
    from dr_pipelines.model.recovery import Route
    from dr_pipelines.restore import plan_restore
    from dr_pipelines.restore import restore as carry_out

    if embedder is not None and route != "replay":
        raise Mistake("--embedder is for --route replay: load takes the vectors that were kept")
    project = open_project(policies, collection)
    store_name = named_store(project, store, collection)
    point = point_at(project, collection, at)
    lineage = _lineage(project, collection, embedder) if route == "replay" else None
    target, repository = project.store(store_name), project.repository()
    with asking():
        plan = plan_restore(
            point,
            repository=repository,
            store=target,
            store_name=store_name,
            route=Route(route),
            lineage=lineage,
            into=into,
            switch=switch,
        )
    with metering(f"restoring {collection}") as meter:
        done = carry_out(
            point,
            plan,
            repository=repository,
            store=target,
            lease=project.lease,
            lineage=lineage,
            progress=meter.rows,
        )
    same_model = lineage is None or lineage.provenance == point.manifest.provenance
    return give(_restore_answer(done, same_model=same_model), as_json=as_json)


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
    from dr_pipelines.console import metering
    from dr_pipelines.replay import replay as carry_out

    project = open_project(policies, collection)
    lineage = _lineage(project, collection, None)
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
    if embedder is not None and embedder not in project.policies.embedders:
        known = ", ".join(sorted(project.policies.embedders))
        raise Mistake(f"no embedder {embedder!r} in the policies; known are: {known}")
    with asking():
        return project.lineage(collection, embedder=embedder)


def _restore_answer(done: "Recovery", *, same_model: bool) -> Answer:
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
        "phases": [asdict(phase) for phase in done.phases],
        "seconds": sum(phase.seconds for phase in done.phases),
    }

    def show(console: "Console") -> None:
        from dr_pipelines.console import number, seconds, table

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
        if done.switched:
            console.print(
                f"{plan.collection} is served from it since log:{done.entry}. "
                f"What the source has said since: dr ingest {plan.collection}"
            )
        else:
            console.print("It is not served: the same command with --switch does that")

    return Answer(value, show)


def _replay_answer(collection: str, done: "Replayed") -> Answer:
    value = {
        "collection": collection,
        "days": list(done.days),
        "records": done.records,
        "entries": list(done.entries),
        "documents_written": done.written,
    }

    def show(console: "Console") -> None:
        console.print(
            f"{collection}: {len(done.days)} days embedded again ({', '.join(done.days)}), "
            f"{done.records} records, log entries up to {done.entries[-1]}; "
            f"{done.written} documents differed in the store and were repaired"
        )

    return Answer(value, show)
