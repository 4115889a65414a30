"""`dr golden record`: golden queries proposed, for somebody to judge."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dr_pipelines.cli.golden import asked_of, shown_failures
from dr_pipelines.cli.options import AT, POLICIES, Collection, Json, Policies, a_number
from dr_pipelines.cli.output import Answer, ExitCode, Mistake, asking, give
from dr_pipelines.cli.session import open_project

if TYPE_CHECKING:  # imported by the commands that need them
    from rich.console import Console

    from dr_pipelines.proof.golden_record import Proposal

CLUSTERS = 20
MOST_CLUSTERS = 200


def record(
    collection: Collection,
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="FILE", help="Write the queries there: a new file."),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(
            "--at", metavar="AT", help=f"By a recovery point instead of the live store: {AT}"
        ),
    ] = None,
    clusters: Annotated[
        int,
        typer.Option(
            "--clusters",
            parser=a_number(1, MOST_CLUSTERS),
            metavar="N",
            help="Into how many groups of like records a sample is cut; each is asked once.",
        ),
    ] = CLUSTERS,
    policies: Policies = POLICIES,
    as_json: Json = False,
) -> int:
    """Propose golden queries by what a collection holds, for you to judge. Reads only.

    Asked are a record of each cluster, its rarest word, and the most frequent tenants, principals
    and values of filterable fields. What is expected is what an exact search finds now; what lies
    nearest outside a tenant, a principal's rights or a filter must not come.

    Examples:
      dr golden record handbook --to golden.yaml
      dr golden record handbook --at 2026-01-31T12:00:00Z --to golden.yaml

    Exit code 3: it is proposed, and some of it does not hold now: what the engine's own index
    answers is not what an exact search finds.
    """
    from dr_pipelines.project.golden_writing import write_golden
    from dr_pipelines.proof.golden_record import propose

    if to is not None and to.exists():
        raise Mistake(f"{to} exists, and is left as it is: name another file with --to")
    if to is not None and not to.parent.is_dir():
        raise Mistake(f"--to {to} cannot be written: there is no directory {to.parent}")
    project = open_project(policies, collection)
    with ExitStack() as stack, asking():
        answers = asked_of(project, collection, at=at, into=None, stack=stack)
        proposal = propose(answers, clusters=clusters)
    if to is not None:
        write_golden(proposal.golden, to)
    return give(_answer(collection, proposal, to), as_json=as_json)


def _answer(collection: str, proposal: "Proposal", to: Path | None) -> Answer:
    from dr_pipelines.project.golden_writing import golden_text

    golden, report = proposal.golden, proposal.report
    value: dict[str, Any] = {
        "collection": collection,
        "written": str(to) if to else None,
        "queries": golden.model_dump(mode="json", exclude_defaults=True)["queries"],
        "sampled_records": proposal.sampled,
        "covered": [
            {"name": c.name, "queries": c.queries, "seen": c.seen} for c in proposal.covered
        ],
        "left_out": [{"id": name, "reason": reason} for name, reason in proposal.left_out],
        "do_not_hold": [answered.query.id for answered in report.failed],
    }

    def show(console: "Console") -> None:
        if to is None:
            console.print(golden_text(golden), soft_wrap=True, end="")
            return
        console.print(
            f"{to}: {len(golden.queries)} queries, by a sample of {proposal.sampled} records"
        )
        for covered in proposal.covered:
            console.print(f"  {covered.name}: {covered.queries} of {covered.seen} seen")
        if proposal.left_out:
            name, reason = proposal.left_out[0]
            console.print(
                f"  {len(proposal.left_out)} left out, such as {name}: {reason} (--json has all)",
                soft_wrap=True,
            )
        shown_failures(console, report)
        console.print(
            f"Judge them, then name the file in the policies: collections.{collection}.golden",
            soft_wrap=True,
        )

    return Answer(value, show, ExitCode.PARTIAL if report.failed else ExitCode.SUCCEEDED)
