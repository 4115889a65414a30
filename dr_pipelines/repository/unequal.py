"""Records of a store that are not as the log has them, by the kind of difference."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from dr_pipelines.repository.state import State

Kind = Literal["missing", "unexpected", "content", "vectors"]
"""Not there; there and in no version of the log; another text or field; another vector."""
NAMED = 5

_WHERE: dict[Kind, str] = {
    "missing": "o.id IS NULL",
    "unexpected": "r.id IS NULL",
    "content": "r.id = o.id AND (r.content_digest <> o.content_digest "
    "OR r.document_id <> o.document_id)",
    "vectors": "r.id = o.id AND r.vector_digest <> o.vector_digest",
}
_COLUMNS = ", ".join(
    f"count(*) FILTER ({where}), count(DISTINCT document_id) FILTER ({where}), "
    f"min(id, {NAMED}) FILTER ({where})"
    for where in _WHERE.values()
)
_SUMMED = f"""
SELECT {_COLUMNS} FROM (
    SELECT r, o, coalesce(r.id, o.id) AS id, coalesce(r.document_id, o.document_id) AS document_id
    FROM records r FULL JOIN observed o ON r.id = o.id
    WHERE r.id IS NULL OR o.id IS NULL OR r.content_digest <> o.content_digest
        OR r.vector_digest <> o.vector_digest OR r.document_id <> o.document_id)
"""  # noqa: S608 - built from constants


@dataclass(frozen=True, slots=True)
class Unequal:
    """Records that differ in one way, how many, of how many documents, and the first of them."""

    kind: Kind
    records: int
    documents: int
    such_as: tuple[str, ...]


def unequal_records(state: State) -> Iterator[Unequal]:
    """The differences between a state and the store that was observed beside it; one record may
    differ in more than one way."""
    (row,) = state.sql.execute(_SUMMED).fetchall()
    values = iter(row)
    for kind in get_args(Kind):
        records, documents, such_as = next(values), next(values), next(values)
        if records:
            yield Unequal(kind, records, documents, tuple(such_as))
