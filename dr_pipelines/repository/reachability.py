"""The one walker that says what a recovery point consists of; commit, verify, copy and, later,
collection of garbage use it."""

from collections.abc import Iterator
from typing import TypeVar

from pydantic import ValidationError

from dr_pipelines.errors import Damaged
from dr_pipelines.model.recovery_point import (
    KeptVersion,
    LogEntry,
    Manifest,
    ObjectRef,
    SegmentRef,
)
from dr_pipelines.repository.json_codec import decode_json
from dr_pipelines.repository.manifests import segments
from dr_pipelines.repository.repository import Repository

Ref = TypeVar("Ref", bound=ObjectRef)
NATIVE = "native"
"""The kind of evidence that lists an engine's own files."""
LIMIT_BYTES = 64 * 2**20


def reachable(repository: Repository, entry: LogEntry, manifest: Manifest) -> Iterator[ObjectRef]:
    """Every object that an entry refers to, its own log object excepted; may repeat."""
    yield entry.body.manifest
    yield from _attachments(entry)
    kept = kept_version(repository, entry)
    for file in kept.files if kept else ():
        yield from file.parts
    yield from manifest.pages
    if manifest.canaries is not None:
        yield manifest.canaries
    if manifest.left_out is not None:
        yield manifest.left_out.records
    for ref in segments(repository, manifest):
        yield from segment_objects(ref)
    for partition in manifest.partitions.values():
        yield from partition.documents
        yield from partition.chunks


def segment_objects(ref: SegmentRef) -> tuple[ObjectRef, ObjectRef]:
    """A segment's two objects."""
    return ref, ref.index


def kept_version(repository: Repository, entry: LogEntry) -> KeptVersion | None:
    """The engine's files that an entry keeps, if it is one that does; raises `Damaged`."""
    detail = entry.body.detail
    if entry.kind != "evidence" or detail.get("kind") != NATIVE:
        return None
    ref = evidence_ref(entry)
    said = decode_json(repository.fetch(ref), what=ref.key, limit_bytes=LIMIT_BYTES)
    try:
        return KeptVersion.model_validate(said["files"])
    except (KeyError, TypeError, ValueError) as error:
        raise Damaged(f"{ref.key}: does not list an engine's files") from error


def _attachments(entry: LogEntry) -> Iterator[ObjectRef]:
    """Pre-images and evidence that an entry's detail names."""
    for value in entry.body.detail.get("preimages", ()):
        yield from segment_objects(_parsed(SegmentRef, value, entry))
    if "evidence" in entry.body.detail:
        yield evidence_ref(entry)


def evidence_ref(entry: LogEntry) -> ObjectRef:
    """The object that an entry with evidence names; raises `Damaged`."""
    return _parsed(ObjectRef, entry.body.detail.get("evidence"), entry)


def _parsed(kind: type[Ref], value: object, entry: LogEntry) -> Ref:
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise Damaged(
            f"log entry {entry.i} of {entry.collection}: what it refers to is no object of a "
            f"repository ({error.error_count()} errors)"
        ) from error
