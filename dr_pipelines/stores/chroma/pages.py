"""Records of a collection, page by page, by their ids.

Chroma has no snapshot, and pages by offset skip records when others are deleted. So all ids are
read first (they are all that memory holds) and the records of a page by their ids: each record that
nobody touches comes once, in order, and of the others what was there at that moment or nothing.

Chroma reads a record's metadata first and its vector then. Where others may write between the two,
metadata is read again; a record whose metadata has changed is read once more.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import pyarrow as pa

from dr_pipelines.errors import Unavailable
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.stores.chroma import foreign
from dr_pipelines.stores.chroma import records as managed
from dr_pipelines.stores.chroma.schema import is_foreign
from dr_pipelines.stores.chroma.session import Engine, Model, Session

MAX_IDS = 10_000
"""In one call: SQLite takes 32,766 values in a statement."""
FIRST_ROWS, MOST_ROWS, PAGE_BYTES = 32, 2000, 8 * 2**20
ATTEMPTS = 20
CONTENT = ("metadatas", "documents", "uris")


class Reading(Protocol):
    """A collection that is read: how to reach it, and what it is."""

    @property
    def engine(self) -> Engine: ...
    @property
    def model(self) -> Model: ...
    @property
    def spec(self) -> CollectionSpec: ...


def ids_of(reading: Reading, documents: Sequence[str] | None) -> list[str]:
    """All ids, or those of these documents, ascending bytewise."""
    if documents is None:
        with reading.engine.session() as session:
            return sorted(session.get(reading.model)["ids"])
    ids = set[str]()
    unique = list(dict.fromkeys(documents))
    for start in range(0, len(unique), MAX_IDS):
        some = unique[start : start + MAX_IDS]
        with reading.engine.session() as session:
            ids.update(_ids_of_some(session, reading, some))
    return sorted(ids)


def _ids_of_some(session: Session, reading: Reading, documents: list[str]) -> list[str]:
    if is_foreign(reading.spec):
        selection: dict[str, Any] = {"ids": documents}
    else:
        selection = {"where": {"document_id": {"$in": documents}}}
    ids: list[str] = session.get(reading.model, **selection)["ids"]
    return ids


def records(
    reading: Reading, ids: Sequence[str], columns: Sequence[str], *, batch_rows: int
) -> Iterator[pa.RecordBatch]:
    """These records in this order, without those that are gone."""
    layout = foreign if is_foreign(reading.spec) else managed
    include = layout.included(columns, reading.spec)
    start, size = 0, FIRST_ROWS
    while start < len(ids):
        page = ids[start : start + size]
        start += size
        answer = _read(reading.engine, reading.model, page, include)
        if not answer["ids"]:
            continue
        batch = layout.decoded(answer, reading.spec, columns)
        batch = batch.take(pa.array(_order(answer["ids"])))
        size = max(1, min(MOST_ROWS, PAGE_BYTES * batch.num_rows // max(1, batch.nbytes)))
        for first in range(0, batch.num_rows, batch_rows):
            yield batch.slice(first, batch_rows)


def _read(engine: Engine, model: Model, ids: Sequence[str], include: list[str]) -> dict[str, Any]:
    """One page, each record whole."""
    content = [part for part in include if part in CONTENT]
    with engine.session() as session:
        answer = session.get(model, ids=list(ids), include=include)
        if engine.exclusive or not content or len(content) == len(include):
            return answer
        for _ in range(ATTEMPTS):
            again = session.get(model, ids=answer["ids"], include=content)
            torn = _torn(answer, again, content)
            if not torn:
                return answer
            fresh = session.get(model, ids=torn, include=include)
            answer = _patched(answer, fresh, torn, include)
    raise Unavailable(f"record {torn[0]!r} of {model.name!r} keeps changing; try again later")


def _torn(first: dict[str, Any], again: dict[str, Any], content: list[str]) -> list[str]:
    places = {key: place for place, key in enumerate(again["ids"])}
    return [
        key
        for place, key in enumerate(first["ids"])
        if key not in places
        or any(first[part][place] != again[part][places[key]] for part in content)
    ]


def _patched(
    answer: dict[str, Any], fresh: dict[str, Any], torn: list[str], include: list[str]
) -> dict[str, Any]:
    """The answer with some records read anew."""
    stale = set(torn)
    intact = [place for place, key in enumerate(answer["ids"]) if key not in stale]
    return {
        part: [answer[part][place] for place in intact] + list(fresh[part])
        for part in ("ids", *include)
    }


def _order(ids: Sequence[str]) -> list[int]:
    return sorted(range(len(ids)), key=ids.__getitem__)  # code points ascend as UTF-8 does
