"""Manifests: everything a recovery point consists of; full pages of segments are shared."""

from pydantic import TypeAdapter, ValidationError

from dr_pipelines.errors import Damaged, Refused
from dr_pipelines.model.base import canonical_json
from dr_pipelines.model.recovery_point import (
    Manifest,
    ObjectRef,
    SegmentRef,
)
from dr_pipelines.repository.json_codec import require_version, unknown_features
from dr_pipelines.repository.repository import Repository

PAGE_SEGMENTS = 64
_PAGE = TypeAdapter(tuple[SegmentRef, ...])


def write_manifest(repository: Repository, manifest: Manifest) -> ObjectRef:
    """Store a manifest; full pages are moved out first."""
    while len(manifest.segments) >= 2 * PAGE_SEGMENTS:
        page, rest = manifest.segments[:PAGE_SEGMENTS], manifest.segments[PAGE_SEGMENTS:]
        ref = _put(
            repository, manifest.collection, canonical_json(_PAGE.dump_python(page, mode="json"))
        )
        update = {"pages": (*manifest.pages, ref), "segments": rest}
        manifest = manifest.model_copy(update=update)
    return _put(repository, manifest.collection, manifest.canonical())


def read_manifest(repository: Repository, ref: ObjectRef, *, collection: str) -> Manifest:
    """Fetch, check and parse.

    Raises `Damaged` for anything that is not this collection's, `Refused` for a state that only a
    newer version reads.
    """
    value = repository.fetch_json(ref)
    require_version(value, what=ref.key)
    _require_known(ref, unknown_features(value))
    try:
        manifest = Manifest.model_validate(value)
    except ValidationError as error:
        raise Damaged(f"{ref.key}: not a manifest ({error.error_count()} errors)") from error
    _require_known(ref, manifest.needs())
    if manifest.collection != collection:
        raise Damaged(f"{ref.key}: belongs to {manifest.collection!r}, not {collection!r}")
    return manifest


def segments(repository: Repository, manifest: Manifest) -> tuple[SegmentRef, ...]:
    """All segments of a manifest, pages first, in the order they were added."""
    pages = [_read_page(repository, ref) for ref in manifest.pages]
    return tuple(segment for page in (*pages, manifest.segments) for segment in page)


def _read_page(repository: Repository, ref: ObjectRef) -> tuple[SegmentRef, ...]:
    value = repository.fetch_json(ref)
    try:
        return _PAGE.validate_python(value)
    except ValidationError as error:
        raise Damaged(f"{ref.key}: not a page of segments") from error


def _require_known(ref: ObjectRef, unknown: set[str]) -> None:
    if unknown:
        raise Refused(
            f"{ref.key} was written by a newer version that uses {sorted(unknown)}: this version "
            "would read another state than it says"
        )


def _put(repository: Repository, collection: str, data: bytes) -> ObjectRef:
    return repository.put(f"{collection}/manifests/{repository.new_name()}.json", data)
