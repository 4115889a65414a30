"""How far a command has come, shown on a terminal while it works."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class RateColumn(ProgressColumn):
    """Rows a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s")


class Meter:
    """Progress of one command on standard error; silent where that is not a terminal."""

    def __init__(self, progress: Progress | None, task: TaskID | None) -> None:
        self._progress = progress
        self._task = task

    def rows(self, done: int, total: int) -> None:
        """So many of the rows at hand are done; a total of 0 is not known."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=done, total=total or None)

    def day(self, name: str) -> None:
        """Work on a day begins."""
        if self._progress is not None and self._task is not None:
            self._progress.reset(self._task, description=name)


@contextmanager
def metering(label: str) -> Iterator[Meter]:
    """Show progress while the context lasts."""
    if not sys.stderr.isatty():
        yield Meter(None, None)
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield Meter(progress, progress.add_task(label, total=None))
