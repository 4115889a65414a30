"""The command that shows everything at once: demo."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dr_pipelines.cli.options import Json, a_number, one_of
from dr_pipelines.cli.output import (
    Answer,
    ExitCode,
    Mistake,
    give,
)

if TYPE_CHECKING:  # imported by the command
    from rich.console import Console

    from dr_pipelines.cli.demo.corpus import Corpus

DAYS = 25


def demo(
    feed: Annotated[
        Path | None,
        typer.Option(
            "--feed", metavar="PATH", help="A JSONL change feed, instead of the example corpus."
        ),
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(
            "--keep", metavar="DIR", help="Work in a new directory, and leave everything there."
        ),
    ] = None,
    days: Annotated[
        int,
        typer.Option(
            "--days",
            parser=a_number(0),
            metavar="N",
            help="Ingest at most so many days; 0: all.",
        ),
    ] = DAYS,
    embedder: Annotated[
        str,
        typer.Option(
            "--embedder",
            parser=one_of("minilm", "hashing"),
            metavar="minilm|hashing",
            help="minilm: a real model. hashing: none, in seconds.",
        ),
    ] = "minilm",
    as_json: Json = False,
) -> int:
    """Lose a collection and bring it back by both routes, and prove that it is the same.

    Everything happens in a directory of its own, which is removed afterwards.

    Examples:
      dr demo
      dr demo --feed changes.jsonl --keep demo
    """
    from dr_pipelines.cli.demo.corpus import open_corpus

    if keep is not None and keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
        raise Mistake(f"--keep {keep}: expected a new or empty directory")
    corpus = open_corpus(feed)
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        return _perform(corpus, keep.resolve(), days, embedder, as_json, keep=True)
    with tempfile.TemporaryDirectory(prefix="dr-demo-") as directory:
        return _perform(corpus, Path(directory).resolve(), days, embedder, as_json, keep=False)


def _perform(
    corpus: "Corpus",
    directory: Path,
    days: int,
    embedder: str,
    as_json: bool,
    *,
    keep: bool,
) -> ExitCode:
    from dr_pipelines.cli.console import output
    from dr_pipelines.cli.demo.narration import Narrator
    from dr_pipelines.cli.demo.play import perform

    tell = Narrator(output(errors=as_json))
    passed = perform(corpus, directory, embedder=embedder, most_days=days, tell=tell)
    value: dict[str, Any] = {
        "collection": corpus.name,
        "directory": str(directory) if keep else None,
        "checks": tell.checks,
        "failed": tell.failed,
        "acts": [{"title": title, "seconds": took} for title, took in tell.times],
    }

    def show(console: "Console") -> None:
        if keep:
            console.print(f"Everything is still there: cd {directory} && dr status")

    code = ExitCode.SUCCEEDED if passed else ExitCode.FAILED
    return give(Answer(value, show, code), as_json=as_json)
