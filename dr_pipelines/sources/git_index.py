"""One reading of a Git history: positions with changes, their days, and files nobody could read."""

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

from dr_pipelines.model.source_reading import SourceReading
from dr_pipelines.model.unread import LeftOut, Quarantined, Unread, unread
from dr_pipelines.protocols import SourcePartition
from dr_pipelines.sources.changes import Change, day_of
from dr_pipelines.sources.git_history import History


@dataclass(frozen=True, slots=True)
class Index:
    """One reading of the history. `positions` are those with changes that can be read, `newest`
    the running maximum of their times."""

    history: History
    positions: tuple[int, ...]
    newest: tuple[int, ...]
    partitions: tuple[SourcePartition, ...]
    unread: Unread
    reading: SourceReading

    def quarantined(self, after: int, through: int) -> list[Quarantined]:
        """Unreadable files that follow positions in (after, through]; with 0, those before all."""
        lines = self.unread.lines
        return [q for q in lines if after < q.after <= through or q.after == after == 0]


@dataclass
class Walked:
    """Commits that were looked into: the positions with changes, the running maximum of times and
    the number of changes at each; files that wait by path, each with its commit's position."""

    positions: list[int] = field(default_factory=list)
    newest: list[int] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    waiting: dict[bytes, Quarantined] = field(default_factory=dict)
    superseded: int = 0

    def add(self, steps: Iterable[tuple[bytes, Change | Quarantined | None]]) -> None:
        """Every path that changed, and how, in their order."""
        for path, step in steps:
            self.superseded += self.waiting.pop(path, None) is not None
            if isinstance(step, Quarantined):
                self.waiting[path] = step
            elif step is None:
                continue
            elif self.positions and self.positions[-1] == step.position:
                self.counts[-1] += 1
            else:
                self.positions.append(step.position)
                self.newest.append(step.newest)
                self.counts.append(1)

    def index(self, history: History, others: list[LeftOut], reading: SourceReading) -> Index:
        """All of it, in a history that it is of."""
        lines = sorted((self._placed(q) for q in self.waiting.values()), key=lambda q: q.after)
        return Index(
            history,
            tuple(self.positions),
            tuple(self.newest),
            tuple(self._partitions(history)),
            unread(lines, count=len(lines), superseded=self.superseded, others=others),
            reading,
        )

    def _placed(self, line: Quarantined) -> Quarantined:
        """The same, after the last position at or before its commit that has changes."""
        earlier = bisect_right(self.positions, line.after)
        return replace(line, after=self.positions[earlier - 1] if earlier else 0)

    def _partitions(self, history: History) -> Iterator[SourcePartition]:
        days = [day_of(time) for time in self.newest]
        start = 0
        while start < len(days):
            end = bisect_right(days, days[start])
            yield SourcePartition(
                day=days[start],
                after=self.positions[start - 1] if start else 0,
                through=self.positions[end - 1],
                anchor=history.commits[self.positions[end - 1] - 1],
                changes=sum(self.counts[start:end]),
            )
            start = end


def marks_value(history: History, walked: Walked) -> dict[str, Any]:
    """A reading as plain values, to go on with."""
    return {
        "width": len(history.commits[0]) if history.commits else 0,
        "commits": "".join(history.commits),
        "times": list(history.times),
        "changes": [walked.positions, walked.newest, walked.counts],
        "waiting": [[path.hex(), _plain(line)] for path, line in walked.waiting.items()],
        "superseded": walked.superseded,
    }


def parse_marks(value: dict[str, Any]) -> tuple[History, Walked]:
    """As `marks_value` wrote it. Raises `KeyError`, `TypeError` or `ValueError` for anything
    else."""
    width, text = int(value["width"]), value["commits"]
    commits = tuple(text[at : at + width] for at in range(0, len(text), width or 1))
    waiting = {bytes.fromhex(path): _quarantined(line) for path, line in value["waiting"]}
    positions, newest, counts = value["changes"]
    history = History(commits, array("q", value["times"]))
    return history, Walked(positions, newest, counts, waiting, int(value["superseded"]))


def _plain(line: Quarantined) -> dict[str, Any]:
    return asdict(line) | {"since": line.since.isoformat() if line.since else None}


def _quarantined(value: dict[str, Any]) -> Quarantined:
    since = value["since"]
    return Quarantined(**value | {"since": datetime.fromisoformat(since) if since else None})
