"""A manifest's statistics of its state, updated in proportion to what an entry brings."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.record import Presence
from dr_pipelines.model.recovery_point import (
    Counts,
    Digests,
    Manifest,
    SegmentRef,
)
from dr_pipelines.repository.digest import combine
from dr_pipelines.repository.fold import fold
from dr_pipelines.repository.repository import Repository
from dr_pipelines.repository.segment_rows import record_rows
from dr_pipelines.repository.segments import read_index


@dataclass(frozen=True, slots=True)
class Sums:
    """How much a state holds, and its digests."""

    counts: Counts
    digests: Digests


NOTHING = Sums(Counts(), Digests())


def sums_of(ref: SegmentRef, rows: pa.Table, spec: CollectionSpec) -> Sums:
    """Of a segment that has each of its documents once, by its rows without vectors."""
    present = pc.sum(pc.equal(rows["presence"], Presence.PRESENT)).as_py() or 0
    counts = Counts(
        records=ref.records,
        documents=present,
        deleted=ref.rows - ref.records - present,
        tenants=_tenants_of(rows, spec),
    )
    return Sums(counts, ref.digests)


def _tenants_of(rows: pa.Table, spec: CollectionSpec) -> dict[str, int]:
    """How many records each tenant has, "" where it is null; of nobody without such a field."""
    field = spec.with_role("tenant")
    if field is None:
        return {}
    tenants = rows.filter(record_rows(rows))[field.name].cast(pa.string()).fill_null("")
    counted = pc.value_counts(tenants)
    return dict(zip(counted.field(0).to_pylist(), counted.field(1).to_pylist(), strict=True))


def added_up(parts: Iterable[Sums]) -> Sums:
    """Of several parts of a state together."""
    whole = NOTHING
    for part in parts:
        whole = replaced(whole, by=part)
    return whole


def replaced(whole: Sums, *, by: Sums, before: Sums = NOTHING) -> Sums:
    """Of a state in which some documents are `by` now what they were `before`."""
    return Sums(
        _moved(whole.counts, before.counts, by.counts),
        _moved_digests(whole.digests, before.digests, by.digests),
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
    where the `sums` of that state are known."""
    numbered = tuple(ref.model_copy(update={"entry": entry}) for ref in added)
    grown = manifest.model_copy(update={"segments": manifest.segments.plus(numbered)})
    if not added:
        return grown
    if sums is not None:
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
