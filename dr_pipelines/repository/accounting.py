"""A manifest's statistics of its state, updated in proportion to what an entry brings."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.recovery_point import (
    Counts,
    Digests,
    Manifest,
    SegmentRef,
)
from dr_pipelines.repository.digest import combine
from dr_pipelines.repository.fold import fold
from dr_pipelines.repository.repository import Repository
from dr_pipelines.repository.segments import read_index


@dataclass(frozen=True, slots=True)
class Sums:
    """How much a state holds, and its digests."""

    counts: Counts
    digests: Digests


def sums_of(segments: Sequence[SegmentRef], *, tenants: Mapping[str, int]) -> Sums:
    """Of a state that is these segments: each document in them once, and present. `tenants` are
    those of all their records."""
    records = sum(ref.records for ref in segments)
    documents = sum(ref.rows - ref.records for ref in segments)
    content, vectors, of_documents = (
        combine(add=[getattr(ref.digests, name) for ref in segments])
        for name in ("content", "vectors", "documents")
    )
    return Sums(
        Counts(records=records, documents=documents, tenants=dict(sorted(tenants.items()))),
        Digests(content=content, vectors=vectors, documents=of_documents),
    )


def tenants_of(records: pa.Table, spec: CollectionSpec) -> Counter[str]:
    """How many records each tenant has, "" where it is null; of nobody without such a field."""
    field = spec.with_role("tenant")
    if field is None:
        return Counter()
    counted = pc.value_counts(records[field.name].cast(pa.string()).fill_null(""))
    return Counter(
        dict(zip(counted.field(0).to_pylist(), counted.field(1).to_pylist(), strict=True))
    )


def advance(
    repository: Repository,
    manifest: Manifest,
    added: Sequence[SegmentRef],
    *,
    entry: int,
    sums: Sums | None = None,
) -> Manifest:
    """The manifest after an entry added segments: folds only the documents they touch, or nothing
    where the `sums` of these segments are known and the manifest has no others."""
    numbered = tuple(ref.model_copy(update={"entry": entry}) for ref in added)
    grown = manifest.model_copy(update={"segments": manifest.segments.plus(numbered)})
    if not added:
        return grown
    if sums is not None and not manifest.segments:
        return grown.model_copy(update={"counts": sums.counts, "digests": sums.digests})
    if not manifest.segments:
        with fold(repository, grown) as state:
            return grown.model_copy(update={"counts": state.counts(), "digests": state.digests()})
    columns = [read_index(repository, ref, spec=manifest.spec)["document_id"] for ref in added]
    chunks = [chunk for column in columns for chunk in column.chunks]
    documents = pc.unique(pa.chunked_array(chunks, pa.string()))
    with fold(repository, grown, documents=documents) as state:
        after_counts, after = state.counts(), state.digests()
        state.newest(before=entry)
        before_counts, before = state.counts(), state.digests()
    update = {
        "counts": _moved(manifest.counts, before_counts, after_counts),
        "digests": _moved_digests(manifest.digests, before, after),
    }
    return grown.model_copy(update=update)


def _moved(whole: Counts, before: Counts, after: Counts) -> Counts:
    names = sorted(set(whole.tenants) | set(after.tenants))
    tenants = {
        name: whole.tenants.get(name, 0) - before.tenants.get(name, 0) + after.tenants.get(name, 0)
        for name in names
    }
    return Counts(
        records=whole.records - before.records + after.records,
        documents=whole.documents - before.documents + after.documents,
        deleted=whole.deleted - before.deleted + after.deleted,
        tenants={name: count for name, count in tenants.items() if count},
    )


def _moved_digests(whole: Digests, before: Digests, after: Digests) -> Digests:
    return Digests(
        content=combine(add=(whole.content, after.content), remove=(before.content,)),
        vectors=combine(add=(whole.vectors, after.vectors), remove=(before.vectors,)),
        documents=combine(add=(whole.documents, after.documents), remove=(before.documents,)),
    )
