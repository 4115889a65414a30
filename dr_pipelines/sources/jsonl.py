"""A change feed in a JSONL file that only ever grows at its end."""

import os
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING

from dr_pipelines.errors import SourceRewritten
from dr_pipelines.model.lineage import SourceProvenance
from dr_pipelines.model.source_reading import SourceReading
from dr_pipelines.model.unread import Quarantined, Unread
from dr_pipelines.protocols import SourcePartition
from dr_pipelines.sources.changes import Change, first_times, in_batches
from dr_pipelines.sources.jsonl_index import Index, read_index
from dr_pipelines.sources.jsonl_marks import Marks
from dr_pipelines.sources.jsonl_reading import (
    Mark,
    Step,
    opened,
    walk,
)
from dr_pipelines.sources.marks_file import DAMAGED, Loaded, MarksFile
from dr_pipelines.sources.values import FindMisfit

if TYPE_CHECKING:
    import pyarrow as pa


class JsonlSource:
    """A file of one JSON object a line: `seq, ts, op, id`, and for upserts `text`, `title`,
    `metadata`. A position is a `seq`; an anchor is the chained SHA-256 of the file through its
    line.

    The feed is read once by the first call, and again by each call of `partitions`, from where the
    reading before ended: `marks` keep that beyond this process, and say by what it is believed.
    Other calls seek in it and raise `SourceRewritten` when the bytes are not the same. A
    last line without a newline is still being written and is not there yet. A line whose values
    are, by `misfit`, not what the collection declares keeps its place and is quarantined.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        misfit: FindMisfit | None = None,
        marks: MarksFile | None = None,
    ) -> None:
        self._path = Path(path)
        self._misfit = misfit
        self._marks = marks
        self._cached: Index | None = None

    @property
    def provenance(self) -> SourceProvenance:
        return SourceProvenance(connector="jsonl")

    @property
    def baseline(self) -> int:
        return 0

    def change_token(self) -> str:
        """Which file it is, its size, when it was last written, what values are expected, and
        whether a reading found that it is not what it was."""
        with opened(self._path) as file:
            status = os.fstat(file.fileno())
        file_ = f"{status.st_dev}:{status.st_ino}:{status.st_size}:{status.st_mtime_ns}"
        contradicted = self._marks.contradicted() if self._marks else ""
        return f"{self._path}:{file_}:{self._misfit!r}:{contradicted}"

    def partitions(self) -> list[SourcePartition]:
        """All days with changes, as the file is now. Raises `InvalidRequest` where the file has
        bytes and not one line of it can be read."""
        self._cached = self._read()
        return list(self._cached.partitions)

    def anchor(self, position: int) -> str | None:
        """SHA-256 of the file through the line with this `seq`; None where no line has it."""
        if position < 1:
            return None
        if (anchor := self._index.anchor(position)) is not None:
            return anchor
        for step in self._from(position - 1):
            if step.mark.position >= position:
                return step.mark.anchor if step.mark.position == position else None
        return None

    def changes(self, after: int, through: int) -> "Iterator[pa.RecordBatch]":
        return in_batches(self._changes(after, through))

    def first_times(self, after: int, through: int) -> tuple[datetime, datetime] | None:
        return first_times(self._changes(after, through))

    def _changes(self, after: int, through: int) -> Iterator[Change]:
        for step in self._between(after, through):
            if isinstance(step.result, Change) and step.result.position > after:
                yield step.result

    def quarantined(self, after: int, through: int) -> list[Quarantined]:
        return self._index.quarantined(after, through)

    def unread(self) -> Unread:
        return self._index.unread

    def reading(self) -> SourceReading:
        return self._index.reading

    @property
    def _index(self) -> Index:
        if self._cached is None:
            self._cached = self._read()
        return self._cached

    def _read(self) -> Index:
        """The file as it is now, from the last marks on."""
        if self._marks is None:
            earlier = self._cached.to_keep if self._cached else None
            return read_index(self._path, misfit=self._misfit, earlier=earlier)
        of = f"{self._path}\0{self._misfit!r}"
        loaded, earlier = self._marks.load(of), None
        if loaded.value is not None:
            earlier, loaded = _parsed(loaded)
        index = read_index(
            self._path,
            misfit=self._misfit,
            earlier=earlier,
            trust=self._marks.trust,
            why_not=loaded.why_not,
        )
        if earlier == index.to_keep:
            return index
        wrong = token_hex(8) if earlier and index.reading.whole_because else loaded.contradicted
        not_kept = self._marks.keep(of, index.to_keep.value(), contradicted=wrong)
        return replace(index, reading=replace(index.reading, not_kept=not_kept))

    def _between(self, after: int, through: int) -> Iterator[Step]:
        for step in self._from(after):
            if step.mark.position > through:
                return
            yield step

    def _from(self, position: int) -> Iterator[Step]:
        """Every line after the last mark at or before a position, up to the known head."""
        index = self._index
        start = index.before(position)
        coming = bisect_left(index.marks, start.position + 1, key=lambda m: m.position)
        with opened(self._path) as file:
            chain = start.chain(file)
            if chain is None:
                raise self._rewritten(start)
            for step in walk(file, start, misfit=self._misfit, chain=chain):
                if coming < len(index.marks) and step.mark.position >= index.marks[coming].position:
                    self._check(step.mark, index.marks[coming])
                    coming += 1
                yield step
        if coming < len(index.marks):
            raise SourceRewritten(
                f"{self._path} ended before position {index.marks[coming].position}, which it had "
                "when it was read before. Read it again; if it was cut off on purpose, accept a "
                "new epoch of it."
            )

    def _check(self, actual: Mark, recorded: Mark) -> None:
        if actual.position != recorded.position or actual.anchor != recorded.anchor:
            raise self._rewritten(recorded)

    def _rewritten(self, mark: Mark) -> SourceRewritten:
        return SourceRewritten(
            f"{self._path} changed while it was read: what is at or before position "
            f"{mark.position} is not what it was. Read the feed again; if it was rewritten on "
            "purpose, accept a new epoch of it."
        )


def _parsed(loaded: Loaded) -> tuple[Marks | None, Loaded]:
    try:
        return Marks.parse(loaded.value or {}), loaded
    except (KeyError, TypeError, ValueError):
        return None, Loaded(why_not=DAMAGED)
