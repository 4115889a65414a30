"""How the demo talks: numbered acts, the commands they stand for, and figures."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dr_pipelines.cli.console import facts, seconds, table

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

INDENT = "   "


@dataclass
class Narrator:
    """Prints the story, times its acts, and remembers every check that was made on the way."""

    console: "Console"
    times: list[tuple[str, float]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    checks: int = 0

    @contextmanager
    def act(self, title: str) -> Iterator[None]:
        """A numbered part of the story."""
        self.headline(f"{len(self.times) + 1}. {title}")
        started = time.monotonic()
        yield
        self.times.append((title, time.monotonic() - started))

    def headline(self, text: str) -> None:
        """Print the heading of an act."""
        self.console.print()
        self.console.print(text, style="bold")

    def say(self, text: str) -> None:
        """A sentence or two."""
        self._indented(text)

    def command(self, words: str) -> None:
        """Print the command that does what follows."""
        self.console.print(f"{INDENT}$ {words}", style="cyan", soft_wrap=True)

    def figures(self, pairs: list[tuple[str, object]]) -> None:
        """Names and values."""
        self._indented(facts(pairs))

    def check(self, claim: str, passed: bool) -> None:
        """A claim that was tested, and whether it held."""
        self.checks += 1
        if not passed:
            self.failed.append(claim)
        mark, style = ("ok", "green") if passed else ("NO", "bold red")
        self._indented(f"[{mark}] {claim}", style=style)

    def timing(self) -> None:
        """How long each act took."""
        shown = table("act", "time", right=("time",), fold=("act",))
        for number, (title, took) in enumerate(self.times, start=1):
            shown.add_row(f"{number}. {title}", seconds(took))
        shown.add_row("all of it", seconds(sum(took for _, took in self.times)))
        self._indented(shown)

    def _indented(self, what: "RenderableType", *, style: str = "") -> None:
        from rich.padding import Padding

        self.console.print(Padding(what, (0, 0, 0, len(INDENT)), style=style, expand=False))
