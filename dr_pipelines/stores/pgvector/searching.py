"""Answers: exact ones from a scan, the engine's own from its indexes and operators."""

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
from psycopg import sql

from dr_pipelines.model.collection import Metric, Vector
from dr_pipelines.model.query import Filter, Hit, fused_hits
from dr_pipelines.stores.pgvector import contents
from dr_pipelines.stores.pgvector.connections import Row, Session
from dr_pipelines.stores.pgvector.copying import scanned
from dr_pipelines.stores.pgvector.description import Collection
from dr_pipelines.stores.pgvector.filters import condition
from dr_pipelines.stores.pgvector.keys import key_column
from dr_pipelines.stores.pgvector.planner import may_plan
from dr_pipelines.stores.pgvector.statements import qualified, verbatim
from dr_pipelines.stores.pgvector.texts import unescaped
from dr_pipelines.stores.pgvector.vector_indexes import (
    OPERATORS,
    SEARCH,
    own_type,
    searched,
)
from dr_pipelines.stores.shared.exact import search_exactly
from dr_pipelines.stores.shared.requests import Request, VectorRequest

ITERATIVE = (0, 8)
"""The version of pgvector that goes on searching where a filter leaves too few."""
MOST_EF, USUAL_EF = 1000, 40
BATCH_ROWS = 4096


def search(session: Session, collection: Collection, request: Request) -> list[Hit] | None:
    """Hits, best first; None where no query of the table may be planned."""
    if not may_plan(session, collection.table):
        return None
    hits = None if request.exact else approximately(session, collection, request)
    return exactly(session, collection, request) if hits is None else hits


def counted(session: Session, collection: Collection, filter: Filter) -> int | None:
    """Records that a filter keeps; None where no query of the table may be planned."""
    if not may_plan(session, collection.table):
        return None
    where = condition(filter, collection.mapping)
    query = qualified("SELECT count(*) FROM {} WHERE {}")
    return int(session.one(query.format(collection.rows(session), where)))


def exactly(session: Session, collection: Collection, request: Request) -> list[Hit]:
    """Every record is looked at; the server leaves out what a filter does, except under keywords,
    whose scores depend on all records."""
    where = condition(request.filter, collection.mapping)
    if request.terms is not None:
        where = sql.SQL("true")

    def records(columns: Sequence[str]) -> Iterable[pa.RecordBatch]:
        return scanned(
            session, collection, columns, where=where, batch_rows=BATCH_ROWS, ordered=False
        )

    return search_exactly(records, request, limit=request.limit)


def approximately(session: Session, collection: Collection, request: Request) -> list[Hit] | None:
    """Hits that the engine computes by its own means; None if it has none for such a request."""
    if request.nearest is not None and not searched(request.nearest.column):
        return None
    if request.terms is not None and not collection.ours:
        return None
    where = condition(request.filter, collection.mapping)
    rankings = list[list[Hit]]()
    if request.nearest is not None:
        rankings.append(_nearest(session, collection, request.nearest, where, limit=request.depth))
    if request.terms is not None:
        rankings.append(_matching(session, collection, request.terms, where, limit=request.depth))
    return fused_hits(rankings, limit=request.limit)


def _nearest(
    session: Session,
    collection: Collection,
    request: VectorRequest,
    where: sql.Composable,
    *,
    limit: int,
) -> list[Hit]:
    vector = next(v for v in collection.spec.vectors if v.name == request.column.name)
    _tune(session, vector, limit=limit)
    column = collection.mapping.column(vector.name)
    name = sql.Identifier(column.native if column else vector.name)
    compared, place = own_type(vector), sql.Composed([name])
    index = collection.vector_indexes.get(vector.name)
    if index is not None and index.cast is not None:
        compared, size = index.cast, sql.Literal(vector.dimension)
        place = sql.SQL("({}::{}({}))").format(name, _type(session, compared), size)
    shared = column is not None and column.shared
    if column is not None and column.shared:  # the others have no distance to it
        read = column.read.format(name, extension=session.vectors)
        place = sql.SQL("({})").format(read)
    distance = sql.SQL("{} OPERATOR({}.{}) {}").format(
        place,
        session.vectors,
        verbatim(OPERATORS[vector.metric]),
        _literal(session, request, compared),
    )
    query = qualified(
        "SELECT {}, ({})::float8 FROM {} WHERE {} IS NOT NULL AND {} ORDER BY {} LIMIT {}"
    )
    target = collection.rows(session)
    shown, most = _shown(collection), sql.Literal(limit)
    compared_place = place if shared else name
    rows = session.rows(
        query.format(shown, distance, target, compared_place, where, distance, most)
    )
    hits = [_hit(collection, row[:3], _score(row[3], vector.metric)) for row in rows]
    if not collection.table.key:
        hits = contents.numbered_hits(hits)
    return sorted(hits, key=lambda hit: (-hit.score, hit.id))


