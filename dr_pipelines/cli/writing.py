"""Commands that add to the log: ingest, backup, compact."""

from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dr_pipelines.cli.answers import Answer, ExitCode, Mistake, give
from dr_pipelines.cli.options import POLICIES, Collection, Json, Policies, a_day
from dr_pipelines.cli.session import open_project

if TYPE_CHECKING:  # imported by the commands that need them
    from rich.console import Console

    from dr_pipelines.backup import Snapshot
    from dr_pipelines.compaction import Compacted
    from dr_pipelines.console import Meter
    from dr_pipelines.ingest.lineage import Lineage
    from dr_pipelines.ingestion import Ingested
    from dr_pipelines.project import Project
    from dr_pipelines.protocols import Quarantined
    from dr_pipelines.verify import Verification

SHOWN = 10


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
            help="Accept, under a name of your choice, that the source's history was rewritten, "
            "and read all of it again.",
        ),
    ] = None,
    policies: Policies = POLICIES,
    as_json: Json = False,
) -> int:
    """Read the source's new days into the log, then bring the live store up to it.

    What is covered is not read again: repeat it at will, also after a crash.

    Examples:
      dr ingest handbook
      dr ingest handbook --from 2026-01-05 --to 2026-01-09
      dr ingest handbook --accept-epoch "feed rebuilt in May"

    Exit code 3: some lines of the source could not be read, or the store could not follow.
    """
    if first and last and first > last:
        raise Mistake(f"--from {first} is after --to {last}")
    if accept_epoch is not None and (first or last):
        raise Mistake("--accept-epoch reads the whole source: leave out --from and --to")
    project = open_project(policies, collection)
    if project.collection(collection).source is None:
        raise Mistake(
            f"{collection!r} is backed up from its store alone (authority: store): there is no "
            f"source to ingest. Run: dr backup {collection}"
        )
    from dr_pipelines.console import metering

    lineage = project.lineage(collection)
    with metering(collection) as meter:
        report = _ingest(project, lineage, first, last, accept_epoch, meter)
    bad = _quarantined(lineage) if report.quarantined else []
    return give(_ingest_answer(collection, report, bad), as_json=as_json)


def backup(
    collection: Collection,
    accept_absence: Annotated[
        bool,
        typer.Option(
            "--accept-absence", help="Record that many documents are gone: it was on purpose."
        ),
    ] = False,
    policies: Policies = POLICIES,
    as_json: Json = False,
) -> int:
    """Compare every record of the live store with the log, record what differs, and prove that
    the two are equal.

    Where the store is the authority, the first backup begins the log.

    Examples:
      dr backup handbook
      dr backup handbook --accept-absence

    Exit code 3: the store was being written to, and some documents are left for the next backup.
    """
    from dr_pipelines import backup as verb
    from dr_pipelines.model.recovery_point import Timeline

    project = open_project(policies, collection)
    policy, store = project.collection(collection), project.store_of(collection)
    adopt = None
    if policy.authority == "store":
        physical = store.aliases().get(collection) or collection
        adopt = Timeline(id=1, physical=physical, store=policy.store)
    snapshot = verb.backup(
        collection,
        repository=project.repository(),
        store=store,
        lease=project.lease,
        adopt=adopt,
        accept_absence=accept_absence,
    )
    proof = _prove(project, collection) if snapshot.equal else None
    return give(_backup_answer(collection, snapshot, proof), as_json=as_json)


def compact(collection: Collection, policies: Policies = POLICIES, as_json: Json = False) -> int:
    """Rewrite many segments as few. Every recovery point stays, and so does every answer.

    Example:
      dr compact handbook
    """
    from dr_pipelines import compaction

    project = open_project(policies, collection)
    done = compaction.compact(
        collection,
        repository=project.repository(),
        store=project.store_of(collection),
        lease=project.lease,
    )
    return give(_compact_answer(collection, done), as_json=as_json)


def _ingest(
    project: "Project",
    lineage: "Lineage",
    first: date | None,
    last: date | None,
    epoch: str | None,
    meter: "Meter",
) -> "Ingested":
    repository, store = project.repository(), project.store_of(lineage.collection)
    if epoch is not None:
        from dr_pipelines.epochs import accept_epoch

        return accept_epoch(
            lineage,
            epoch,
            repository=repository,
            store=store,
            lease=project.lease,
            progress=meter.rows,
            on_day=meter.day,
        )
    from dr_pipelines.ingestion import ingest

    return ingest(
        lineage,
        repository=repository,
        store=store,
        lease=project.lease,
        first=first,
        last=last,
        progress=meter.rows,
        on_day=meter.day,
    )


def _prove(project: "Project", collection: str) -> "Verification":
    """What a restore of the snapshot would read is read; if it is sound, the log says so."""
    from dr_pipelines.proof import check_restorable, newest_proof, newest_snapshot, record_proof

    repository = project.repository()
    point, proven = newest_snapshot(repository, collection), newest_proof(repository, collection)
    found = check_restorable(repository, point, proven=proven.number)
    if found.sound:
        record_proof(repository, collection, checks=("equal", "restorable"))
    return found


