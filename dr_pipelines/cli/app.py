"""The commands of `dr` and their names."""

import inspect
from typing import Annotated

import typer

from dr_pipelines import __version__
from dr_pipelines.cli import (
    backup,
    compact,
    diff,
    golden,
    golden_record,
    ingest,
    init,
    read,
    recover,
    recovery_plan,
    replay,
    restore,
    search,
    status,
    stores,
)
from dr_pipelines.cli.demo.command import demo

app = typer.Typer(
    name="dr",
    help="Backup and disaster recovery for vector stores.\n\n"
    "Every command reads policies.yaml, or what --policies or DR_POLICIES names, and answers in "
    "JSON with --json. Exit codes: 0 succeeded, 1 failed, 2 wrong usage, 3 partly done, 4 unknown "
    "(the answer to a commit was lost), 130 interrupted.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def help_of(docstring: str) -> str:
    """A docstring as help: each paragraph on one line, for whatever width it is shown in; indented
    lines, which are examples, as they are."""
    paragraphs = inspect.cleandoc(docstring).split("\n\n")
    return "\n\n".join(_unwrapped(paragraph) for paragraph in paragraphs)


def _unwrapped(paragraph: str) -> str:
    lines = list[str]()
    for line in paragraph.splitlines():
        goes_on = lines and not line.startswith(" ") and not lines[-1].startswith(" ")
        if goes_on:
            lines[-1] += f" {line}"
        else:
            lines.append(line)
    return "\n".join(lines)


def _show_version(requested: bool) -> None:
    if requested:
        typer.echo(f"dr_pipelines {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _without_command(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001 - its callback does it
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_show_version, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


for command in (
    init.init,
    ingest.ingest,
    backup.backup,
    read.points,
    read.documents,
    read.verify,
    recovery_plan.plan,
    recover.recover,
    restore.restore,
    replay.replay,
    compact.compact,
    search.search,
    diff.diff,
    status.status,
    stores.stores,
    stores.drop,
    demo,
):
    text = help_of(command.__doc__ or "")
    app.command(help=text, short_help=text.partition("\n\n")[0])(command)

golden_queries = typer.Typer(
    help="Golden queries: what a collection must answer.", no_args_is_help=True
)
app.add_typer(golden_queries, name="golden")
golden_queries.command(help=help_of(golden.check.__doc__ or ""))(golden.check)
golden_queries.command(help=help_of(golden_record.record.__doc__ or ""))(golden_record.record)
