"""Reading an engine's own files that were kept: which there are, and their bytes, proven."""

import io
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

from pydantic import ValidationError

from dr_pipelines.errors import Damaged, NotFound, Refused
from dr_pipelines.model.details import NativeEvidence
from dr_pipelines.model.recovery_point import (
    KeptFile,
    KeptVersion,
    LogEntry,
    Manifest,
    RecoveryPoint,
)
from dr_pipelines.planning.parts import namespace
from dr_pipelines.protocols import NativeFile, NativeVersion
from dr_pipelines.repository.history import History
from dr_pipelines.repository.reachability import named_object
from dr_pipelines.repository.repository import Repository

LOOK_BACK = 512
"""Entries that are looked at for files that were kept before, each read from the repository."""
UNREAD = (Damaged, NotFound, Refused)
"""Raised of what cannot be read on the way. It is skipped: older files may do, and segments always
do."""


def kept_version(repository: Repository, entry: LogEntry, detail: NativeEvidence) -> KeptVersion:
    """The engine's files that an entry with this detail keeps; raises `Damaged`."""
    ref = named_object(entry, detail.listing)
    value = repository.fetch_json(ref)
    try:
        return KeptVersion.model_validate(value)
    except ValidationError as error:
        raise Damaged(f"{ref.key}: does not list an engine's files") from error


def kept_for(
    history: History, point: RecoveryPoint, *, engine: str
) -> tuple[KeptVersion, Manifest] | None:
    """The newest files of an engine that hold exactly the state of a recovery point, and the
    manifest of the snapshot that proved them."""
    if point.until is not None:
        return None
    digests = point.manifest.digests
    for entry, detail in _newest_first(history):
        if namespace(detail.engine) != engine:
            continue
        with suppress(*UNREAD):
            proven = history.point(detail.snapshot).manifest
            if proven.digests == digests:
                return kept_version(history.repository, entry, detail), proven
    return None


def files_kept_before(history: History, physical: str) -> tuple[KeptFile, ...]:
    """The files of a collection that were kept last."""
    for entry, detail in _newest_first(history):
        if detail.physical == physical:
            with suppress(*UNREAD):
                return kept_version(history.repository, entry, detail).files
    return ()


def as_version(version: KeptVersion) -> NativeVersion:
    """The kept files, as an engine lists its own."""
    files = tuple(NativeFile(file.path, file.size_bytes) for file in version.files)
    return NativeVersion(version.engine, version.version, files)


class OpenKept:
    """Opens kept files by their path, and reads them part by part, so that one larger than memory
    can be restored; each part is proven to be what was written."""

    def __init__(self, repository: Repository, version: KeptVersion) -> None:
        self._repository = repository
        self._files = {file.path: file for file in version.files}

    @contextmanager
    def __call__(self, path: str) -> Iterator[IO[bytes]]:
        """A file from its beginning; raises `Damaged` where a part of it is not as it was."""
        file = self._files.get(path)
        if file is None:
            raise NotFound(f"{path} is not among the files that were kept")
        with io.BufferedReader(_Parts(self._repository, file)) as opened:
            yield opened


class _Parts(io.RawIOBase):
    """The parts of a file as one stream."""

    def __init__(self, repository: Repository, file: KeptFile) -> None:
        super().__init__()
        self._fetched = (repository.fetch(part) for part in file.parts)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # any writable buffer
        """Some bytes; none at the end."""
        while not self._rest:
            part = next(self._fetched, None)
            if part is None:
                return 0
            self._rest = memoryview(part)
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


def _newest_first(history: History) -> Iterator[tuple[LogEntry, NativeEvidence]]:
    """Entries that keep an engine's files, newest first."""
    head = history.head().number
    for number in range(head, max(0, head - LOOK_BACK), -1):
        with suppress(*UNREAD):
            entry = history.log.read(number)[0]
            if isinstance(entry.body.detail, NativeEvidence):
                yield entry, entry.body.detail
