"""The command that keeps the backup: backup."""

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from dr_pipelines.cli.backup_answer import after_ingestion, backup_answer, with_source
from dr_pipelines.cli.collections import all_of
from dr_pipelines.cli.ingest import ingest_all
from dr_pipelines.cli.options import (
    POLICIES,
    ExpectHead,
    Json,
    Policies,
    collection_names,
)
from dr_pipelines.cli.output import Answer, Mistake, asking, give
from dr_pipelines.cli.session import open_project, require_head
from dr_pipelines.cli.unread import look_at_source

if TYPE_CHECKING:  # imported by the commands that need them
    from dr_pipelines.model.backup import BackupRequest
    from dr_pipelines.project.project import Project


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
            "--accept-absence",
            help="Record that many documents are gone: they were deleted on purpose.",
        ),
    ] = False,
    if_changed: Annotated[
        bool,
        typer.Option(
            "--if-changed",
            help="Skip the scan if the engine reports no change since the last backup, and neither "
            "configuration, engine, this tool nor a trial that is due asks for one.",
        ),
    ] = False,
    every_value: Annotated[
        bool,
        typer.Option(
            "--every-value",
            help="Read every value, also where the policy accepts less (objectives.assurance).",
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
            help="Accept that this part cannot be restored; may be repeated. Needs --reason.",
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
    the two are equal, and that it can be restored. Without COLLECTION all that the policies name,
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
    cannot be restored, and nobody accepted that; or of several collections some were backed up.
    """
    from dr_pipelines.model.backup import BackupRequest

    project = open_project(policies, *(collections or []))
    if every_value and if_changed:
        raise Mistake("--every-value reads all and --if-changed may read nothing: give only one")
    by = _accepted_by(accept_loss or [], reason)
    request = partial(
        BackupRequest,
        accept_absence=accept_absence,
        if_changed=if_changed,
        every_value=every_value,
        files=native,
        accept_losses=tuple(accept_loss or ()),
        reason=reason.strip(),
        by=by,
    )
    if collections and len(collections) == 1:
        require_head(project, collections[0], expect_head)
        return give(_backed_up(project, request(collection=collections[0])), as_json=as_json)
    _require_all(request(collection=""), expect_head)

    def one(project: "Project", collection: str) -> Answer:
        return _backed_up(project, request(collection=collection))

    return give(all_of(project, collections or [], one), as_json=as_json)


def _require_all(request: "BackupRequest", expect_head: str | None) -> None:
    """Raise `Mistake` for options that apply to one collection only."""
    options = {
        "--accept-absence": request.accept_absence,
        "--native": request.files,
        "--accept-loss": request.accept_losses,
        "--expect-head": expect_head,
    }
    for option, value in options.items():
        if value:
            raise Mistake(f"{option} applies to one collection: name it")


def _accepted_by(parts: "list[str]", reason: str) -> str:
    """Who accepts losses; raises `Mistake` for parts without a reason, or the reverse."""
    from getpass import getuser

    if bool(parts) != bool(reason.strip()):
        raise Mistake("--accept-loss PART and --reason TEXT go together: say what, and why")
    return getuser() if parts else ""


def _backed_up(project: "Project", request: "BackupRequest") -> Answer:
    """One collection; its source first, where nothing of that was ever read."""
    from dr_pipelines.project.backup import native_files

    if request.files:
        with asking():
            native_files(project, request.collection)  # before anything is read
    begun = _begin(project, request.collection)
    answer = _snapshot(project, request)
    return answer if begun is None else after_ingestion(begun, answer)


def _begin(project: "Project", collection: str) -> Answer | None:
    """Read a source of which nothing is logged; a collection that has none begins otherwise."""
    if project.collection(collection).policy.source is None:
        return None
    if project.collection(collection).history().head().entry is not None:
        return None
    return ingest_all(project.collection(collection))


def _snapshot(project: "Project", request: "BackupRequest") -> Answer:
    from dr_pipelines.backup.plan import plan_backup
    from dr_pipelines.backup.run import run_backup
    from dr_pipelines.cli.meter import metering
    from dr_pipelines.project.backup import open_for_backup

    source = look_at_source(project, request.collection)
    resources = open_for_backup(project, request)
    plan = plan_backup(request, resources, unread=source.unread)
    if "files" not in plan.steps:
        return with_source(backup_answer(run_backup(plan, resources)), source)
    with metering(f"keeping files of {request.collection}") as meter:
        done = run_backup(plan, resources, progress=meter.rows)
    return with_source(backup_answer(done), source)
