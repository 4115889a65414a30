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
    SegmentPageRef,
    SegmentRef,
)
from dr_pipelines.repository.manifests import covered_days, read_manifest, segments
from dr_pipelines.repository.repository import Repository

_REFERENCES = TypeAdapter(tuple[SegmentRef | ObjectRef, ...])


def reachable(
    repository: Repository,
    entry: LogEntry,
    manifest: Manifest,
    *,
    walked: set[ObjectRef] | None = None,
) -> Iterator[ObjectRef]:
    """Every object that an entry refers to, its own log object excepted; may repeat.

    Pages of lists that are `walked` are left out, with everything that they refer to, and those
    that were walked join them: who walks many entries keeps the set and reads each page once.
    """
    walked = set() if walked is None else walked
    yield entry.body.manifest
    yield from attached(repository, entry, walked=walked)
    yield from _of_manifest(repository, manifest, walked)


def _of_manifest(
    repository: Repository, manifest: Manifest, walked: set[ObjectRef]
) -> Iterator[ObjectRef]:
    if manifest.canaries is not None:
        yield manifest.canaries
    if manifest.left_out is not None:
        yield manifest.left_out.records
    if manifest.accepted is not None:
        yield manifest.accepted
    if manifest.erased is not None:
        yield manifest.erased
    yield from _with_parts(segments(repository, manifest).walk(walked))
    yield from covered_days(repository, manifest).walk(walked)


def attached(
    repository: Repository, entry: LogEntry, *, walked: set[ObjectRef] | None = None
) -> Iterator[ObjectRef]:
    """The objects that an entry keeps beside its manifest, lists and their contents included."""
    walked = set() if walked is None else walked
    for ref in entry.body.objects:
        yield from _with_parts([ref])
        listed = _read_list(repository, ref) if ref.encoding == REFERENCES else ()
        yield from _with_parts(listed)
        for other in (ref, *listed):
            if other.encoding == MANIFEST:
                manifest = read_manifest(repository, other, collection=entry.collection)
                yield from _of_manifest(repository, manifest, walked)


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
    """References, with the objects beside each segment and each page of segments."""
    for ref in refs:
        yield ref
        if isinstance(ref, SegmentRef | SegmentPageRef):
            yield from ref.companions


def _read_list(repository: Repository, ref: ObjectRef) -> tuple[ObjectRef, ...]:
    value = repository.fetch_json(ref)
    try:
        return _REFERENCES.validate_python(value)
    except ValidationError as error:
        raise Damaged(f"{ref.key}: not a list of references") from error
