"""The result of a backup, for people and as JSON."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dr_pipelines.cli.fitness import (
    fit_lines,
    fit_phrase,
    fit_value,
    not_finite_phrase,
)
from dr_pipelines.cli.output import Answer, ExitCode

if TYPE_CHECKING:  # imported by the commands that need them
    from rich.console import Console

    from dr_pipelines.backup.native import Kept
    from dr_pipelines.backup.result import Snapshot
    from dr_pipelines.backup.run import Backup
    from dr_pipelines.cli.unread import SourceLook

MEANING = {
    "changed": "edited in the store",
    "added": "added in the store",
    "absent": "gone from the store, lost or deleted",
    "stale": "left behind by another writer, repaired",
    "indeterminate": "being written meanwhile, left for the next backup",
}


def backup_answer(done: "Backup") -> Answer:
    """The answer to a backup that was made, or skipped because nothing changed."""
    return _unchanged(done) if done.snapshot is None else _snapshot(done, done.snapshot)


def after_ingestion(begun: Answer, answer: Answer) -> Answer:
    """A backup whose source was read first."""

    def show(console: "Console") -> None:
        console.print("the source was never read: all of it is ingested first")
        begun.show(console)
        answer.show(console)

    code = answer.code or begun.code
    return Answer(answer.value | {"ingested": begun.value}, show, code)


def with_source(answer: Answer, source: "SourceLook") -> Answer:
    """An answer that also says what of the source is in no backup, and ends accordingly."""

    def show(console: "Console") -> None:
        answer.show(console)
        for line in source.lines():
            console.print(f"  not in it: {line}", soft_wrap=True)

    code = answer.code
    if code is ExitCode.SUCCEEDED and source.wanting:
        code = ExitCode.PARTIAL
    return Answer(answer.value | {"source": source.value()}, show, code)


def _unchanged(done: "Backup") -> Answer:
    plan, files = done.plan, done.files
    collection = plan.request.collection
    value = {
        "collection": collection,
        "log": plan.unchanged,
        "unchanged": True,
        "equal": True,
        "assurance": None,
        "unaccepted": list(plan.unfit),
        "native": files and asdict(files),
    }

    def show(console: "Console") -> None:
        console.print(
            f"{collection}: nothing changed since log:{plan.unchanged}, according to the engine; "
            "no record was read, and no recovery point is made of that"
        )
        for part in plan.unfit:
            console.print(f"  CANNOT BE RESTORED: {part}, as log:{plan.unchanged} says")
        _show_files(console, files)

    return Answer(value, show, ExitCode.PARTIAL if plan.unfit else ExitCode.SUCCEEDED)


def _show_files(console: "Console", files: "Kept | None") -> None:
    from dr_pipelines.cli.console import number, size

    if files:
        console.print(
            f"files of the engine: {number(files.files)}, {size(files.size_bytes)}; new: "
            f"{number(files.new_files)}, {size(files.new_bytes)}"
        )


def _snapshot(done: "Backup", snapshot: "Snapshot") -> Answer:
    problems = done.proof.findings if done.proof else ()

    def show(console: "Console") -> None:
        _show_snapshot(console, done, snapshot)
        for problem in problems:
            console.print(f"  NOT RESTORABLE: {problem.key}: {problem.problem}")

    well = snapshot.equal and not snapshot.unaccepted
    code = ExitCode.SUCCEEDED if well else ExitCode.PARTIAL
    value = _snapshot_value(done, snapshot)
    return Answer(value, show, ExitCode.FAILED if problems else code)


def _kinds(snapshot: "Snapshot") -> dict[str, tuple[str, ...]]:
    """Documents that differ, by the way in which they do."""
    findings = snapshot.findings
    return {
        "changed": findings.changed,
        "added": findings.added,
        "absent": findings.absent,
        "stale": findings.stale,
        "indeterminate": snapshot.indeterminate,
    }


def _snapshot_value(done: "Backup", snapshot: "Snapshot") -> dict[str, Any]:
    proof, problems = done.proof, done.proof.findings if done.proof else ()
    return {
        "collection": done.plan.request.collection,
        "log": snapshot.number,
        "sha256": snapshot.sha256,
        "position": snapshot.position,
        "records": snapshot.counts.records,
        "documents": snapshot.counts.documents,
        "equal": snapshot.equal,
        "assurance": snapshot.assurance,
        "every_value_read_at": snapshot.whole_at.isoformat(),
        "fit": fit_value(snapshot.fitness, snapshot.accepted),
        "vectors_not_finite": snapshot.not_finite,
        "native": done.files and asdict(done.files),
        "reconfigured": [asdict(part) for part in snapshot.reconfigured],
        "restorable": None if proof is None else proof.sound,
        "problems": [{"key": p.key, "problem": p.problem} for p in problems],
        "size_bytes": snapshot.size_bytes,
        "vectors": snapshot.vectors and asdict(snapshot.vectors),
        "findings": {name: list(documents) for name, documents in _kinds(snapshot).items()},
    }


def _grounds(snapshot: "Snapshot") -> str:
    """The grounds of a snapshot, and where not all was read, when it last was."""
    if snapshot.whole_at == snapshot.began:
        return str(snapshot.assurance)
    return f"{snapshot.assurance}; every value was last read {snapshot.whole_at:%Y-%m-%d %H:%M} UTC"


def _show_snapshot(console: "Console", done: "Backup", snapshot: "Snapshot") -> None:
    from dr_pipelines.cli.console import number, size, some
    from dr_pipelines.model.parts import shown

    collection = done.plan.request.collection
    proven = fit_phrase(snapshot.fitness, snapshot.began) if snapshot.equal else "not proven equal"
    console.print(
        f"{collection}: recovery point log:{snapshot.number}, {proven}: "
        f"{number(snapshot.counts.documents)} documents, "
        f"{number(snapshot.counts.records)} records, source position {snapshot.position}; "
        f"{_grounds(snapshot)}"
    )
    if snapshot.size_bytes:
        console.print(f"{size(snapshot.size_bytes)} recorded that the log did not have")
    if snapshot.vectors and snapshot.vectors.encoding != "arrow":
        console.print(f"  vectors are compressed: {snapshot.vectors.reason}")
    _show_files(console, done.files)
    if done.unkept:
        console.print("  files of the engine were not kept: they are not proven equal")
    for name, documents in _kinds(snapshot).items():
        if documents:
            console.print(f"  {MEANING[name]}: {some(documents)}")
    for part in snapshot.reconfigured:
        console.print(
            f"  configured differently: {part.part} was "
            f"{shown(part.expected, collection=collection)}, is "
            f"{shown(part.found, collection=collection)}"
        )
    if snapshot.not_finite:
        console.print(f"  {not_finite_phrase(snapshot.not_finite)}")
    for line in fit_lines(collection, snapshot.fitness, snapshot.accepted):
        console.print(f"  {line}")
