"""A manifest's statistics of its state, updated in proportion to what an entry brings."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

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


def advance(
    repository: Repository, manifest: Manifest, added: Sequence[SegmentRef], *, entry: int
) -> Manifest:
    """The manifest after an entry added segments: folds only the documents they touch."""
    numbered = tuple(ref.model_copy(update={"entry": entry}) for ref in added)
    grown = manifest.model_copy(update={"segments": manifest.segments.plus(numbered)})
    if not added:
        return grown
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
