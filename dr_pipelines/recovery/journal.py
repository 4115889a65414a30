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

    def last(self, plan: Plan) -> RunRecord:
        """The record of earlier runs of a plan; an empty one where there was none."""
        ...

    def keep(self, plan: Plan, record: RunRecord) -> None:
        """Replace the record of a plan."""
        ...

    def end(self, plan: Plan) -> None:
        """Forget a plan that was carried out to its end."""
        ...


class NoJournal:
    """For who needs no record: a benchmark, a test of something else."""

    def last(self, plan: Plan) -> RunRecord:
        return RunRecord(origin=plan.origin)

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

    def last(self, plan: Plan) -> RunRecord:
        empty = RunRecord(origin=plan.origin)
        try:
            with self._path(plan).open("rb") as file:
                record = RunRecord.model_validate_json(file.read(LIMIT_BYTES))
        except (OSError, ValidationError):
            return empty
        return record if record.origin == plan.origin else empty

    def keep(self, plan: Plan, record: RunRecord) -> None:
        path = self._path(plan)
        new = path.with_suffix(f".{os.getpid()}.tmp")
        with suppress(OSError):
            make_directory(path.parent, self._access)
            new.write_bytes(record.canonical())
            new.chmod(self._access.file_mode)
            new.replace(path)  # not synced: after a power cut the times of a phase are missing

    def end(self, plan: Plan) -> None:
        with suppress(OSError):
            self._path(plan).unlink(missing_ok=True)

    def _path(self, plan: Plan) -> Path:
        place = "\0".join((plan.collection, plan.store, plan.physical))
        return self._directory / f"{sha256(place.encode()).hexdigest()[:32]}.json"
