"""Commands that keep the backup: backup, compact."""

from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dr_pipelines.cli.collections import all_of
from dr_pipelines.cli.fitness import (
    fit_lines,
    fit_phrase,
    fit_value,
    not_finite_phrase,
)
from dr_pipelines.cli.ingest import ingest_all
from dr_pipelines.cli.options import (
    POLICIES,
    Collection,
    ExpectHead,
    Json,
    Policies,
    collection_names,
)
from dr_pipelines.cli.output import (
    Answer,
    ExitCode,
    Mistake,
    give,
)
from dr_pipelines.cli.session import open_project, point_at, require_head
from dr_pipelines.cli.unread import SourceLook, look_at_source

if TYPE_CHECKING:  # imported by the commands that need them
    from rich.console import Console

    from dr_pipelines.backup.native import Kept
    from dr_pipelines.backup.snapshot import LossAccepted, Snapshot
    from dr_pipelines.model.recovery_point import LogEntry
    from dr_pipelines.project.project import Project
    from dr_pipelines.proof.verify import Verification
    from dr_pipelines.protocols import NativeFiles
    from dr_pipelines.upkeep.compaction import Compacted

MEANING = {
    "changed": "edited in the store",
    "added": "added in the store",
    "absent": "gone from the store, lost or deleted",
    "stale": "left behind by another writer, repaired",
    "indeterminate": "being written meanwhile, left for the next backup",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a backup is asked for."""

    accept_absence: bool
    if_changed: bool
    native: bool
    accepting: "LossAccepted"
    expect_head: str | None

    def require_all(self) -> None:
        """Raise `Mistake` for what is about one collection and no other."""
        given = {
            "--accept-absence": self.accept_absence,
            "--native": self.native,
            "--accept-loss": self.accepting.parts,
            "--expect-head": self.expect_head,
        }
        for option, value in given.items():
            if value:
                raise Mistake(f"{option} is about one collection: name it")


def backup(
    collections: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="COLLECTION",
            help="Collections that the policies name; without any, all of them.",
            autocompletion=collection_names,
        ),
    ] = None,
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
    the two are equal, and that it can be put back. Without COLLECTION all that the policies name,
    in order of priority.

    Where the store is the authority, the first backup begins the log. Of a source that was never
    read, all is read first. What the engine would not take back is kept all the same, and named.

    Examples:
      dr backup
      dr backup handbook
      dr backup handbook --accept-absence
      dr backup handbook --if-changed
      dr backup handbook --native
      dr backup memories --accept-loss records --reason "two test vectors"

    Exit code 3: the store was being written to, and some documents are left for the next backup;
    or the source holds something that cannot be read, so that it is in no backup; or something
    cannot be put back, and nobody accepted that; or of several collections some were backed up.
    """
    project = open_project(policies, *(collections or []))
    wanted = Wanted(
        accept_absence=accept_absence,
        if_changed=if_changed,
        native=native,
        accepting=_accepting(accept_loss or [], reason),
        expect_head=expect_head,
    )
    if collections and len(collections) == 1:
        return give(_backed_up(project, collections[0], wanted), as_json=as_json)
    wanted.require_all()
    return give(
        all_of(project, collections or [], partial(_backed_up, wanted=wanted)), as_json=as_json
    )


def _backed_up(project: "Project", collection: str, wanted: Wanted) -> Answer:
    """One collection; its source first, where nothing of that was ever read."""
    require_head(project, collection, wanted.expect_head)
    files = _native(project, collection) if wanted.native else None
    begun = _begin(project, collection)
    answer = _snapshot(project, collection, wanted, files)
    return answer if begun is None else _after(begun, answer)


def _begin(project: "Project", collection: str) -> Answer | None:
    """Read a source of which nothing is logged; a collection that has none begins otherwise."""
    if project.collection(collection).source is None:
        return None
    if project.history(collection).head().entry is not None:
        return None
    return ingest_all(project, collection)


def _after(begun: Answer, answer: Answer) -> Answer:
    """A backup whose source was read first."""

    def show(console: "Console") -> None:
        console.print("nothing of the source was read yet: first, all of it")
        begun.show(console)
        answer.show(console)

    code = answer.code or begun.code
    return Answer(answer.value | {"ingested": begun.value}, show, code)


def _native(project: "Project", collection: str) -> "NativeFiles":
    name = project.collection(collection).store
    files = project.native(name)
    if files is None:
        engine = project.store(name).engine
        from dr_pipelines.stores.engines import with_native_files

        able = ", ".join(f"{scheme.name}:" for scheme in with_native_files())
        raise Mistake(f"--native: {engine} has no files of its own to keep; only {able} has")
    return files


def _snapshot(
    project: "Project", collection: str, wanted: Wanted, files: "NativeFiles | None"
) -> Answer:
    from dr_pipelines.backup import snapshot as verb
    from dr_pipelines.model.recovery_point import Timeline
    from dr_pipelines.proof.points import snapshot_detail

    policy, live = project.collection(collection), project.live(collection)
    source = look_at_source(project, collection)
    accepting, scratch = wanted.accepting, project.scratch(collection)
    seen = None
    if wanted.if_changed and not accepting.parts:
        seen = verb.unchanged_since(project.history(collection), store=live.store, scratch=scratch)
    if seen is not None:
        kept = _keep_files(project, collection, files) if files else None
        unfit = snapshot_detail(seen).unaccepted.names
        unchanged = _unchanged_answer(collection, seen, kept, unfit)
        return _with_source(unchanged, source)
    adopt = None
    if policy.authority == "store":
        physical = live.served() or collection
        adopt = Timeline(id=1, physical=physical, store=policy.store)
    snapshot = verb.backup(
        project.writable_history(collection),
        live=live,
        adopt=adopt,
        accept_absence=wanted.accept_absence,
        unread=source.unread,
        accepting=accepting,
        scratch=scratch,
    )
    proof = _prove(project, collection) if snapshot.equal else None
    kept = _keep_files(project, collection, files) if files and snapshot.equal else None
    unkept = files is not None and not snapshot.equal
    answer = _backup_answer(collection, snapshot, proof, kept, unkept=unkept)
    return _with_source(answer, source)


def compact(collection: Collection, policies: Policies = POLICIES, as_json: Json = False) -> int:
    """Rewrite many segments as few. Every recovery point stays, and so does every answer.

    Example:
      dr compact handbook
    """
    from dr_pipelines.upkeep import compaction

    project = open_project(policies, collection)
    point_at(project, collection, "latest")  # raises: there is nothing to compact yet
    done = compaction.compact(
        project.writable_history(collection),
        live=project.live(collection),
    )
    return give(_compact_answer(collection, done), as_json=as_json)


def _accepting(parts: "list[str]", reason: str) -> "LossAccepted":
    from getpass import getuser

    from dr_pipelines.backup.snapshot import LossAccepted

    if bool(parts) != bool(reason.strip()):
        raise Mistake("--accept-loss PART and --reason TEXT go together: say what, and why")
    return LossAccepted(tuple(parts), reason.strip(), getuser() if parts else "")


def _prove(project: "Project", collection: str) -> "Verification":
    """What a restore of the snapshot would read is read; if it is sound, the log says so."""
    from dr_pipelines.proof.points import newest_proof, newest_snapshot, record_proof
    from dr_pipelines.proof.restorable import check_restorable

    history = project.writable_history(collection)
    point, proven = newest_snapshot(history), newest_proof(history)
    found = check_restorable(history.repository, point, proven=proven.number)
    if found.sound:
        record_proof(history, checks=("equal", "restorable"))
    return found


def _keep_files(project: "Project", collection: str, files: "NativeFiles") -> "Kept | None":
    """Keep an engine's files, unless those of this very state are kept already."""
    from dr_pipelines.backup.native import keep_native, kept_for
    from dr_pipelines.cli.meter import metering
    from dr_pipelines.planning.parts import namespace
    from dr_pipelines.proof.points import newest_snapshot

    history, store = project.writable_history(collection), project.store_of(collection)
    point = newest_snapshot(history)
    if kept_for(history, point, engine=namespace(store.engine)) is not None:
        return None
    with metering(f"keeping files of {collection}") as meter:
        return keep_native(history, store=store, native=files, progress=meter.rows)


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
    from dr_pipelines.cli.console import number, size

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
        "vectors_not_finite": snapshot.not_finite,
        "native": kept and asdict(kept),
        "reconfigured": [asdict(part) for part in snapshot.reconfigured],
        "restorable": None if proof is None else proof.sound,
        "problems": [{"key": p.key, "problem": p.problem} for p in problems],
        "size_bytes": snapshot.size_bytes,
        "findings": {name: list(documents) for name, documents in kinds.items()},
    }

    def show(console: "Console") -> None:
        from dr_pipelines.cli.console import number, size, some
        from dr_pipelines.model.parts import shown

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
                f"  configured differently: {part.part} was "
                f"{shown(part.expected, collection=collection)}, is "
                f"{shown(part.found, collection=collection)}"
            )
        if snapshot.not_finite:
            console.print(f"  {not_finite_phrase(snapshot.not_finite)}")
        for line in fit_lines(collection, snapshot.fitness, snapshot.accepted):
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
