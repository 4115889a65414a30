"""Commands that keep the backup: backup, compact."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dr_pipelines.cli.answers import Answer, ExitCode, Mistake, give
from dr_pipelines.cli.fitting import fit_lines, fit_phrase, fit_value
from dr_pipelines.cli.options import POLICIES, Collection, ExpectHead, Json, Policies
from dr_pipelines.cli.session import open_project, point_at, require_head
from dr_pipelines.cli.unread import SourceLook, look_at_source

if TYPE_CHECKING:  # imported by the commands that need them
    from rich.console import Console

    from dr_pipelines.backup import LossAccepted, Snapshot
    from dr_pipelines.compaction import Compacted
    from dr_pipelines.model.recovery_point import LogEntry
    from dr_pipelines.native import Kept
    from dr_pipelines.project import Project
    from dr_pipelines.protocols import NativeFiles
    from dr_pipelines.verify import Verification

MEANING = {
    "changed": "edited in the store",
    "added": "added in the store",
    "absent": "gone from the store, lost or deleted",
    "stale": "left behind by another writer, repaired",
    "indeterminate": "being written meanwhile, left for the next backup",
}


def backup(
    collection: Collection,
    accept_absence: Annotated[
        bool,
        typer.Option(
            "--accept-absence", help="Record that many documents are gone: it was on purpose."
        ),
    ] = False,
    if_changed: Annotated[
        bool,
        typer.Option(
            "--if-changed",
            help="Do nothing where the engine says, without a scan, that nothing changed since.",
        ),
    ] = False,
    native: Annotated[
        bool,
        typer.Option(
            "--native",
            help="Also keep the engine's own files, for a restore without building an index.",
        ),
    ] = False,
    accept_loss: Annotated[
        list[str] | None,
        typer.Option(
            "--accept-loss",
            metavar="PART",
            help="Take it that this part cannot be put back; may be repeated. Needs --reason.",
        ),
    ] = None,
    reason: Annotated[
        str,
        typer.Option("--reason", metavar="TEXT", help="Why, for those who read the log later."),
    ] = "",
    expect_head: ExpectHead = None,
    policies: Policies = POLICIES,
    as_json: Json = False,
) -> int:
    """Compare every record of the live store with the log, record what differs, and prove that
    the two are equal, and that it can be put back.

    Where the store is the authority, the first backup begins the log. What the engine would not
    take back is kept all the same, and named.

    Examples:
      dr backup handbook
      dr backup handbook --accept-absence
      dr backup handbook --if-changed
      dr backup handbook --native
      dr backup memories --accept-loss records --reason "two test vectors"

    Exit code 3: the store was being written to, and some documents are left for the next backup;
    or the source holds something that cannot be read, so that it is in no backup; or something
    cannot be put back, and nobody accepted that.
    """
    from dr_pipelines import backup as verb
    from dr_pipelines.model.recovery_point import Timeline

    project = open_project(policies, collection)
    require_head(project, collection, expect_head)
    policy, store = project.collection(collection), project.store_of(collection)
    source = look_at_source(project, collection)
    files = project.native(policy.store) if native else None
    if native and files is None:
        raise Mistake(f"--native: {store.engine} has no files of its own to keep; only lance: has")
    accepting, scratch = _accepting(accept_loss or [], reason), project.scratch(collection)
    seen = None
    if if_changed and not accepting.parts:
        seen = verb.unchanged_since(
            collection, repository=project.reading(), store=store, scratch=scratch
        )
    if seen is not None:
        kept = _keep_files(project, collection, files) if files else None
        unfit = tuple(seen.body.detail.get("unaccepted", ()))
        unchanged = _unchanged_answer(collection, seen, kept, unfit)
        return give(_with_source(unchanged, source), as_json=as_json)
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
        unread=source.unread,
        accepting=accepting,
        scratch=scratch,
    )
    proof = _prove(project, collection) if snapshot.equal else None
    kept = _keep_files(project, collection, files) if files and snapshot.equal else None
    unkept = files is not None and not snapshot.equal
    answer = _backup_answer(collection, snapshot, proof, kept, unkept=unkept)
    return give(_with_source(answer, source), as_json=as_json)


def compact(collection: Collection, policies: Policies = POLICIES, as_json: Json = False) -> int:
    """Rewrite many segments as few. Every recovery point stays, and so does every answer.

    Example:
      dr compact handbook
    """
    from dr_pipelines import compaction

    project = open_project(policies, collection)
    point_at(project, collection, "latest")  # raises: there is nothing to compact yet
    done = compaction.compact(
        collection,
        repository=project.repository(),
        store=project.store_of(collection),
        lease=project.lease,
    )
    return give(_compact_answer(collection, done), as_json=as_json)


def _accepting(parts: "list[str]", reason: str) -> "LossAccepted":
    from getpass import getuser

    from dr_pipelines.backup import LossAccepted

    if bool(parts) != bool(reason.strip()):
        raise Mistake("--accept-loss PART and --reason TEXT go together: say what, and why")
    return LossAccepted(tuple(parts), reason.strip(), getuser() if parts else "")


def _prove(project: "Project", collection: str) -> "Verification":
    """What a restore of the snapshot would read is read; if it is sound, the log says so."""
    from dr_pipelines.proof import newest_proof, newest_snapshot, record_proof
    from dr_pipelines.restorable import check_restorable

    repository = project.repository()
    point, proven = newest_snapshot(repository, collection), newest_proof(repository, collection)
    found = check_restorable(repository, point, proven=proven.number)
    if found.sound:
        record_proof(repository, collection, checks=("equal", "restorable"))
    return found


def _keep_files(project: "Project", collection: str, files: "NativeFiles") -> "Kept | None":
    """Keep an engine's files, unless those of this very state are kept already."""
    from dr_pipelines.meter import metering
    from dr_pipelines.native import keep_native, kept_for
    from dr_pipelines.planning.parts import namespace
    from dr_pipelines.proof import newest_snapshot

    repository, store = project.repository(), project.store_of(collection)
    point = newest_snapshot(repository, collection)
    if kept_for(repository, point, engine=namespace(store.engine)) is not None:
        return None
    with metering(f"keeping files of {collection}") as meter:
        return keep_native(
            collection, repository=repository, store=store, native=files, progress=meter.rows
        )


