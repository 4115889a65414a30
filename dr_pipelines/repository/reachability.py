"""The one walker that says what a recovery point consists of; commit, verify, copy and, later,
collection of garbage use it."""

from collections.abc import Iterator

from dr_pipelines.model.recovery_point import LogEntry, Manifest, ObjectRef, SegmentRef
from dr_pipelines.repository.manifests import segments
from dr_pipelines.repository.repository import Repository


def reachable(repository: Repository, entry: LogEntry, manifest: Manifest) -> Iterator[ObjectRef]:
    """Every object that an entry refers to, its own log object excepted; may repeat."""
    yield entry.body.manifest
    yield from _attachments(entry)
    yield from manifest.pages
    for ref in segments(repository, manifest):
        yield from segment_objects(ref)
    for partition in manifest.partitions.values():
        yield from partition.documents
        yield from partition.chunks


def segment_objects(ref: SegmentRef) -> tuple[ObjectRef, ObjectRef]:
    """A segment's two objects."""
    return ref, ref.index


def _attachments(entry: LogEntry) -> Iterator[ObjectRef]:
    """Pre-images and evidence that an entry's detail names."""
    for value in entry.body.detail.get("preimages", ()):
        yield from segment_objects(SegmentRef.model_validate(value))
    if "evidence" in entry.body.detail:
        yield ObjectRef.model_validate(entry.body.detail["evidence"])
