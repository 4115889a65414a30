"""Phases of a recovery on this machine, recorded as they begin and end: the log gets them once, at
the end, so that a recovery that does not switch writes nothing to the repository."""

import os
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from dr_pipelines.host.permissions import Access, make_directory
from dr_pipelines.model.recovery import Plan, RunRecord

LIMIT_BYTES = 1 << 20


class Journal(Protocol):
    """The record of each recovery that has not ended yet, by where it builds."""

    def last(self, plan: Plan) -> tuple[RunRecord, str | None]:
        """The record of earlier runs of a plan, and why it cannot be read. It is empty then, and
        where there was none."""
        ...

    def keep(self, plan: Plan, record: RunRecord) -> str | None:
        """Replace the record of a plan; returns why that could not be done."""
        ...

    def end(self, plan: Plan) -> str | None:
        """Forget a plan that was carried out to its end; returns why that could not be done."""
        ...


class NoJournal:
    """For who needs no record: a benchmark, a test of something else."""

    def last(self, plan: Plan) -> tuple[RunRecord, str | None]:
        return RunRecord(origin=plan.origin), None

    def keep(self, plan: Plan, record: RunRecord) -> None:
        pass

    def end(self, plan: Plan) -> None:
        pass


class FileJournal:
    """A small file for each recovery under the state directory. It decides nothing: what is lost
    with it are the times of phases before a kill, so that no recovery ends because of it."""

    def __init__(self, directory: Path, access: Access = Access.PRIVATE) -> None:
        self._directory = directory
        self._access = access

    def last(self, plan: Plan) -> tuple[RunRecord, str | None]:
        path, empty = self._path(plan), RunRecord(origin=plan.origin)
        try:
            with path.open("rb") as file:
                record = RunRecord.model_validate_json(file.read(LIMIT_BYTES))
        except FileNotFoundError:
            return empty, None
        except OSError as error:
            return empty, f"{path} cannot be read: {error.strerror}"
        except ValidationError:
            return empty, f"{path} is no record"
        if record.origin != plan.origin:
            return empty, f"{path} is the record of another restore"
        return record, None

    def keep(self, plan: Plan, record: RunRecord) -> str | None:
        path = self._path(plan)
        new = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            make_directory(path.parent, self._access)
            new.write_bytes(record.canonical())
            new.chmod(self._access.file_mode)
            new.replace(path)  # not synced: after a power cut the times of a phase are missing
        except OSError as error:
            with suppress(OSError):
                new.unlink(missing_ok=True)
            return f"{path} cannot be written: {error.strerror}"
        return None

    def end(self, plan: Plan) -> str | None:
        path = self._path(plan)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            return f"{path} cannot be removed: {error.strerror}"
        return None

    def _path(self, plan: Plan) -> Path:
        place = "\0".join((plan.collection, plan.store, plan.physical))
        return self._directory / f"{sha256(place.encode()).hexdigest()[:32]}.json"
