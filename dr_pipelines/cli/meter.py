"""How far a command has come, shown on a terminal while it works."""

import sys
import time
from collections.abc import Callable, Iterator
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

from dr_pipelines.cli.console import number, seconds

LINE_SECONDS = 15.0


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


class RateColumn(ProgressColumn):
    """Rows a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s")


class Meter:
    """Progress of one command on standard error.

    On a terminal one bar, elsewhere a line every `LINE_SECONDS`, the first after as long. Where the
    changes of all days are known the bar is of them, and the rows at hand are said beside it.
    """

    def __init__(
        self,
        label: str,
        progress: Progress | None,
        task: TaskID | None,
        *,
        elapsed: Callable[[], float] = time.monotonic,
        say: Callable[[str], None] = _say,
    ) -> None:
        self._label, self._day = label, ""
        self._progress, self._task = progress, task
        self._elapsed, self._say = elapsed, say
        self._began = self._shown_at = elapsed()
        self._changes = (0, 0)

    def rows(self, done: int, total: int) -> None:
        """So many of the rows at hand are done; a total of 0 is not known."""
        if self._changes[1]:
            self._show(*self._changes, beside=f" {done}/{total} texts")
        else:
            self._show(done, total, what="rows")

    def changes(self, done: int, total: int) -> None:
        """So many of the changes of all days are done."""
        self._changes = (done, total)
        self._show(done, total)

    def day(self, name: str) -> None:
        """Work on a day begins."""
        self._day = name
        if self._changes[1]:
            self._show(*self._changes)
        elif self._progress is not None and self._task is not None:
            self._progress.reset(self._task, description=name)

    def _show(self, done: int, total: int, *, beside: str = "", what: str = "changes") -> None:
        if self._progress is not None and self._task is not None:
            named = f"{self._day or self._label}{beside}"
            self._progress.update(
                self._task, description=named, completed=done, total=total or None
            )
            return
        now = self._elapsed()
        if now - self._shown_at >= LINE_SECONDS:
            self._shown_at = now
            self._say(self._line(done, total, now - self._began, beside=beside, what=what))

    def _line(self, done: int, total: int, passed: float, *, beside: str, what: str) -> str:
        pace = done / max(passed, 1e-9)
        left = f", {seconds((total - done) / pace)} left" if done and total else ""
        of = f" of {number(total)}" if total else ""
        day = f", {self._day}" if self._day else ""
        return f"{self._label}: {number(done)}{of} {what}{day}{beside}, {pace:.0f} a second{left}"


@contextmanager
def metering(label: str) -> Iterator[Meter]:
    """Show progress while the context lasts."""
    if not sys.stderr.isatty():
        yield Meter(label, None, None)
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
        yield Meter(label, progress, progress.add_task(label, total=None))
