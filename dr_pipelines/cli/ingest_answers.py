"""Answers of `dr ingest`: what there is to do, and what was done."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from dr_pipelines.cli.fitness import refused_lines
from dr_pipelines.cli.output import Answer, ExitCode
from dr_pipelines.cli.unread import reading_value, unread_lines, unread_value

if TYPE_CHECKING:  # imported by the commands that need them
    from rich.console import Console

    from dr_pipelines.ingestion.forecast import Forecast
    from dr_pipelines.ingestion.ingest import (
        Ingested,
    )
    from dr_pipelines.live.live import Applied

WAY_OUT = (
    "Send it again in a readable form, or accept its loss, which the log records: dr ingest "
    "{collection} --accept-quarantine PLACE:HASH --reason TEXT"
)


def forecast_answer(collection: str, expected: "Forecast") -> Answer:
    """For `--plan`: how much there is to do, and how long it will take."""
    seconds = expected.duration.total_seconds() if expected.duration is not None else None
    value = {
        "collection": collection,
        "days": list(expected.days),
        "changes": expected.changes,
        "sampled_changes": expected.sampled,
        "records": expected.records,
        "records_counted": expected.counted,
        "size_bytes": expected.size_bytes,
        "size_measured": expected.bytes_measured,
        "records_a_second": expected.rate,
        "seconds": seconds,
        "unread": unread_value(expected.unread),
    }

    def show(console: "Console") -> None:
        for line in _forecast_lines(collection, expected):
            console.print(line, soft_wrap=True)

    return Answer(value, show, ExitCode.PARTIAL if expected.unread.count else ExitCode.SUCCEEDED)


def _forecast_lines(collection: str, expected: "Forecast") -> list[str]:
    from dr_pipelines.cli.console import (
        number,
        plural,
        seconds,
        size,
    )

    if not expected.days:
        return [f"{collection}: nothing new in the source", *unread_lines(expected.unread)]
    span = (
        f"{expected.days[0]} to {expected.days[-1]}" if len(expected.days) > 1 else expected.days[0]
    )
    how = "counted" if expected.counted else f"estimated from {number(expected.sampled)} changes"
    by = "as records took so far" if expected.bytes_measured else "by their vectors and texts"
    took = "unknown: no ingestion of it was timed yet"
    if expected.rate and expected.duration is not None:
        took = (
            f"{seconds(expected.duration.total_seconds())}, at {expected.rate:.1f} records a second"
        )
    return [
        f"{collection}: {len(expected.days)} {plural('day', expected.days)} ({span}), "
        f"{number(expected.changes)} changes",
        f"records: {number(expected.records)}, {how}",
        f"size: {size(expected.size_bytes)}, {by}",
        f"time: {took}",
        *unread_lines(expected.unread),
    ]


def ingest_answer(collection: str, report: "Ingested") -> Answer:
    """Days that the log holds now, what the store was brought to, and what neither has."""
    value = {
        "collection": collection,
        "days": list(report.days),
        "records": report.records,
        "without_chunks": report.empty,
        "entries": list(report.entries),
        "applied": list(report.applied.entries),
        "documents_written": report.applied.written,
        "documents_kept_as_edited": list(report.applied.retained),
        "left_out": report.applied.left_out,
        "refused": [misfit.model_dump() for misfit in report.applied.refused],
        "unread": unread_value(report.unread),
        "source_read": reading_value(report.reading),
        "unapplied": report.unapplied,
        "vectors": report.vectors and asdict(report.vectors),
    }

    def show(console: "Console") -> None:
        for line in _lines(collection, report):
            console.print(line, soft_wrap=True)

    partial = bool(report.unread.count or report.unapplied or report.applied.left_out)
    return Answer(value, show, ExitCode.PARTIAL if partial else ExitCode.SUCCEEDED)


def _lines(collection: str, report: "Ingested") -> Iterator[str]:
    from dr_pipelines.cli.console import number

    yield _days_line(collection, report)
    if report.empty:
        yield (
            f"{number(report.empty)} of the documents read gave no chunk, such as one without "
            "text: no search finds them"
        )
    if report.vectors and report.vectors.encoding != "arrow":
        yield f"vectors are compressed: {report.vectors.reason}"
    yield from applied_lines(report.applied)
    yield from unread_lines(report.unread)
    if any(line.sha256 for line in report.unread.lines):
        yield WAY_OUT.format(collection=collection)
    if report.reading.unexpected:
        yield f"source: {report.reading.sentence}"
    if report.unapplied:
        yield f"safe in the log, but not in the store: {report.unapplied}"


def applied_lines(applied: "Applied") -> Iterator[str]:
    """Lines on what the store does not have of the log: edited documents, and refused records."""
    from dr_pipelines.cli.console import some

    if applied.retained:
        yield f"left alone, because they were edited in the store: {some(applied.retained)}"
    yield from refused_lines(applied.left_out, applied.refused)


def _days_line(collection: str, report: "Ingested") -> str:
    from dr_pipelines.cli.console import number, plural

    days = report.days
    if not days:
        return f"{collection}: nothing new in the source"
    span = f"{days[0]} to {days[-1]}" if len(days) > 1 else days[0]
    return (
        f"{collection}: {len(days)} {plural('day', days)} ({span}), "
        f"{number(report.records)} records, log entries up to {report.entries[-1]}; "
        f"{number(report.applied.written)} documents written to the store"
    )
