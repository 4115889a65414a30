"""The command that writes a first policies file: init."""

import os
from getpass import getuser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dr_pipelines.cli.options import POLICIES, Json
from dr_pipelines.cli.output import (
    Answer,
    ExitCode,
    Mistake,
    asking,
    give,
)

if TYPE_CHECKING:  # imported by the command
    from rich.console import Console

    from dr_pipelines.project.proposal.proposal import Proposal

SHOWN = 10


def init(
    what: Annotated[
        str,
        typer.Argument(
            metavar="WHAT",
            help="A store's URL, a directory with a Git repository, or a JSONL feed; or a "
            "variable that holds one, as '${NAME}'.",
        ),
    ],
    collection: Annotated[
        list[str] | None,
        typer.Option(
            "--collection",
            metavar="NAME",
            help="For a store: only this collection; may be repeated. For a source: the "
            "collection's name.",
        ),
    ] = None,
    embedder: Annotated[
        str | None,
        typer.Option(
            "--embedder",
            metavar="MODEL",
            help="For a source: the model that embeds its texts. A model's directory, "
            "package:NAME, "
            "a name on the Hugging Face hub, or hashing. By default the model that is installed.",
        ),
    ] = None,
    policies: Annotated[
        Path,
        typer.Option("--policies", metavar="FILE", envvar="DR_POLICIES", help="The file to write."),
    ] = POLICIES,
    as_json: Json = False,
) -> int:
    """Write a policies file by asking a store, a Git repository or a feed what is there, with a
    comment on each line.

    Only reads what it is pointed at, and never writes over a file. A URL with a password in it is
    not written down: the file names a variable.

    Examples:
      dr init postgresql://reader@db.example.com/app
      dr init '${DATABASE_URL}'
      dr init chroma+local:chroma --collection memories
      dr init ../wiki
      dr init changes.jsonl --embedder models/bge-small

    Exit code 3: it is written, and something that is there is not in it.
    """
    from dr_pipelines.project.proposal.writing import there_is_one, write_policies

    if os.path.lexists(policies):
        raise Mistake(str(there_is_one(policies)))
    with asking():
        proposal = _proposed(what, collection or [], embedder, base=policies.absolute().parent)
        if not proposal.collections:
            return give(_nothing(proposal), as_json=as_json)
        write_policies(proposal, policies, environ=os.environ)
    return give(_answer(proposal, policies), as_json=as_json)


def _proposed(what: str, names: list[str], embedder: str | None, *, base: Path) -> "Proposal":
    from dr_pipelines.project.adapters import PolicyContext
    from dr_pipelines.project.process import now
    from dr_pipelines.project.proposal.feeds import propose_feed
    from dr_pipelines.project.proposal.git import propose_git
    from dr_pipelines.project.proposal.proposal import Choices
    from dr_pipelines.project.proposal.stores import propose_store
    from dr_pipelines.project.proposal.subject import (
        FeedSubject,
        GitSubject,
        StoreSubject,
        subject_of,
    )

    owner = f"team:{getuser()}"
    context = PolicyContext(base, os.environ)
    subject = subject_of(what, context)
    if isinstance(subject, StoreSubject):
        if embedder is not None:
            raise Mistake("--embedder is for a source: collections of a store have vectors already")
        return propose_store(subject, context, only=names, owner=owner)
    if len(names) > 1:
        raise Mistake("--collection: a source becomes one collection, so give it one name")
    name = _name(names[0]) if names else None
    choices = Choices(base, owner, now().date(), name, embedder)
    if isinstance(subject, GitSubject):
        return propose_git(subject, choices)
    assert isinstance(subject, FeedSubject)  # noqa: S101 - the only other kind
    return propose_feed(subject, choices)


def _name(name: str) -> str:
    from dr_pipelines.project.proposal.names import legal_name

    if legal_name(name) != name:
        raise Mistake(
            f"--collection {name!r}: expected a letter, then at most 62 letters, digits, hyphens "
            "and underscores"
        )
    return name


def _nothing(proposal: "Proposal") -> Answer:
    """Nothing there is a collection: no file is written, and each thing is named."""
    value: dict[str, Any] = {
        "policies": None,
        "collections": [],
        "left_out": _left_out(proposal),
        "next": [],
    }

    def show(console: "Console") -> None:
        console.print("nothing there can be backed up: no file was written")
        _show_left_out(console, proposal, shown=len(proposal.left_out))  # no file has the others

    return Answer(value, show, ExitCode.FAILED)


def _answer(proposal: "Proposal", policies: Path) -> Answer:
    then = _next(policies)
    value = {
        "policies": str(policies),
        "collections": [dict(each.value) for each in proposal.collections],
        "left_out": _left_out(proposal),
        "notes": list(proposal.notes),
        "set_variable": proposal.unset,
        "next": then,
    }

    def show(console: "Console") -> None:
        from dr_pipelines.cli.console import plural

        names = [each.name for each in proposal.collections]
        shown = ", ".join(names[:SHOWN]) + (" …" if len(names) > SHOWN else "")
        console.print(
            f"{policies}: {len(names)} {plural('collection', names)}: {shown}", soft_wrap=True
        )
        for note in proposal.notes:
            console.print(f"  {note}", soft_wrap=True)
        _show_left_out(console, proposal, shown=SHOWN)
        if proposal.unset:
            console.print(
                f"The URL may hold a password, so the file names ${{{proposal.unset}}}: set "
                f"{proposal.unset} to it first, in the environment",
                soft_wrap=True,
            )
        console.print("Next:")
        for command in then:
            console.print(f"  {command}", soft_wrap=True)

    return Answer(value, show, ExitCode.PARTIAL if proposal.left_out else ExitCode.SUCCEEDED)


def _next(policies: Path) -> list[str]:
    """Commands that work as they are."""
    import shlex

    elsewhere = Path(os.environ.get("DR_POLICIES") or POLICIES) != policies
    named = f" --policies {shlex.quote(str(policies))}" if elsewhere else ""
    return [f"dr backup{named}", f"dr status{named}"]


def _left_out(proposal: "Proposal") -> list[dict[str, str]]:
    return [{"name": each.name, "reason": each.reason} for each in proposal.left_out]


def _show_left_out(console: "Console", proposal: "Proposal", *, shown: int) -> None:
    for each in proposal.left_out[:shown]:
        console.print(f"  left out: {each.name}: {each.reason}", soft_wrap=True)
    if more := len(proposal.left_out[shown:]):
        console.print(f"  left out: {more} more, with their reasons in the file's comments")
