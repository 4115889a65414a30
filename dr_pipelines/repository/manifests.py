"""Manifests: everything a recovery point consists of, in an object of nearly constant size; what
grows with the history lies in pages that many manifests share."""

from pydantic import ValidationError

from dr_pipelines.errors import Damaged, Refused
from dr_pipelines.model.recovery_point import (
    Coverage,
    Manifest,
    ObjectRef,
    SegmentList,
    SegmentPageRef,
)
from dr_pipelines.repository.covered_days import CoveredDays
from dr_pipelines.repository.json_codec import require_version, unknown_features
from dr_pipelines.repository.pages import DAYS, SEGMENTS, paged
from dr_pipelines.repository.repository import Repository
from dr_pipelines.repository.segment_list import Segments


def write_manifest(repository: Repository, manifest: Manifest) -> ObjectRef:
    """Store a manifest; of its lists, what is too long for it is moved into pages first."""
    update = {
        "segments": _short_segments(repository, manifest),
        "coverage": _short_coverage(repository, manifest),
    }
    data = manifest.model_copy(update=update).canonical()
    return repository.put(f"{manifest.collection}/manifests/{repository.new_name()}.json", data)


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


def segments(repository: Repository, manifest: Manifest) -> Segments:
    """All segments of a manifest, in the order in which they were added."""
    return Segments(repository, manifest.segments)


def covered_days(repository: Repository, manifest: Manifest) -> CoveredDays:
    """All days of the source that a manifest covers."""
    return CoveredDays(repository, manifest.coverage)


def _short_segments(repository: Repository, manifest: Manifest) -> SegmentList:
    listed = manifest.segments
    pages, tail = paged(repository, manifest.collection, SEGMENTS, listed.pages, listed.tail)
    before = {page.key for page in listed.pages}
    indexed = (p if p.key in before else _joined(repository, manifest, p) for p in pages)
    return SegmentList(pages=tuple(indexed), tail=tuple(tail))


def _joined(repository: Repository, manifest: Manifest, page: SegmentPageRef) -> SegmentPageRef:
    """A new page with the rows of its segments, or their indexes, in one object, where they are
    small."""
    from dr_pipelines.repository.packed import with_joined  # who reads needs no Arrow

    return with_joined(repository, manifest.collection, page, spec=manifest.spec)


def _short_coverage(repository: Repository, manifest: Manifest) -> Coverage:
    coverage = manifest.coverage
    items = tuple(coverage.tail.items())
    pages, tail = paged(repository, manifest.collection, DAYS, coverage.pages, items)
    return coverage.model_copy(update={"pages": pages, "tail": dict(tail)})


def _require_known(ref: ObjectRef, unknown: set[str]) -> None:
    if unknown:
        raise Refused(
            f"{ref.key} was written by a newer version that uses {sorted(unknown)}: this version "
            "would read another state than it says"
        )
