"""A reading of a JSONL change feed that can be gone on with, and when it may be."""

import io
import os
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, BinaryIO

from dr_pipelines.sources.jsonl_chain import Chain
from dr_pipelines.sources.jsonl_days import Days
from dr_pipelines.sources.jsonl_lines import Lines
from dr_pipelines.sources.jsonl_reading import Mark, walk
from dr_pipelines.sources.marks_file import Trust
from dr_pipelines.sources.values import FindMisfit

TAIL_BYTES = 64 * 1024
LOOKS_BACK = 64
"""Stretches that are read again, to compare lines that came twice, before everything is."""
STRETCH_BYTES = 8 * 1024 * 1024
HELD_STRETCHES = 4
ASSURANCE = {
    Trust.SIGNS: "not read again (inode, size and the last 64 KiB are as they were; an ingestion "
    "proves them)",
    Trust.PROOF: "proven by their hash",
}


class TooFarBack(Exception):
    """Lines that repeat earlier ones are about so many places that everything is to be read."""


@dataclass(frozen=True, slots=True)
class Marks:
    """A reading up to `end` of the file with an inode; `tail` is the hash of the 64 KiB before
    it."""

    inode: int
    end: Mark
    tail: str
    days: dict[str, Any]
    lines: dict[str, Any]

    @classmethod
    def of(cls, file: BinaryIO, end: Mark, *, days: Days, lines: Lines) -> "Marks":
        """The marks of a reading."""
        inode = os.fstat(file.fileno()).st_ino
        return cls(inode, end, _tail(file, end.offset), days.value(), lines.value())

    def value(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {
            "inode": self.inode,
            "end": self.end.value(),
            "tail": self.tail,
            "days": self.days,
            "lines": self.lines,
        }

    @classmethod
    def parse(cls, value: dict[str, Any]) -> "Marks":
        """As `value` wrote it. Raises `KeyError`, `TypeError` or `ValueError` for anything else."""
        end = Mark.parse(value["end"])
        return cls(value["inode"], end, value["tail"], value["days"], value["lines"])

    def chain(self, file: BinaryIO, trust: Trust) -> tuple[Chain | None, str]:
        """The chain at the end, or the reason why the file cannot be gone on with from there."""
        if trust is Trust.PROOF:
            chain = Chain()
            file.seek(0)
            chain.read(file, self.end.offset)
            same = chain.hexdigest() == self.end.anchor
            return (chain, "") if same else (None, "what was read before is not there as it was")
        status = os.fstat(file.fileno())
        if status.st_ino != self.inode:
            return None, "it is another file than before"
        if status.st_size < self.end.offset:
            return None, "it is shorter than it was"
        taken_up = self.end.chain(file) if _tail(file, self.end.offset) == self.tail else None
        return (taken_up, "") if taken_up else (None, "the last 64 KiB read before are others now")


class Earlier:
    """Lines before a mark, found again by their position: a stretch between two marks is read
    once, as long as it is one of the last few."""

    def __init__(self, file: BinaryIO, marks: Sequence[Mark], misfit: FindMisfit | None) -> None:
        self._file = file.fileno()
        self._marks = marks
        self._misfit = misfit
        self._stretches = dict[int, dict[int, int]]()
        self._read = 0

    def hash_of(self, position: int) -> int | None:
        """The hash of the line that first has a position. Raises `TooFarBack`."""
        at = bisect_left(self._marks, position, key=lambda mark: mark.position) - 1
        if at < 0 or at + 1 >= len(self._marks):
            return None
        if at not in self._stretches:
            if len(self._stretches) >= HELD_STRETCHES:
                del self._stretches[next(iter(self._stretches))]
            self._stretches[at] = self._hashes(self._marks[at], self._marks[at + 1].offset)
        return self._stretches[at].get(position)

    def _hashes(self, start: Mark, end: int) -> dict[int, int]:
        self._read += 1
        if self._read > LOOKS_BACK or end - start.offset > STRETCH_BYTES:
            raise TooFarBack
        lines = io.BytesIO(os.pread(self._file, end - start.offset, start.offset))
        never = datetime.max.replace(tzinfo=UTC)
        return {
            step.own: hash(step.raw)
            for step in walk(lines, start, misfit=self._misfit, written=never)
            if step.own is not None and not step.repeats
        }


def _tail(file: BinaryIO, end: int) -> str:
    start = max(end - TAIL_BYTES, 0)
    return sha256(os.pread(file.fileno(), end - start, start)).hexdigest()
