"""The command that reads the source: ingest."""

import socket
from collections.abc import Callable
from datetime import date
from getpass import getuser
from typing import TYPE_CHECKING, Annotated

import typer

from dr_pipelines.cli.ingest_answers import forecast_answer, ingest_answer
from dr_pipelines.cli.options import (
    POLICIES,
    Collection,
    Json,
    Policies,
    a_day,
)
from dr_pipelines.cli.output import (
    Answer,
    Mistake,
    asking,
    give,
)
from dr_pipelines.cli.session import open_project

if TYPE_CHECKING:  # imported by the commands that need them
    from dr_pipelines.ingestion.ingest import (
        Ingested,
    )
    from dr_pipelines.project.collection import ProtectedCollection


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
    protected = open_project(policies, collection).collection(collection)
    if protected.policy.source is None:
        raise Mistake(
            f"{collection!r} is backed up from its store alone (authority: store): there is no "
            f"source to ingest. Run: dr backup {collection}"
        )
    if plan:
        if first or last or accept_epoch or accept_schema or accept_quarantine:
            raise Mistake(
                "--plan covers everything new and changes nothing: use it without other options"
            )
        return give(_forecast(protected), as_json=as_json)
    if accept_quarantine or reason is not None:
        _accept_quarantine(protected, accept_quarantine or [], reason)
    if accept_schema is not None:
        report = _change_schema(protected, accept_schema)
    elif accept_epoch is not None:
        report = _begin_epoch(protected, accept_epoch)
    else:
        report = _read(protected, first=first, last=last)
    return give(ingest_answer(collection, report), as_json=as_json)


def ingest_all(protected: "ProtectedCollection") -> Answer:
    """All that a source has, as `dr ingest COLLECTION` does it."""
    return ingest_answer(protected.name, _read(protected))


def _require_name(option: str, name: str | None, *, span: bool) -> None:
    if name is not None and not name.strip():
        raise Mistake(f"{option} is empty: give the new history a name")
    if name is not None and span:
        raise Mistake(f"{option} reads the whole source: leave out --from and --to")


def _accept_quarantine(
    protected: "ProtectedCollection", names: list[str], reason: str | None
) -> None:
    """Record that lines are let go; what is read afterwards does without them."""
    from dr_pipelines.ingestion.quarantine import accept, decide, open_lines

    if not names or reason is None:
        raise Mistake("--accept-quarantine PLACE:HASH and --reason TEXT go together: give both")
    source = protected.proven_feed().source
    source.partitions()
    history = protected.history()
    waiting = open_lines(history.repository, history.manifest(), source.unread())
    with asking():
        decision = decide(waiting, names, reason=reason, by=f"{getuser()}@{socket.gethostname()}")
    accept(protected.writable_history(), decision)


def _forecast(protected: "ProtectedCollection") -> Answer:
    from dr_pipelines.ingestion.forecast import forecast

    expected = forecast(protected.lineage(), history=protected.history())
    return forecast_answer(protected.name, expected)


def _read(
    protected: "ProtectedCollection", *, first: date | None = None, last: date | None = None
) -> "Ingested":
    """New days of the source, or those of a span."""
    from dr_pipelines.cli.meter import metering
    from dr_pipelines.ingestion.ingest import (
        ingest,
    )

    lineage = protected.lineage()
    with metering(protected.name) as meter:
        return ingest(
            lineage,
            history=protected.writable_history(),
            live=protected.live(),
            first=first,
            last=last,
            progress=meter.rows,
            on_day=meter.day,
            on_changes=meter.changes,
        )


def _begin_epoch(protected: "ProtectedCollection", name: str) -> "Ingested":
    from dr_pipelines.ingestion.epochs import accept_epoch

    return _read_again(protected, name, accept=accept_epoch)


def _change_schema(protected: "ProtectedCollection", name: str) -> "Ingested":
    from dr_pipelines.ingestion.schema_change import accept_schema

    return _read_again(protected, name, accept=accept_schema)


def _read_again(
    protected: "ProtectedCollection", name: str, *, accept: "Callable[..., Ingested]"
) -> "Ingested":
    """The whole source as a new epoch of that name."""
    from dr_pipelines.cli.meter import metering

    lineage = protected.lineage()
    with metering(protected.name) as meter:
        return accept(
            lineage,
            name,
            history=protected.writable_history(),
            live=protected.live(),
            authority=protected.policy.authority,
            progress=meter.rows,
            on_day=meter.day,
        )
