"""Progress of long work, in the log of its run, and metadata of each day as it is done."""

from collections.abc import Callable
from datetime import timedelta

import dagster as dg

from dr_pipelines.ingestion.by_stage import DayDone
from dr_pipelines.protocols import Progress

from .metadata import day_metadata

LOG_SECONDS = 5.0
"""Least time between two lines of progress: each is a row in Dagster's event log."""


class TextReport:
    """Progress of one long piece of work, in the log of a run: how far, how fast, how long."""

    def __init__(self, log: dg.DagsterLogManager, elapsed: Callable[[], float]) -> None:
        self._log = log
        self._elapsed = elapsed
        self._started = self._logged = elapsed()

    def texts(self, done: int, total: int) -> None:
        """Some of a number of texts are embedded; 0 begins anew."""
        now = self._elapsed()
        if done == 0:
            self._started = now
        elif now - self._logged >= LOG_SECONDS:
            self._logged = now
            pace = done / max(now - self._started, 1e-9)
            left = timedelta(seconds=round(max(total - done, 0) / pace))
            self._log.info(f"{done} of {total} texts, {pace:.0f} a second, {left} left")


class DayReport:
    """Takes the days of a step as they are done: metadata for each, progress for the reader."""

    def __init__(self, context: dg.AssetExecutionContext, elapsed: Callable[[], float]) -> None:
        self._context = context
        self._elapsed = elapsed
        self._texts = TextReport(context.log, elapsed)
        self._total = len(context.partition_keys)
        self._started = self._day_started = self._logged = elapsed()
        self._done = self._rows = 0

    @property
    def texts(self) -> Progress:
        """A callback for progress within a day."""
        return self._texts.texts

    def day(self, done: DayDone) -> None:
        """One day is done."""
        now = self._elapsed()
        seconds, self._day_started = now - self._day_started, now
        self._done, self._rows = self._done + 1, self._rows + done.rows
        facts = day_metadata(done, seconds=seconds)
        self._context.add_asset_metadata(facts, partition_key=done.name)
        self._texts.texts(0, 0)
        if self._done == self._total or now - self._logged >= LOG_SECONDS:
            self._say(done.name, now)

    def _say(self, day: str, now: float) -> None:
        passed = max(now - self._started, 1e-9)
        left = timedelta(seconds=round(passed / self._done * (self._total - self._done)))
        self._context.log.info(
            f"{day}: {self._done} of {self._total} days in {passed:.1f} s, "
            f"{self._rows / passed:.0f} rows a second, {left} left"
        )
        self._logged = now