def _quarantined(lineage: "Lineage") -> "list[Quarantined]":
    days = lineage.source.partitions()
    return lineage.source.quarantined(0, days[-1].through if days else 0)


def _ingest_answer(collection: str, report: "Ingested", bad: "list[Quarantined]") -> Answer:
    value = {
        "collection": collection,
        "days": list(report.days),
        "records": report.records,
        "entries": list(report.entries),
        "applied": list(report.applied.entries),
        "documents_written": report.applied.written,
        "documents_kept_as_edited": list(report.applied.kept),
        "quarantined": report.quarantined,
        "unreadable": [{"place": q.place, "reason": q.reason} for q in bad],
        "unapplied": report.unapplied,
    }

    def show(console: "Console") -> None:
        from dr_pipelines.console import number

        days = report.days
        span = f"{days[0]} to {days[-1]}" if len(days) > 1 else "".join(days)
        if days:
            console.print(
                f"{collection}: {len(days)} {_plural('day', days)} ({span}), "
                f"{number(report.records)} records, log entries up to {report.entries[-1]}; "
                f"{number(report.applied.written)} documents written to the store"
            )
        else:
            console.print(f"{collection}: nothing new in the source")
        if report.applied.kept:
            console.print(
                f"left alone, because they were edited in the store: {_some(report.applied.kept)}"
            )
        if report.quarantined:
            console.print(f"{report.quarantined} {_plural('line', bad)} could not be read:")
        for line in bad[:SHOWN]:
            console.print(f"  {line.place}: {line.reason}")
        if report.unapplied:
            console.print(f"safe in the log, but not in the store: {report.unapplied}")

    partial = bool(report.quarantined or report.unapplied)
    return Answer(value, show, ExitCode.PARTIAL if partial else ExitCode.SUCCEEDED)


def _backup_answer(collection: str, snapshot: "Snapshot", proof: "Verification | None") -> Answer:
    problems = proof.findings if proof else ()
    found = snapshot.findings
    kinds: dict[str, tuple[str, ...]] = {
        "changed": found.changed,
        "added": found.added,
        "absent": found.absent,
        "stale": found.stale,
        "indeterminate": snapshot.indeterminate,
    }
    value: dict[str, Any] = {
        "collection": collection,
        "log": snapshot.number,
        "sha256": snapshot.sha256,
        "position": snapshot.position,
        "records": snapshot.counts.records,
        "documents": snapshot.counts.documents,
        "equal": snapshot.equal,
        "restorable": None if proof is None else proof.sound,
        "problems": [{"key": p.key, "problem": p.problem} for p in problems],
        "size_bytes": snapshot.size_bytes,
        "findings": {name: list(documents) for name, documents in kinds.items()},
    }

    def show(console: "Console") -> None:
        from dr_pipelines.console import number, size

        proven = "proven equal to the live store" if snapshot.equal else "not proven equal"
        console.print(
            f"{collection}: recovery point log:{snapshot.number}, {proven}: "
            f"{number(snapshot.counts.documents)} documents, "
            f"{number(snapshot.counts.records)} records, source position {snapshot.position}"
        )
        if snapshot.size_bytes:
            console.print(f"{size(snapshot.size_bytes)} recorded that the log did not have")
        for name, documents in kinds.items():
            if documents:
                console.print(f"  {MEANING[name]}: {_some(documents)}")
        for problem in problems:
            console.print(f"  NOT RESTORABLE: {problem.key}: {problem.problem}")

    code = ExitCode.SUCCEEDED if snapshot.equal else ExitCode.PARTIAL
    return Answer(value, show, ExitCode.FAILED if problems else code)


MEANING = {
    "changed": "edited in the store",
    "added": "added in the store",
    "absent": "gone from the store, lost or deleted",
    "stale": "left behind by another writer, repaired",
    "indeterminate": "being written meanwhile, left for the next backup",
}


def _compact_answer(collection: str, done: "Compacted") -> Answer:
    value = {
        "collection": collection,
        "log": done.number,
        "segments_before": done.segments_before,
        "segments_after": done.segments_after,
        "rows_before": done.rows_before,
        "rows_after": done.rows_after,
    }

    def show(console: "Console") -> None:
        if done.number is None:
            console.print(f"{collection}: nothing to compact")
            return
        console.print(
            f"{collection}: {done.segments_before} segments became {done.segments_after} "
            f"({done.rows_before} rows, now {done.rows_after}) at log:{done.number}"
        )

    return Answer(value, show)


def _plural(word: str, things: Any) -> str:
    return word if len(things) == 1 else f"{word}s"


def _some(documents: tuple[str, ...]) -> str:
    named = ", ".join(documents[:SHOWN])
    left = len(documents) - SHOWN
    return f"{named} and {left} more" if left > 0 else named
