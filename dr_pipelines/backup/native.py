"""An engine's own files beside the portable segments, kept file by file, for a restore that need
not build an index.

They are an addition: every recovery point restores without them, into any engine. They count only
beside a snapshot that found the collection equal to the log, and what is restored from them is
compared with the log like everything else.
"""

from dataclasses import dataclass
from typing import IO

from dr_pipelines.backup.unchanged import unchanged_since
from dr_pipelines.errors import Refused
from dr_pipelines.model.details import NativeEvidence
from dr_pipelines.model.recovery_point import (
    Head,
    KeptFile,
    KeptVersion,
    LogEntry,
    ObjectRef,
)
from dr_pipelines.protocols import (
    NativeFile,
    NativeFiles,
    Progress,
    VectorReader,
)
from dr_pipelines.repository.evidence import record_evidence
from dr_pipelines.repository.history import History
from dr_pipelines.repository.native_files import files_kept_before
from dr_pipelines.repository.reachability import attach

PART_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Kept:
    """The files of an engine that were kept: the log number, and how much was kept already."""

    number: int
    version: str
    files: int
    size_bytes: int
    new_files: int
    new_bytes: int


def keep_native(
    history: History,
    *,
    store: VectorReader,
    native: NativeFiles,
    progress: Progress | None = None,
) -> Kept:
    """Keep the files of a collection at the version that the newest snapshot has proven. Files of
    the same collection that were kept before are not read again, where the engine says that a path
    names one file for ever. The rest can be interrupted and repeated.

    Raises `Refused` where the collection changed since the snapshot, or while it was read.
    """
    entry = _proven(history, store)
    physical = history.manifest_of(entry).current.physical
    version = native.native_files(physical)
    kept_files = {(f.path, f.size_bytes): f for f in files_kept_before(history, physical)}
    new = [f for f in version.files if not f.once or (f.path, f.size_bytes) not in kept_files]
    done, total = 0, sum(file.size_bytes for file in new)
    for file in new:
        with native.open_native(physical, file.path) as opened:
            kept_files[file.path, file.size_bytes] = _keep(history, file, opened)
        done += file.size_bytes
        if progress:
            progress(done, total)
    if _proven(history, store).i != entry.i:
        raise Refused(
            f"{history.collection}: another snapshot was taken meanwhile. Run the command again"
        )
    version_kept = KeptVersion(
        engine=version.engine,
        physical=physical,
        version=version.version,
        snapshot=entry.i,
        files=tuple(kept_files[file.path, file.size_bytes] for file in version.files),
    )
    size_bytes = sum(file.size_bytes for file in version.files)
    head = _record(history, version_kept, size_bytes=size_bytes)
    return Kept(
        number=head.number,
        version=version.version,
        files=len(version.files),
        size_bytes=size_bytes,
        new_files=len(new),
        new_bytes=done,
    )


def _record(history: History, version: KeptVersion, *, size_bytes: int) -> Head:
    repository, collection = history.repository, history.collection
    key = f"{collection}/evidence/native/{repository.new_name('-')}.json"
    listing = repository.put(key, version.canonical())
    parts = [part for file in version.files for part in file.parts]
    detail = NativeEvidence(
        engine=version.engine,
        physical=version.physical,
        version=version.version,
        snapshot=version.snapshot,
        listing=listing.key,
        files_total=len(version.files),
        size_bytes=size_bytes,
    )
    objects = attach(repository, collection, parts, named=[listing])
    return record_evidence(history, detail, objects=objects)


def _proven(history: History, store: VectorReader) -> LogEntry:
    entry, collection = unchanged_since(history, store=store), history.collection
    if entry is None:
        raise Refused(
            f"{collection}: no snapshot has proven the collection as it is now. Run: dr backup "
            f"{collection}"
        )
    return entry


def _keep(history: History, file: NativeFile, opened: IO[bytes]) -> KeptFile:
    parts, size = list[ObjectRef](), 0
    while data := opened.read(PART_BYTES):
        key = f"{history.collection}/native/{history.repository.new_name()}"
        parts.append(history.repository.put(key, data))
        size += len(data)
    if size != file.size_bytes:
        raise Refused(f"{file.path} has {size} bytes, not {file.size_bytes}: it was being written")
    return KeptFile(path=file.path, size_bytes=size, parts=tuple(parts))
