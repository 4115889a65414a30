"""The command that reads the source: ingest."""

import socket
from datetime import date
from getpass import getuser
from typing import TYPE_CHECKING, Annotated

import typer

from dr_pipelines.cli.fitness import refused_lines
from dr_pipelines.cli.options import (
    POLICIES,
    Collection,
    Json,
    Policies,
    a_day,
)
from dr_pipelines.cli.output import (
    Answer,
    ExitCode,
    Mistake,
    asking,
    give,
)
from dr_pipelines.cli.session import open_project
from dr_pipelines.cli.unread import unread_lines, unread_value

if TYPE_CHECKING:  # imported by the commands that need them
    from rich.console import Console

    from dr_pipelines.cli.meter import Meter
    from dr_pipelines.ingestion.forecast import Forecast
    from dr_pipelines.ingestion.ingest import Ingested
    from dr_pipelines.ingestion.lineage import Lineage
    from dr_pipelines.project.project import Project

WAY_OUT = (
    "Send it again in a readable form, or accept its loss, which the log records: dr ingest "
    "{collection} --accept-quarantine PLACE:HASH --reason TEXT"
)


def ingest(
    collection: Collection,
    first: Annotated[
        date | None,
        typer.Option("--from", parser=a_day, metavar="DATE", help="First day to ingest, UTC."),
    ] = None,
    last: Annotated[
        date | None,
        typer.Option("--to", parser=a_day, metavar="DATE", help="Last day to ingest, UTC."),
    ] = None,
    accept_epoch: Annotated[
        str | None,
        typer.Option(
            "--accept-epoch",
            metavar="NAME",
            help="Accept that the source's history was rewritten, and read all of it again. The "
            "name is yours to choose.",
        ),
    ] = None,
    accept_schema: Annotated[
        str | None,
        typer.Option(
            "--accept-schema",
            metavar="NAME",
            help="Accept that the policy's fields differ from the collection's: read everything "
            "into a new collection, then serve that. The name is yours to choose.",
        ),
    ] = None,
    accept_quarantine: Annotated[
        list[str] | None,
        typer.Option(
            "--accept-quarantine",
            metavar="PLACE:HASH",
            help="Accept that this line is never read; use the name that the commands print. May "
            "be repeated. The log records who accepted it and the --reason.",
        ),
    ] = None,
    reason: Annotated[
        str | None,
        typer.Option("--reason", metavar="TEXT", help="Why the loss of a line is accepted."),
    ] = None,
    plan: Annotated[
        bool,
        typer.Option(
            "--plan",
            help="Print how much there is to read and embed, and how long it will take; "
            "change nothing.",
        ),
    ] = False,
    policies: Policies = POLICIES,
    as_json: Json = False,
) -> int:
    """Read the source's new days into the log, then bring the live store up to it.

    What is covered is not read again: repeat it at will, also after a crash.

    Examples:
      dr ingest handbook
      dr ingest handbook --plan
      dr ingest handbook --from 2026-01-05 --to 2026-01-09
      dr ingest handbook --accept-epoch "feed rebuilt in May"
      dr ingest handbook --accept-quarantine "line 7:2c26b46b68ffc68f" --reason "a test record"

    Exit code 3: some lines of the source could not be read, or the store could not follow.
    """
    if first and last and first > last:
        raise Mistake(f"--from {first} is after --to {last}")
    if accept_epoch is not None and accept_schema is not None:
        raise Mistake("--accept-schema reads everything again: leave out --accept-epoch")
    for option, name in (("--accept-epoch", accept_epoch), ("--accept-schema", accept_schema)):
        _require_name(option, name, span=bool(first or last))
    project = open_project(policies, collection)
    if project.collection(collection).policy.source is None:
        raise Mistake(
            f"{collection!r} is backed up from its store alone (authority: store): there is no "
            f"source to ingest. Run: dr backup {collection}"
        )
    if plan:
        if first or last or accept_epoch or accept_schema or accept_quarantine:
            raise Mistake(
                "--plan covers everything new and changes nothing: use it without other options"
            )
        return give(_plan_answer(project, collection), as_json=as_json)
    if accept_quarantine or reason is not None:
        _accept_quarantine(project, collection, accept_quarantine or [], reason)
    from dr_pipelines.cli.meter import metering

    lineage = project.collection(collection).lineage()
    with metering(collection) as meter:
        if accept_schema is not None:
            report = _change_schema(project, lineage, accept_schema, meter)
        else:
            report = _ingest(project, lineage, first, last, accept_epoch, meter)
    return give(_ingest_answer(collection, report), as_json=as_json)


def ingest_all(project: "Project", collection: str) -> Answer:
    """All that a source has, as `dr ingest COLLECTION` does it."""
    from dr_pipelines.cli.meter import metering

    lineage = project.collection(collection).lineage()
    with metering(collection) as meter:
        report = _ingest(project, lineage, None, None, None, meter)
    return _ingest_answer(collection, report)


def _plan_answer(project: "Project", collection: str) -> Answer:
    from dr_pipelines.ingestion.forecast import forecast

    protected = project.collection(collection)
    expected = forecast(protected.lineage(), history=protected.history())
    seconds = expected.duration.total_seconds() if expected.duration is not None else None
    value = {
        "collection": collection,
        "days": list(expected.days),
        "changes": expected.changes,
        "sampled_changes": expected.sampled,
        "records": expected.records,
        "records_counted": expected.counted,
        "size_bytes": expected.size_bytes,
        "size_measured": expected.bytes_measured,
        "records_a_second": expected.rate,
        "seconds": seconds,
        "unread": unread_value(expected.unread),
    }

    def show(console: "Console") -> None:
        for line in _plan_lines(collection, expected):
            console.print(line, soft_wrap=True)

    return Answer(value, show, ExitCode.PARTIAL if expected.unread.count else ExitCode.SUCCEEDED)


