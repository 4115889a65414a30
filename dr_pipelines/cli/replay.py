"""The command that embeds days again: replay."""

from datetime import date
from typing import TYPE_CHECKING, Annotated

import typer

from dr_pipelines.cli.ingest_answers import applied_lines
from dr_pipelines.cli.options import POLICIES, Collection, Json, Policies, a_day
from dr_pipelines.cli.output import Answer, ExitCode, Mistake, asking, give
from dr_pipelines.cli.session import open_project, point_at

if TYPE_CHECKING:  # imported by the commands that need them
    from rich.console import Console

    from dr_pipelines.ingestion.replay import Replayed


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
    with asking():
        protected = project.collection(collection)
        lineage = protected.lineage()
    point_at(project, collection, "latest")  # raises: there is nothing to replay yet
    with metering(collection) as meter:
        done = carry_out(
            lineage,
            history=protected.writable_history(),
            live=protected.live(),
            first=first,
            last=last,
            progress=meter.rows,
            on_day=meter.day,
        )
    return give(_replay_answer(collection, done), as_json=as_json)


def _replay_answer(collection: str, done: "Replayed") -> Answer:
    applied = done.applied
    value = {
        "collection": collection,
        "days": list(done.days),
        "records": done.records,
        "entries": list(done.entries),
        "applied": list(applied.entries),
        "documents_written": applied.written,
        "documents_kept_as_edited": list(applied.retained),
        "left_out": applied.left_out,
        "refused": [misfit.model_dump() for misfit in applied.refused],
    }

    def show(console: "Console") -> None:
        console.print(
            f"{collection}: {len(done.days)} days embedded again ({', '.join(done.days)}), "
            f"{done.records} records, log entries up to {done.entries[-1]}; "
            f"{applied.written} documents differed in the store and were repaired"
        )
        for line in applied_lines(applied):
            console.print(line, soft_wrap=True)

    return Answer(value, show, ExitCode.PARTIAL if applied.left_out else ExitCode.SUCCEEDED)
