"""Commands that keep the backup: backup, compact."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from dr_pipelines.cli.answers import Answer, ExitCode, give
from dr_pipelines.cli.options import POLICIES, Collection, Json, Policies
from dr_pipelines.cli.session import open_project

if TYPE_CHECKING:  # imported by the commands that need them
    from rich.console import Console

    from dr_pipelines.backup import Snapshot
    from dr_pipelines.compaction import Compacted
    from dr_pipelines.project import Project
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


def _prove(project: "Project", collection: str) -> "Verification":
    """What a restore of the snapshot would read is read; if it is sound, the log says so."""
    from dr_pipelines.proof import check_restorable, newest_proof, newest_snapshot, record_proof

    repository = project.repository()
    point, proven = newest_snapshot(repository, collection), newest_proof(repository, collection)
    found = check_restorable(repository, point, proven=proven.number)
    if found.sound:
        record_proof(repository, collection, checks=("equal", "restorable"))
    return found


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
        from dr_pipelines.console import number, size, some

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
                console.print(f"  {MEANING[name]}: {some(documents)}")
        for problem in problems:
            console.print(f"  NOT RESTORABLE: {problem.key}: {problem.problem}")

    code = ExitCode.SUCCEEDED if snapshot.equal else ExitCode.PARTIAL
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
