"""The one walker that says what a recovery point consists of; commit, verify, copy and, later,
collection of garbage use it. It reads an entry's manifest and `objects`, never a detail."""

from collections.abc import Iterable, Iterator, Sequence

from pydantic import TypeAdapter, ValidationError

from dr_pipelines.errors import Damaged
from dr_pipelines.model.base import canonical_json
from dr_pipelines.model.recovery_point import (
    MANIFEST,
    MAX_OBJECTS,
    REFERENCES,
    LogEntry,
    Manifest,
    ObjectRef,
    SegmentRef,
)
from dr_pipelines.repository.manifests import read_manifest, segments
from dr_pipelines.repository.repository import Repository

_REFERENCES = TypeAdapter(tuple[SegmentRef | ObjectRef, ...])


def reachable(repository: Repository, entry: LogEntry, manifest: Manifest) -> Iterator[ObjectRef]:
    """Every object that an entry refers to, its own log object excepted; may repeat."""
    yield entry.body.manifest
    yield from attached(repository, entry)
    yield from _of_manifest(repository, manifest)


def _of_manifest(repository: Repository, manifest: Manifest) -> Iterator[ObjectRef]:
    yield from manifest.pages
    if manifest.canaries is not None:
        yield manifest.canaries
    if manifest.left_out is not None:
        yield manifest.left_out.records
    if manifest.accepted is not None:
        yield manifest.accepted
    if manifest.erased is not None:
        yield manifest.erased
    yield from _with_parts(segments(repository, manifest))
    for partition in manifest.partitions.values():
        yield from partition.documents
        yield from partition.chunks


def attached(repository: Repository, entry: LogEntry) -> Iterator[ObjectRef]:
    """The objects that an entry keeps beside its manifest, lists and their contents included."""
    for ref in entry.body.objects:
        yield from _with_parts([ref])
        listed = _read_list(repository, ref) if ref.encoding == REFERENCES else ()
        yield from _with_parts(listed)
        for other in (ref, *listed):
            if other.encoding == MANIFEST:
                manifest = read_manifest(repository, other, collection=entry.collection)
                yield from _of_manifest(repository, manifest)


def attach(
    repository: Repository,
    collection: str,
    refs: Sequence[ObjectRef],
    *,
    named: Sequence[ObjectRef] = (),
) -> tuple[ObjectRef, ...]:
    """References as a body's `objects`: those that a detail names by key, and the others, which are
    stored as an object of their own where they are many."""
    if len(named) + len(refs) <= MAX_OBJECTS:
        return (*named, *refs)
    value = canonical_json(_REFERENCES.dump_python(tuple(refs), mode="json"))
    key = f"{collection}/evidence/references/{repository.new_name('-')}.json"
    more = repository.put(key, value).model_copy(update={"encoding": REFERENCES})
    return (*named, more)


def named_object(entry: LogEntry, key: str) -> ObjectRef:
    """The object of this key that an entry keeps; raises `Damaged`."""
    for ref in entry.body.objects:
        if ref.key == key:
            return ref
    raise Damaged(f"log entry {entry.i} of {entry.collection} names {key} and does not keep it")


def _with_parts(refs: Iterable[ObjectRef]) -> Iterator[ObjectRef]:
    """References, with the index and the vectors of each segment."""
    for ref in refs:
        yield ref
        if isinstance(ref, SegmentRef):
            yield from ref.companions


def _read_list(repository: Repository, ref: ObjectRef) -> tuple[ObjectRef, ...]:
    value = repository.fetch_json(ref)
    try:
        return _REFERENCES.validate_python(value)
    except ValidationError as error:
        raise Damaged(f"{ref.key}: not a list of references") from error