def _with_source(answer: Answer, source: "SourceLook") -> Answer:
    """An answer that also says what of the source is in no backup, and ends accordingly."""

    def show(console: "Console") -> None:
        answer.show(console)
        for line in source.lines():
            console.print(f"  not in it: {line}", soft_wrap=True)

    code = answer.code
    if code is ExitCode.SUCCEEDED and source.wanting:
        code = ExitCode.PARTIAL
    return Answer(answer.value | {"source": source.value()}, show, code)


def _unchanged_answer(
    collection: str, seen: "LogEntry", kept: "Kept | None", unfit: tuple[str, ...]
) -> Answer:
    value = {
        "collection": collection,
        "log": seen.i,
        "unchanged": True,
        "equal": True,
        "unaccepted": list(unfit),
        "native": kept and asdict(kept),
    }

    def show(console: "Console") -> None:
        console.print(
            f"{collection}: nothing changed since log:{seen.i}, by the engine's own word; "
            "no record was read"
        )
        for part in unfit:
            console.print(f"  CANNOT BE PUT BACK: {part}, as log:{seen.i} says")
        _show_kept(console, kept)

    return Answer(value, show, ExitCode.PARTIAL if unfit else ExitCode.SUCCEEDED)


def _show_kept(console: "Console", kept: "Kept | None") -> None:
    from dr_pipelines.console import number, size

    if kept:
        console.print(
            f"files of the engine: {number(kept.files)}, {size(kept.size_bytes)}; new: "
            f"{number(kept.new_files)}, {size(kept.new_bytes)}"
        )


def _backup_answer(
    collection: str,
    snapshot: "Snapshot",
    proof: "Verification | None",
    kept: "Kept | None" = None,
    *,
    unkept: bool = False,
) -> Answer:
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
        "fit": fit_value(snapshot.fitness, snapshot.accepted),
        "native": kept and asdict(kept),
        "reconfigured": [asdict(part) for part in snapshot.reconfigured],
        "restorable": None if proof is None else proof.sound,
        "problems": [{"key": p.key, "problem": p.problem} for p in problems],
        "size_bytes": snapshot.size_bytes,
        "findings": {name: list(documents) for name, documents in kinds.items()},
    }

    def show(console: "Console") -> None:
        from dr_pipelines.console import number, size, some

        proven = (
            fit_phrase(snapshot.fitness, snapshot.began) if snapshot.equal else "not proven equal"
        )
        console.print(
            f"{collection}: recovery point log:{snapshot.number}, {proven}: "
            f"{number(snapshot.counts.documents)} documents, "
            f"{number(snapshot.counts.records)} records, source position {snapshot.position}"
        )
        if snapshot.size_bytes:
            console.print(f"{size(snapshot.size_bytes)} recorded that the log did not have")
        _show_kept(console, kept)
        if unkept:
            console.print("  files of the engine were not kept: they are not proven equal")
        for name, documents in kinds.items():
            if documents:
                console.print(f"  {MEANING[name]}: {some(documents)}")
        for part in snapshot.reconfigured:
            console.print(
                f"  configured differently: {part.part} was {part.expected}, is {part.found}"
            )
        for line in fit_lines(snapshot.fitness, snapshot.accepted):
            console.print(f"  {line}")
        for problem in problems:
            console.print(f"  NOT RESTORABLE: {problem.key}: {problem.problem}")

    well = snapshot.equal and not snapshot.unaccepted
    code = ExitCode.SUCCEEDED if well else ExitCode.PARTIAL
    return Answer(value, show, ExitCode.FAILED if problems else code)


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
