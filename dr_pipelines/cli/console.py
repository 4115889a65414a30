"""How things look on a terminal: tables, sizes, ages."""

import textwrap
from collections.abc import Sequence, Sized
from datetime import timedelta
from typing import Any, NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dr_pipelines.model.display import displayed, displayed_line


class Unit(NamedTuple):
    """A unit of time."""

    seconds: int
    name: str


SECOND, MINUTE, HOUR, DAY = Unit(1, "s"), Unit(60, "min"), Unit(3600, "h"), Unit(86_400, "d")
SHOWN = 10


class _Output(Console):
    """Text of others is shown as text: what would act on the terminal is shown escaped."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(displayed(text), **options)


def output(*, errors: bool = False) -> Console:
    """Standard output, or standard error; 80 columns where it is not a terminal."""
    return _Output(stderr=errors, highlight=False, emoji=False, markup=False)


def table(*columns: str, right: Sequence[str] = (), fold: Sequence[str] = ()) -> Table:
    """A table with a line under its head; `right` columns hold numbers, `fold` columns may take
    several lines, the others none but their own."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        made.add_column(
            column,
            justify="right" if column in right else "left",
            overflow="fold",
            no_wrap=column not in fold,
        )
    return made


def facts(pairs: Sequence[tuple[str, object]]) -> Table:
    """Names and values, one pair a line."""
    made = Table.grid(padding=(0, 2))
    made.add_column(no_wrap=True, style="dim")
    made.add_column(overflow="fold")
    for name, value in pairs:
        made.add_row(name, str(value))
    return made


def age(span: timedelta) -> str:
    """A span of time in its two largest units."""
    total = int(span.total_seconds())
    for unit, smaller in ((DAY, HOUR), (HOUR, MINUTE), (MINUTE, SECOND)):
        if total >= unit.seconds:
            rest = total % unit.seconds // smaller.seconds
            return f"{total // unit.seconds} {unit.name}" + (
                f" {rest} {smaller.name}" if rest else ""
            )
    return f"{total} s"


def rough_age(span: timedelta) -> str:
    """A span of time in its largest unit, rounded down."""
    total = int(span.total_seconds())
    unit = next((u for u in (DAY, HOUR, MINUTE) if total >= u.seconds), SECOND)
    return f"{total // unit.seconds} {unit.name}"


def seconds(value: float) -> str:
    """How long something took."""
    return f"{value:.2f} s" if value < 10 else age(timedelta(seconds=value))


def size(size_bytes: int) -> str:
    """Bytes in the largest decimal unit that leaves a number from 1."""
    value = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def number(value: int) -> str:
    """Thousands apart."""
    return f"{value:,}"


def wrapped(text: str, *, console: Console, indent: int = 2) -> str:
    """A text on as many lines as it takes, all of it; those after the first are set further in."""
    start = " " * indent
    return textwrap.fill(
        text,
        console.width,
        initial_indent=start,
        subsequent_indent=start + "  ",
        break_on_hyphens=False,
    )


def plural(word: str, things: Sized) -> str:
    """The word for so many things."""
    return word if len(things) == 1 else f"{word}s"


def some(documents: Sequence[str]) -> str:
    """The first few of many names."""
    named = ", ".join(displayed_line(document) for document in documents[:SHOWN])
    left = len(documents) - SHOWN
    return f"{named} and {left} more" if left > 0 else named
