"""Arguments and options that several commands take, and how their words are read."""

import os
import re
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

AT = (
    "latest, log:N, seq:N (a position of the source), or a time: in the source's clock, or, where "
    "records are changed in the store, as `dr points` prints it."
)


def a_day(text: str) -> date:
    """A UTC day."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"expected a day such as 2026-01-31, not {text!r}") from None


def one_of(*words: str) -> Callable[[str], str]:
    """One of some words, as it is."""

    def read(text: str) -> str:
        if text not in words:
            expected = f"{', '.join(words[:-1])} or {words[-1]}"
            raise typer.BadParameter(f"expected {expected}, not {text!r}")
        return text

    return read


def a_number(least: int, most: int | None = None) -> Callable[[str | int], int]:
    """A whole number within bounds."""
    expected = f"from {least}" if most is None else f"from {least} to {most}"

    def read(value: str | int) -> int:
        word = str(value)  # a default is a number already
        if word.isascii() and word.isdigit() and least <= int(word) <= (most or int(word)):
            return int(word)
        raise typer.BadParameter(f"expected a whole number {expected}, not {word!r}")

    return read


def collection_names(context: typer.Context, incomplete: str) -> list[str]:
    """Names that complete a word; none where the policies cannot be read: a shell that asks shows
    no message."""
    from dr_pipelines.errors import DrError
    from dr_pipelines.project.project import open_project

    file = context.params.get("policies") or os.environ.get("DR_POLICIES") or POLICIES
    try:
        names = open_project(Path(file), os.environ).policies.collections
    except (DrError, OSError):
        return []
    return sorted(name for name in names if name.startswith(incomplete))


def a_hash(text: str) -> str:
    """A SHA-256 in hexadecimal digits."""
    if re.fullmatch("[0-9a-f]{64}", text):
        return text
    raise typer.BadParameter(f"expected 64 hexadecimal digits, not {text!r}")


POLICIES = Path("policies.yaml")

Collection = Annotated[
    str,
    typer.Argument(
        metavar="COLLECTION",
        help="A collection that the policies name.",
        autocompletion=collection_names,
    ),
]
At = Annotated[str, typer.Option("--at", metavar="AT", help=AT)]
Policies = Annotated[
    Path,
    typer.Option("--policies", metavar="FILE", envvar="DR_POLICIES", help="The policies file."),
]
Json = Annotated[bool, typer.Option("--json", help="Print the answer as one JSON document.")]
ExpectHead = Annotated[
    str | None,
    typer.Option(
        "--expect-head",
        parser=a_hash,
        metavar="SHA256",
        help="Refuse unless the newest log entry has this hash, or follows the entry that has it: "
        "for a machine that has not used the repository yet.",
    ),
]
Limit = Annotated[
    int, typer.Option("--limit", parser=a_number(1), metavar="N", help="Show at most this many.")
]
StoreName = Annotated[
    str | None,
    typer.Option("--store", metavar="STORE", help="A store that the policies name."),
]