def _score(distance: float, metric: Metric) -> float:
    if np.isnan(distance):  # the cosine of a zero vector
        return 0.0
    return 1.0 - distance if metric is Metric.COSINE else 0.0 - distance


def _literal(session: Session, request: VectorRequest, compared: str) -> sql.Composed:
    """The query's vector, exact: the shortest decimals that give the same components."""
    size = sql.Literal(len(request.vector))
    if compared == "bit":
        text = "".join("1" if component else "0" for component in request.vector.tolist())
    else:
        text = f"[{','.join(repr(float(component)) for component in request.vector)}]"
    return sql.SQL("{}::{}({})").format(sql.Literal(text), _type(session, compared), size)


def _type(session: Session, compared: str) -> sql.Composable:
    """A type of vectors with its schema: bit strings are the engine's."""
    if compared == "bit":
        return verbatim("pg_catalog.bit")
    return sql.SQL("{}.{}").format(session.vectors, sql.Identifier(compared))


def _tune(session: Session, vector: Vector, *, limit: int) -> None:
    """Search parameters of the specification; at least as many candidates as hits, and more of them
    where a filter leaves too few."""
    parameters = vector.index.parameters if vector.index else {}
    settings = dict[str, str]()
    if vector.index is not None and vector.index.kind == "hnsw":
        ef = int(parameters.get("ef_search", USUAL_EF))
        settings["hnsw.ef_search"] = str(min(MOST_EF, max(ef, limit)))
        settings["hnsw.iterative_scan"] = "strict_order"
    elif vector.index is not None:
        names = SEARCH.get(vector.index.kind, {})
        settings |= {name: str(parameters[k]) for k, name in names.items() if k in parameters}
        settings["ivfflat.iterative_scan"] = "relaxed_order"
    old = session.extension is None or session.extension.version < ITERATIVE
    for name, value in settings.items():
        if old and name.endswith("iterative_scan"):
            continue
        setting = qualified("SELECT pg_catalog.set_config({}, {}, true)")
        session.run(setting.format(sql.Literal(name), sql.Literal(value)))


def _matching(
    session: Session,
    collection: Collection,
    terms: Sequence[str],
    where: sql.Composable,
    *,
    limit: int,
) -> list[Hit]:
    """Records with any of the terms, by the engine's own ranking of texts."""
    if not terms:
        return []
    query = qualified("to_tsquery('pg_catalog.simple'::regconfig, {}::text)").format(
        sql.Literal(" | ".join(f"'{term}'" for term in terms))
    )
    text = qualified("to_tsvector('pg_catalog.simple'::regconfig, left(text, 150000))")
    rows = session.rows(
        qualified(
            "SELECT {}, pg_catalog.ts_rank_cd({}, {})::float8 AS s FROM {} WHERE {} @@ {} AND {} "
            'ORDER BY s DESC, id COLLATE "C" LIMIT {}'
        ).format(
            _shown(collection),
            text,
            query,
            collection.rows(session),
            text,
            query,
            where,
            sql.Literal(limit),
        )
    )
    return [_hit(collection, row[:3], float(row[3])) for row in rows]


def _hit(collection: Collection, shown: Row, score: float) -> Hit:
    key, document, text = shown
    if collection.ours:
        key, document, text = unescaped(key), unescaped(document), text and unescaped(text)
    return Hit(key, document, score, text)


def _shown(collection: Collection) -> sql.Composable:
    """Id, document and text of a hit."""
    if collection.ours:
        return sql.SQL("id, document_id, text")
    table, text = collection.table, collection.mapping.column("text")
    # equal rows get their numbers afterwards: an index gives rows one by one
    key = key_column(collection) if table.key else contents.digest(table)
    shown: sql.Composable = qualified("NULL::text")
    if text is not None:
        shown = text.read.format(text.identifier)
    return sql.SQL("{}, {}, {}").format(key, key, shown)
