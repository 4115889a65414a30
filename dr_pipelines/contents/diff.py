"""Differences between two recovery points, document by document.

The folds of both are compared by digest; only documents that differ are read, a bounded number at
a time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from dr_pipelines.model.record import Presence, store_schema
from dr_pipelines.model.recovery_point import RecoveryPoint
from dr_pipelines.repository.fold import State, fold_point
from dr_pipelines.repository.repository import Repository
from dr_pipelines.repository.rows import newest_rows

READ_DOCUMENTS = 256
LIMIT = 1_000

_OTHER = """
CREATE TABLE other_documents (document_id VARCHAR, document_sha256 BLOB);
CREATE TABLE other_records (
    document_id VARCHAR, id VARCHAR, content_digest BLOB, vector_digest BLOB);
"""
_DOCUMENTS = "SELECT document_id, document_sha256 FROM documents WHERE presence = ?"
_RECORDS = "SELECT document_id, id, content_digest, vector_digest FROM records"
_MOVED = """
CREATE TABLE moved AS
WITH here AS (SELECT document_id, document_sha256 FROM documents WHERE presence = $1),
touched AS (
    SELECT DISTINCT unnest([r.document_id, o.document_id]) AS document_id
    FROM records r FULL JOIN other_records o USING (id)
    WHERE r.document_id IS DISTINCT FROM o.document_id
       OR r.content_digest IS DISTINCT FROM o.content_digest
       OR r.vector_digest IS DISTINCT FROM o.vector_digest)
SELECT coalesce(h.document_id, o.document_id) AS document_id,
       CASE WHEN o.document_id IS NULL THEN 'removed'
            WHEN h.document_id IS NULL THEN 'added' ELSE 'changed' END AS kind,
       h.document_sha256 IS DISTINCT FROM o.document_sha256 AS text
FROM here h FULL JOIN other_documents o USING (document_id)
WHERE h.document_id IS NULL OR o.document_id IS NULL
   OR h.document_sha256 IS DISTINCT FROM o.document_sha256
   OR h.document_id IN (SELECT document_id FROM touched)
"""
_COUNTS = "SELECT kind, count(*) FROM moved GROUP BY kind"
_NAMED = "SELECT document_id FROM moved WHERE kind = ? ORDER BY document_id LIMIT ?"


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


def diff(repository: Repository, a: RecoveryPoint, b: RecoveryPoint, *, limit: int = LIMIT) -> Diff:
    """Changes of documents from `a` to `b`, whichever is older. Raises `Damaged`."""
    with fold_point(repository, a) as before, fold_point(repository, b) as after:
        _bring_together(before, after)
        before.sql.execute(_MOVED, [Presence.PRESENT])
        totals = dict(before.sql.execute(_COUNTS).fetchall())
        present = before.counts().documents
        changed = _named(before, "changed", limit)
        return Diff(
            a=a.id,
            b=b.id,
            added=tuple(_named(before, "added", limit)),
            removed=tuple(_named(before, "removed", limit)),
            changed=tuple(_changes(repository, before, after, changed)),
            added_total=totals.get("added", 0),
            removed_total=totals.get("removed", 0),
            changed_total=totals.get("changed", 0),
            unchanged=present - totals.get("removed", 0) - totals.get("changed", 0),
        )


def _bring_together(before: State, after: State) -> None:
    """Put the narrow columns of one fold beside the other's."""
    before.sql.execute(_OTHER)
    for name, query, parameters in (
        ("other_documents", _DOCUMENTS, [Presence.PRESENT]),
        ("other_records", _RECORDS, []),
    ):
        for batch in after.batches(query, parameters):
            before.sql.register("incoming", batch)
            before.sql.execute(f"INSERT INTO {name} SELECT * FROM incoming")  # noqa: S608 - ours
            before.sql.unregister("incoming")


def _named(state: State, kind: str, limit: int) -> list[str]:
    return [row[0] for row in state.sql.execute(_NAMED, [kind, limit]).fetchall()]


def _changes(
    repository: Repository, before: State, after: State, documents: list[str]
) -> Iterator[DocumentChange]:
    for start in range(0, len(documents), READ_DOCUMENTS):
        batch = documents[start : start + READ_DOCUMENTS]
        old = _rows_by_document(repository, before, batch)
        new = _rows_by_document(repository, after, batch)
        for document in batch:
            yield _change(document, old.get(document, []), new.get(document, []), before, after)


def _rows_by_document(
    repository: Repository, state: State, documents: list[str]
) -> dict[str, list[dict[str, Any]]]:
    """The records of some documents, in order of chunks."""
    by_document: dict[str, list[dict[str, Any]]] = {}
    for rows in newest_rows(repository, state, documents=pa.array(documents, pa.string())):
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
        vectors=any([r.get(v) for r in old] != [r.get(v) for r in new] for v in vectors),
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
