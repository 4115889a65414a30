"""Arguments and options that several commands take, and how their words are read."""

from datetime import date
from pathlib import Path
from typing import Annotated, Literal

import typer

AT = "latest, log:N, seq:N (a position of the source), or a time in the source's clock."
RouteName = Literal["load", "replay"]
ModeName = Literal["vector", "keyword", "hybrid"]


def a_day(text: str) -> date:
    """A UTC day."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"expected a day such as 2026-01-31, not {text!r}") from None


Collection = Annotated[
    str, typer.Argument(metavar="COLLECTION", help="A collection that the policies name.")
]
At = Annotated[str, typer.Option("--at", metavar="AT", help=AT)]
Policies = Annotated[
    Path,
    typer.Option(
        "--policies", metavar="FILE", envvar="DR_POLICIES", help="The policies to work by."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the answer as one JSON document.")]
Limit = Annotated[int, typer.Option("--limit", min=1, metavar="N", help="At most so many.")]
StoreName = Annotated[
    str | None,
    typer.Option("--store", metavar="STORE", help="A store that the policies name."),
]

POLICIES = Path("policies.yaml")
