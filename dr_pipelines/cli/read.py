"""Commands that only read: points, documents, verify."""

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dr_pipelines.cli.fitness import fit_summary, fit_word
from dr_pipelines.cli.options import (
    AT,
    POLICIES,
    Collection,
    ExpectHead,
    Json,
    Policies,
    a_number,
)
from dr_pipelines.cli.output import (
    Answer,
    ExitCode,
    Mistake,
    code_of,
    give,
)
from dr_pipelines.cli.session import (
    live_store,
    open_project,
    point_at,
    require_head,
)
from dr_pipelines.errors import DrError
from dr_pipelines.model.display import displayed, displayed_json, displayed_line

if TYPE_CHECKING:  # imported by the commands that need them
    from datetime import datetime

    from rich.console import Console

    from dr_pipelines.contents.documents import DocumentRow, StatesDigest
    from dr_pipelines.model.assurance import Assurance
    from dr_pipelines.model.recovery_point import LogEntry, RecoveryPoint
    from dr_pipelines.proof.verify import Verification


NEWEST_POINTS = 200
MAX_POINTS = 1_000_000
"""Of a list of recovery points: each is an entry to read."""


def points(
    collection: Collection,
    newest: Annotated[
        int,
        typer.Option(
            "--newest",
            parser=a_number(1, MAX_POINTS),
            metavar="N",
            help=f"How many of the newest to list, 1 to {MAX_POINTS:,}.",
        ),
    ] = NEWEST_POINTS,
    expect_head: ExpectHead = None,
    policies: Policies = POLICIES,
    as_json: Json = False,
) -> int:
    """List the newest recovery points of a collection, oldest first, and say how many are before
    them. Any point of the log can be restored.

    Examples:
      dr points handbook
      dr points handbook --newest 2000
    """
    from dr_pipelines.project.process import now
    from dr_pipelines.project.recovery import clock_of
    from dr_pipelines.repository import points as of

    project = open_project(policies, collection)
    require_head(project, collection, expect_head)
    listed = list(of.points(project.collection(collection).history(), newest=newest))
    if not listed:
        point_at(project, collection, "latest")  # raises: there is none yet
    by_log = clock_of(project.collection(collection).policy) == "log"
    return give(_points_answer(collection, listed, now(), by_log=by_log), as_json=as_json)


def documents(
    collection: Collection,
    at: Annotated[str | None, typer.Option("--at", metavar="AT", help=AT)] = None,
    store: Annotated[
        bool, typer.Option("--store", help="Scan the live store instead of reading the backup.")
    ] = False,
    policies: Policies = POLICIES,
    as_json: Json = False,
) -> int:
    """List documents: id, version, and the SHA-256 of the text that is stored.

    The hash is computed from the stored text at this moment. A version is EPOCH:POSITION of the
    source's change, +N after N edits seen in the store. With --store, documents without text are
    not seen, since a store has no record of them, and there are no versions.

    Examples:
      dr documents handbook --at seq:120
      dr documents handbook --store
    """
    from dr_pipelines.contents.documents import live_documents, stored_documents

    if store and at is not None:
        raise Mistake("--at reads the backup and --store the live store: give only one")
    project = open_project(policies, collection)
    if store:
        rows = live_documents(live_store(project, collection), collection)
        return _print_documents(collection, "store", rows, as_json=as_json)
    point = point_at(project, collection, at or "latest")
    rows = stored_documents(project.collection(collection).history(), point)
    return _print_documents(collection, point.id, rows, as_json=as_json)


def verify(
    collection: Collection,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="AT", help=f"Only this recovery point; by default all. {AT}"),
    ] = None,
    level: Annotated[
        int,
        typer.Option(
            "--level",
            parser=a_number(0, 3),
            metavar="0..3",
            help="0: the log and the size of every object. 1: the same, and checksums that the "
            "store keeps. 2: read and hash everything. 3: also recompute every digest.",
        ),
    ] = 2,
    expect_head: ExpectHead = None,
    policies: Policies = POLICIES,
    as_json: Json = False,
) -> int:
    """Check that what is kept is what was written. Reads only.

    Examples:
      dr verify handbook
      dr verify handbook --at latest --level 3

    Exit code 1: something is missing, altered or foreign, or there was nothing to verify.
    """
    from dr_pipelines.cli.meter import metering
    from dr_pipelines.proof import verify as verb

    project = open_project(policies, collection)
    require_head(project, collection, expect_head)
    point = None if at is None else point_at(project, collection, at)
    with metering(f"verifying {collection}") as meter:
        verification = verb.verify(
            project.collection(collection).history(), level=level, point=point, progress=meter.rows
        )
    return give(_verify_answer(verification), as_json=as_json)


def _print_documents(
    collection: str, where: str, rows: "Iterable[DocumentRow]", *, as_json: bool
) -> ExitCode:
    """Rows as they come; their number and digest at the end."""
    from dr_pipelines.contents.documents import StatesDigest

    digest = StatesDigest()
    if as_json:
        return _print_documents_json({"collection": collection, "at": where}, rows, digest)
    for row in digest.through(rows):
        sys.stdout.write(f"{displayed_line(row.id)}\t{row.version or '-'}\t{row.sha256}\n")
    unseen = " (those without text are not seen in a store)" if where == "store" else ""
    sys.stderr.write(
        f"{collection} at {where}: {digest.documents} documents{unseen}, digest {digest.value}\n"
    )
    return ExitCode.SUCCEEDED


