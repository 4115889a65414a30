"""Records into Chroma: new ones first, then those that go.

Chroma keeps lists in a table that it does not clean when a collection is deleted, and numbers its
records anew: a new one may come up with the lists of one that is long gone. So what was written is
looked at, and what nobody gave is removed. (To delete the records first would cure it at its root,
but show an empty collection to who still reads it, instead of none.)
"""

from collections.abc import Iterator, Sequence
from typing import Any

from dr_pipelines.stores.chroma import foreign
from dr_pipelines.stores.chroma.records import Rows
from dr_pipelines.stores.chroma.session import Engine, Model, Session

CALL_ROWS = 2000
CALL_BYTES = 8 * 2**20
"""A server takes no request above 40 MiB, of which JSON may be several times what it says."""
DELETED = 10_000


def write_rows(engine: Engine, model: Model, rows: Rows, *, keep_nothing: bool) -> None:
    """Insert or replace records, some at a time; each call is written as a whole. With
    `keep_nothing` a record that is there may have anything in it, and all of it goes."""
    if not rows.ids:
        return
    with engine.session() as session:
        most = min(CALL_ROWS, session.max_batch_rows())
    for start, stop in _calls(rows, most):
        part = rows.part(start, stop)
        with engine.session() as session:
            if keep_nothing:
                _make_room(session, model, part)
            session.upsert(model, **part)
            _remove_strays(session, model, part)


def delete_rows(engine: Engine, model: Model, ids: Sequence[str]) -> None:
    """Delete records; missing ones are no matter."""
    for start in range(0, len(ids), DELETED):
        with engine.session() as session:
            session.delete(model, ids[start : start + DELETED])


def _remove_strays(session: Session, model: Model, part: dict[str, Any]) -> None:
    """Remove metadata that records have and were not given."""
    sent = dict(zip(part["ids"], part["metadatas"], strict=True))
    stored = session.get(model, ids=part["ids"], include=["metadatas"])
    strays = {
        key: dict.fromkeys((metadata or {}).keys() - (sent[key] or {}).keys())
        for key, metadata in zip(stored["ids"], stored["metadatas"], strict=True)
    }
    stray = {key: keys for key, keys in strays.items() if keys}
    if stray:
        session.update(model, ids=list(stray), metadatas=list(stray.values()))


def _make_room(session: Session, model: Model, part: dict[str, Any]) -> None:
    content = ("metadatas", "documents", "uris")
    emptied = foreign.replacing(part, session.get(model, ids=part["ids"], include=content))
    if emptied:
        session.delete(model, emptied)


def _calls(rows: Rows, most: int) -> Iterator[tuple[int, int]]:
    """Stretches of at most so many records, and bytes unless one record has more."""
    start, size_bytes, width = 0, 0, rows.embeddings.shape[1] * 4
    for place in range(len(rows.ids)):
        size = width + _size(rows, place)
        if place > start and (place - start >= most or size_bytes + size > CALL_BYTES):
            yield start, place
            start, size_bytes = place, 0
        size_bytes += size
    yield start, len(rows.ids)


def _size(rows: Rows, place: int) -> int:
    texts = [rows.documents[place], rows.uris[place], *(rows.metadatas[place] or {}).values()]
    return sum(len(text) for text in texts if isinstance(text, str))
