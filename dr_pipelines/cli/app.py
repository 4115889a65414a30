"""The commands of `dr` and their names."""

import typer

from dr_pipelines.cli import backing, ingesting, questions, reading, recovering, standing, trying

app = typer.Typer(
    name="dr",
    help="Backup and disaster recovery for vector stores.\n\n"
    "Every command reads policies.yaml, or what --policies or DR_POLICIES names, and answers in "
    "JSON with --json. Exit codes: 0 succeeded, 1 failed, 2 wrong usage, 3 partly done, 4 unknown "
    "(the answer to a commit was lost), 130 interrupted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    ingesting.ingest,
    backing.backup,
    reading.points,
    reading.documents,
    reading.verify,
    recovering.restore,
    recovering.replay,
    backing.compact,
    questions.search,
    questions.diff,
    standing.status,
    trying.demo,
):
    app.command()(command)
