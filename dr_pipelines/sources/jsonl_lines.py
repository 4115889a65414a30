"""Lines of a JSONL change feed that are no changes: which of them wait for somebody."""

from array import array
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

from dr_pipelines.model.unread import Quarantined, Unread, unread
from dr_pipelines.sources.changes import Change
from dr_pipelines.sources.jsonl_reading import Step

KEPT_LINES = 10_000
"""Unreadable lines that are known one by one; more are only counted."""

FindLine = Callable[[int], int | None]
"""The hash of the line that first has a position, of those that were read earlier."""


def _none_earlier(_: int) -> int | None:
    return None


@dataclass
class Lines:
    """Lines so far, and `earlier` ones that are known by where they are.

    `_positions` and `_hashes` are the positions of all lines that were added and the hash of each:
    a line with a position that is there already is the same line delivered twice, or another one.
    """

    earlier: FindLine = _none_earlier
    _positions: "array[int]" = field(default_factory=lambda: array("q"))
    _hashes: "array[int]" = field(default_factory=lambda: array("q"))
    _open: dict[int, Quarantined] = field(default_factory=dict)
    _about: dict[str, list[int]] = field(default_factory=dict)
    _count: int = 0
    _superseded: int = 0
    _duplicates: int = 0

    def add(self, step: Step) -> None:
        """The next line."""
        if step.own is not None and not step.repeats:
            self._positions.append(step.own)
            self._hashes.append(hash(step.raw))
        if isinstance(step.result, Change):
            self._supersede(step.result.document_id)
        elif step.repeats and (earlier := self._hash_of(step)) is not None:
            if earlier == hash(step.raw):
                self._duplicates += 1
            else:
                reason = f"seq {step.own} came before with other content"
                self._wait(replace(step.result, reason=reason), repeats=True)
        else:
            self._wait(step.result, repeats=step.repeats)

    def unread(self) -> Unread:
        """The lines that wait for somebody, and counts of the others."""
        return unread(
            tuple(self._open.values()),
            count=self._count - self._superseded,
            superseded=self._superseded,
            duplicates=self._duplicates,
        )

    def value(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {
            "open": [[number, _plain(line)] for number, line in self._open.items()],
            "about": self._about,
            "counts": [self._count, self._superseded, self._duplicates],
        }

    @classmethod
    def parse(cls, value: dict[str, Any], *, earlier: FindLine) -> "Lines":
        """As `value` wrote it."""
        count, superseded, duplicates = map(int, value["counts"])
        return cls(
            earlier,
            _open={int(number): _quarantined(line) for number, line in value["open"]},
            _about={str(name): list(map(int, numbers)) for name, numbers in value["about"].items()},
            _count=count,
            _superseded=superseded,
            _duplicates=duplicates,
        )

    def _hash_of(self, step: Step) -> int | None:
        """The hash of the line that first had this position; None where none had."""
        at = bisect_left(self._positions, step.own or 0)
        if at < len(self._positions) and self._positions[at] == step.own:
            return self._hashes[at]
        return self.earlier(step.own or 0)

    def _wait(self, line: Quarantined, *, repeats: bool) -> None:
        number, self._count = self._count, self._count + 1
        if len(self._open) >= KEPT_LINES:
            return
        self._open[number] = line
        if line.document is not None and not repeats:  # a conflict is not settled by going on
            self._about.setdefault(line.document, []).append(number)

    def _supersede(self, document: str) -> None:
        for number in self._about.pop(document, ()) if self._about else ():
            del self._open[number]
            self._superseded += 1


def _plain(line: Quarantined) -> dict[str, Any]:
    return asdict(line) | {"since": line.since.isoformat() if line.since else None}


def _quarantined(value: dict[str, Any]) -> Quarantined:
    since = value["since"]
    return Quarantined(**value | {"since": datetime.fromisoformat(since) if since else None})