def _plan_lines(collection: str, expected: "Forecast") -> list[str]:
    from dr_pipelines.cli.console import (
        number,
        plural,
        seconds,
        size,
    )

    if not expected.days:
        return [f"{collection}: nothing new in the source", *unread_lines(expected.unread)]
    span = (
        f"{expected.days[0]} to {expected.days[-1]}" if len(expected.days) > 1 else expected.days[0]
    )
    how = "counted" if expected.counted else f"estimated from {number(expected.sampled)} changes"
    by = "as records took so far" if expected.bytes_measured else "by their vectors and texts"
    took = "unknown: no ingestion of it was timed yet"
    if expected.rate and expected.duration is not None:
        took = (
            f"{seconds(expected.duration.total_seconds())}, at {expected.rate:.1f} records a second"
        )
    return [
        f"{collection}: {len(expected.days)} {plural('day', expected.days)} ({span}), "
        f"{number(expected.changes)} changes",
        f"records: {number(expected.records)}, {how}",
        f"size: {size(expected.size_bytes)}, {by}",
        f"time: {took}",
        *unread_lines(expected.unread),
    ]


def _require_name(option: str, name: str | None, *, span: bool) -> None:
    if name is not None and not name.strip():
        raise Mistake(f"{option} is empty: give the new history a name")
    if name is not None and span:
        raise Mistake(f"{option} reads the whole source: leave out --from and --to")


def _change_schema(project: "Project", lineage: "Lineage", name: str, meter: "Meter") -> "Ingested":
    from dr_pipelines.ingestion.schema_change import accept_schema

    return accept_schema(
        lineage,
        name,
        history=project.collection(lineage.collection).writable_history(),
        live=project.collection(lineage.collection).live(),
        authority=project.collection(lineage.collection).policy.authority,
        progress=meter.rows,
        on_day=meter.day,
    )


def _accept_quarantine(
    project: "Project", collection: str, names: list[str], reason: str | None
) -> None:
    """Record that lines are let go; what is read afterwards does without them."""
    from dr_pipelines.ingestion.quarantine import accept, decide, open_lines

    if not names or reason is None:
        raise Mistake("--accept-quarantine PLACE:HASH and --reason TEXT go together: give both")
    protected = project.collection(collection)
    source = protected.feed().source
    source.partitions()
    waiting = open_lines(project.reading(), protected.history().manifest(), source.unread())
    with asking():
        decision = decide(waiting, names, reason=reason, by=f"{getuser()}@{socket.gethostname()}")
    accept(protected.writable_history(), decision)


def _ingest(
    project: "Project",
    lineage: "Lineage",
    first: date | None,
    last: date | None,
    epoch: str | None,
    meter: "Meter",
) -> "Ingested":
    history = project.collection(lineage.collection).writable_history()
    live = project.collection(lineage.collection).live()
    if epoch is not None:
        from dr_pipelines.ingestion.epochs import accept_epoch

        return accept_epoch(
            lineage,
            epoch,
            history=history,
            live=live,
            authority=project.collection(lineage.collection).policy.authority,
            progress=meter.rows,
            on_day=meter.day,
        )
    from dr_pipelines.ingestion.ingest import ingest

    return ingest(
        lineage,
        history=history,
        live=live,
        first=first,
        last=last,
        progress=meter.rows,
        on_day=meter.day,
        on_changes=meter.changes,
    )


def _ingest_answer(collection: str, report: "Ingested") -> Answer:
    value = {
        "collection": collection,
        "days": list(report.days),
        "records": report.records,
        "without_chunks": report.empty,
        "entries": list(report.entries),
        "applied": list(report.applied.entries),
        "documents_written": report.applied.written,
        "documents_kept_as_edited": list(report.applied.kept),
        "left_out": report.applied.left_out,
        "refused": [misfit.model_dump() for misfit in report.applied.refused],
        "unread": unread_value(report.unread),
        "unapplied": report.unapplied,
    }

    def show(console: "Console") -> None:
        from dr_pipelines.cli.console import number, plural, some

        days = report.days
        span = f"{days[0]} to {days[-1]}" if len(days) > 1 else "".join(days)
        if days:
            console.print(
                f"{collection}: {len(days)} {plural('day', days)} ({span}), "
                f"{number(report.records)} records, log entries up to {report.entries[-1]}; "
                f"{number(report.applied.written)} documents written to the store"
            )
        else:
            console.print(f"{collection}: nothing new in the source")
        if report.empty:
            console.print(
                f"{number(report.empty)} of the documents read gave no chunk, such as one without "
                "text: no search finds them",
                soft_wrap=True,
            )
        if report.applied.kept:
            console.print(
                f"left alone, because they were edited in the store: {some(report.applied.kept)}"
            )
        for line in refused_lines(report.applied.left_out, report.applied.refused):
            console.print(line, soft_wrap=True)
        for line in unread_lines(report.unread):
            console.print(line, soft_wrap=True)
        if any(line.sha256 for line in report.unread.lines):
            console.print(WAY_OUT.format(collection=collection), soft_wrap=True)
        if report.unapplied:
            console.print(f"safe in the log, but not in the store: {report.unapplied}")

    partial = bool(report.unread.count or report.unapplied or report.applied.left_out)
    return Answer(value, show, ExitCode.PARTIAL if partial else ExitCode.SUCCEEDED)
