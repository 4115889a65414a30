"""Evidence of a recovery: its report in the log, and as JSON and a page on this machine."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from dr_pipelines.errors import DrError
from dr_pipelines.host.permissions import Access, make_directory
from dr_pipelines.model.recovery import Evidence
from dr_pipelines.model.recovery_report import RecoveryReport
from dr_pipelines.recovery.page import page
from dr_pipelines.repository.history import History
from dr_pipelines.repository.recovery_reports import record_report

ATTEMPTS = 1_000


class EvidencePlace(Protocol):
    """Where reports are written on this machine."""

    def keep(self, report: RecoveryReport) -> tuple[tuple[str, ...], str | None]:
        """Write a report; returns the files, or why there are none."""
        ...


class NoEvidence:
    """For who needs no files: a benchmark, a test of something else."""

    def keep(self, report: RecoveryReport) -> tuple[tuple[str, ...], str | None]:
        del report
        return (), None


class EvidenceFiles:
    """JSON and one page for each recovery in a directory; nothing there is ever replaced."""

    def __init__(self, directory: Path, access: Access = Access.PRIVATE) -> None:
        self._directory = directory
        self._access = access

    def keep(self, report: RecoveryReport) -> tuple[tuple[str, ...], str | None]:
        try:
            make_directory(self._directory, self._access)
            return self._write(report), None
        except OSError as error:
            return (), f"{self._directory} cannot be written: {error.strerror}"

    def _write(self, report: RecoveryReport) -> tuple[str, ...]:
        contents = {".json": report.canonical(), ".html": page(report).encode()}
        base = f"{report.plan.physical}-{report.ended:%Y%m%dT%H%M%SZ}"
        for attempt in range(1, ATTEMPTS):
            name = base if attempt == 1 else f"{base}-{attempt}"
            paths = [self._directory / f"{name}{ending}" for ending in contents]
            if any(path.exists() for path in paths):
                continue
            for path, content in zip(paths, contents.values(), strict=True):
                self._create(path, content)
            return tuple(str(path) for path in paths)
        raise FileExistsError(0, f"{base} and {ATTEMPTS} names like it are taken")

    def _create(self, path: Path, content: bytes) -> None:
        """A file under its name only once it is whole; raises `FileExistsError`."""
        new = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        try:
            new.write_bytes(content)
            new.chmod(self._access.file_mode)
            os.link(new, path)
        finally:
            with suppress(OSError):
                new.unlink(missing_ok=True)


def keep_evidence(history: History, report: RecoveryReport, place: EvidencePlace) -> Evidence:
    """Record a report in the log and on this machine. A recovery does not fail for want of it: why
    it is not there is part of the result."""
    entry, not_logged = None, None
    try:
        entry = record_report(history, report).number
    except DrError as error:
        not_logged = str(error)
    files, not_written = place.keep(report)
    return Evidence(entry, not_logged, files, not_written)