def _print_documents_json(
    head: dict[str, str], rows: "Iterable[DocumentRow]", digest: "StatesDigest"
) -> ExitCode:
    """One JSON document, written as it is made; also one that ends with an error."""
    sys.stdout.write(displayed_json(json.dumps(head, ensure_ascii=False))[:-1] + ', "documents": [')
    end: dict[str, Any] = {}
    code = ExitCode.SUCCEEDED
    try:
        for number, row in enumerate(digest.through(rows)):
            line = displayed_json(json.dumps(asdict(row), ensure_ascii=False))
            sys.stdout.write((",\n" if number else "\n") + line)
        end = {"count": digest.documents, "digest": digest.value}
    except DrError as error:
        sys.stderr.write(f"{displayed(str(error))}\n")
        end, code = {"error": str(error), "kind": type(error).__name__}, code_of(error)
    last = displayed_json(json.dumps(end, ensure_ascii=False))
    sys.stdout.write(f"\n], {last[1:]}\n")
    return code


def _points_answer(
    collection: str, listed: "list[RecoveryPoint]", now: "datetime", *, by_log: bool
) -> Answer:
    """A table of recovery points; with `by_log`, a time in it is a way to ask for its point."""
    value = {
        "collection": collection,
        "earlier": listed[0].number - 1,
        "points": [_point_value(point, now) for point in listed],
    }

    def show(console: "Console") -> None:
        from dr_pipelines.cli.console import number, rough_age, table

        columns = ["log", "time (UTC)", "kind", "line", "seq", "docs", "records", "applied", "fits"]
        if not by_log:  # with the whole time there would not be room
            columns.append("age")
        right = ("log", "line", "seq", "docs", "records", "age")
        shown = table(*columns, right=right)
        for point in listed:
            counts, pending = point.manifest.counts, point.entry.body.pending
            row = (
                str(point.number),
                _exact(point.entry.at) if by_log else f"{point.entry.at:%Y-%m-%d %H:%M}",
                point.entry.kind,
                str(point.entry.timeline),
                str(point.manifest.coverage.frontier),
                number(counts.documents),
                number(counts.records),
                f"{len(pending)} left" if pending else "yes",
                fit_word(point.entry),
                rough_age(now - point.entry.at),
            )
            shown.add_row(*row[: len(columns)])
        console.print(shown)
        if earlier := listed[0].number - 1:
            console.print(f"{number(earlier)} earlier points are not listed: --newest N lists more")
        if grounds := _grounds(listed):
            console.print(grounds)

    return Answer(value, show)


def _grounds(listed: "list[RecoveryPoint]") -> str:
    """The grounds of snapshots, naming those that did not read every value; empty without any."""
    from dr_pipelines.model.assurance import Assurance

    rest = {point.number: assurance_of(point.entry) for point in listed}
    kinds = {
        kind: ", ".join(f"log:{number}" for number, own in rest.items() if own == kind)
        for kind in Assurance
        if kind in rest.values()
    }
    whole = kinds.pop(Assurance.EVERY_VALUE, "")
    few = "; ".join(f"{kind}: {numbers}" for kind, numbers in kinds.items())
    most = [f"snapshots: {Assurance.EVERY_VALUE}"] if whole else []
    return "; but ".join([*most, few] if few else most)


def assurance_of(entry: "LogEntry") -> "Assurance | None":
    """The grounds of a snapshot; None for an entry of another kind."""
    from dr_pipelines.model.details import SnapshotDetail

    detail = entry.body.detail
    return detail.assurance if isinstance(detail, SnapshotDetail) else None


def _exact(time: "datetime") -> str:
    """A time as `--at` takes it, to the microsecond."""
    return time.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _point_value(point: "RecoveryPoint", now: "datetime") -> dict[str, Any]:
    return {
        "log": point.number,
        "id": point.id,
        "sha256": point.sha256,
        "at": point.entry.at.isoformat(),
        "age_seconds": (now - point.entry.at).total_seconds(),
        "kind": point.entry.kind,
        "timeline": point.entry.timeline,
        "epoch": point.manifest.epoch,
        "frontier": point.manifest.coverage.frontier,
        "documents": point.manifest.counts.documents,
        "records": point.manifest.counts.records,
        "pending": list(point.entry.body.pending),
        "assurance": assurance_of(point.entry),
        "fit": fit_summary(point.manifest.fitness, point.manifest.accepted_losses),
        "writer": point.entry.writer.model_dump(),
    }


def _verify_answer(verification: "Verification") -> Answer:
    value = asdict(verification) | {"sound": verification.sound}

    def show(console: "Console") -> None:
        from dr_pipelines.cli.console import number, seconds, size

        verdict = "sound" if verification.sound else "NOT SOUND"
        console.print(
            f"{verification.collection}: {verdict} at level {verification.level}: "
            f"{number(verification.points)} recovery points, "
            f"{number(verification.objects)} objects, {size(verification.size_bytes)}, "
            f"{seconds(verification.seconds)}"
        )
        for finding in verification.findings:
            console.print(f"  {finding.key}: {finding.problem}")
        if not verification.points:
            console.print("  nothing is backed up yet: there was nothing to verify")

    return Answer(value, show, ExitCode.SUCCEEDED if verification.sound else ExitCode.FAILED)
