"""Differences between two recovery points, document by document.

The folds of both are compared by digest; only documents that differ are read, a bounded number at
a time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from dr_pipelines.model.record import store_schema
from dr_pipelines.model.recovery_point import RecoveryPoint
from dr_pipelines.repository.history import History
from dr_pipelines.repository.rows import newest_rows
from dr_pipelines.repository.state import State
from dr_pipelines.repository.two_states import Changes

READ_DOCUMENTS = 256
LIMIT = 1_000


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A value of a document, before and after; a list or a text is not repeated here."""

    name: str
    old: Any
    new: Any


@dataclass(frozen=True, slots=True)
class DocumentChange:
    """The differences of one document. `fields` has declared fields, `uri` and `extra`."""

    id: str
    text: bool
    vectors: bool
    fields: tuple[FieldChange, ...]


@dataclass(frozen=True, slots=True)
class Diff:
    """From point `a` to point `b`, each list ascending by id and at most `limit` long; the totals
    are exact. Documents that are there in both and equal are counted in `unchanged`."""

    a: str
    b: str
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[DocumentChange, ...]
    added_total: int
    removed_total: int
    changed_total: int
    unchanged: int

    @property
    def equal(self) -> bool:
        """True if nothing differs."""
        return not (self.added_total or self.removed_total or self.changed_total)


def diff(history: History, a: RecoveryPoint, b: RecoveryPoint, *, limit: int = LIMIT) -> Diff:
    """Changes of documents from `a` to `b`, whichever is older. Raises `Damaged`."""
    with history.fold_point(a) as before, history.fold_point(b) as after:
        changes = Changes(before, after)
        present = before.counts().documents
        return Diff(
            a=a.id,
            b=b.id,
            added=tuple(changes.documents("added", limit=limit)),
            removed=tuple(changes.documents("removed", limit=limit)),
            changed=tuple(_changes(before, after, changes.documents("changed", limit=limit))),
            added_total=changes.total("added"),
            removed_total=changes.total("removed"),
            changed_total=changes.total("changed"),
            unchanged=present - changes.total("removed") - changes.total("changed"),
        )


def _changes(before: State, after: State, documents: list[str]) -> Iterator[DocumentChange]:
    for start in range(0, len(documents), READ_DOCUMENTS):
        batch = documents[start : start + READ_DOCUMENTS]
        old = _rows_by_document(before, batch)
        new = _rows_by_document(after, batch)
        for document in batch:
            yield _change(document, old.get(document, []), new.get(document, []), before, after)


def _rows_by_document(state: State, documents: list[str]) -> dict[str, list[dict[str, Any]]]:
    """The records of some documents, in order of chunks, with digests in the place of vectors."""
    by_document: dict[str, list[dict[str, Any]]] = {}
    vectors = {vector.name for vector in state.spec.vectors}
    narrow = [field for field in store_schema(state.spec) if field.name not in vectors]
    schema = pa.schema([*narrow, pa.field("vector_digest", pa.binary(32))])
    for rows in newest_rows(state, documents=pa.array(documents, pa.string()), schema=schema):
        for record in rows.to_pylist():
            by_document.setdefault(record["document_id"], []).append(record)
    for records in by_document.values():
        records.sort(key=lambda record: (record["chunk_index"], record["id"]))
    return by_document


def _change(
    document: str,
    old: list[dict[str, Any]],
    new: list[dict[str, Any]],
    before: State,
    after: State,
) -> DocumentChange:
    vectors = [v.name for v in before.spec.vectors]
    names = dict.fromkeys([*store_schema(before.spec).names, *store_schema(after.spec).names])
    compared = [n for n in names if n not in ("id", "document_id", "chunk_index", "text", *vectors)]
    fields = [
        FieldChange(name, was, now)
        for name in compared
        for was, now in [_first_difference(name, old, new)]
        if was != now
    ]
    return DocumentChange(
        id=document,
        text=_text(old) != _text(new),
        vectors=[r["vector_digest"] for r in old] != [r["vector_digest"] for r in new],
        fields=tuple(fields),
    )


def _text(records: list[dict[str, Any]]) -> str:
    return "".join(record["text"] or "" for record in records)


def _first_difference(
    name: str, old: list[dict[str, Any]], new: list[dict[str, Any]]
) -> tuple[Any, Any]:
    """A column's values in the first chunk where they differ; a chunk that is not there has none,
    unless the document has others that say it."""
    if not old or not new:
        return None, None
    for number in range(max(len(old), len(new))):
        was = old[min(number, len(old) - 1)].get(name)
        now = new[min(number, len(new) - 1)].get(name)
        if was != now:
            return was, now
    return None, None
