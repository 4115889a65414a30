"""Answers to a checked query, all of them exact: there is no index of vectors."""

# ruff: noqa: S608  # names come from a CollectionSpec, whose patterns allow identifiers only;
# values are parameters.

from dr_pipelines.model.collection import Metric
from dr_pipelines.model.query import Hit, reciprocal_rank_fusion
from dr_pipelines.stores.duckdb import index
from dr_pipelines.stores.duckdb.filters import Condition, condition
from dr_pipelines.stores.duckdb.memory import Connection
from dr_pipelines.stores.duckdb.schema import name, strings
from dr_pipelines.stores.shared.requests import Request, VectorRequest

SHARED = "list_sum([(p[1] != 0 AND p[2] != 0)::DOUBLE FOR p IN list_zip({row}, {query})])"
EITHER = "list_sum([(p[1] != 0 OR p[2] != 0)::DOUBLE FOR p IN list_zip({row}, {query})])"
SCORES = {
    Metric.COSINE: "array_cosine_similarity({row}, {query})",
    Metric.DOT: "array_inner_product({row}, {query})",
    Metric.L2: "0 - array_distance({row}, {query})",
    Metric.L1: "0 - list_sum([abs(p[1] - p[2]) FOR p IN list_zip({row}, {query})])",
    Metric.HAMMING: "0 - list_sum([(p[1] != p[2])::DOUBLE FOR p IN list_zip({row}, {query})])",
    Metric.JACCARD: f"coalesce({SHARED} / nullif({EITHER}, 0), 1) - 1",
}

Ranking = list[tuple[str, float]]


def answered(connection: Connection, request: Request) -> list[Hit]:
    """The hits of a query."""
    where, depth = condition(request.filter), request.depth
    rankings: list[Ranking] = []
    if request.nearest is not None:
        rankings.append(_nearest(connection, request.nearest, where, limit=depth))
    if request.terms is not None:
        rankings.append(index.ranking(connection, request.terms, where, limit=depth))
    best = rankings[0]
    if len(rankings) > 1:
        best = reciprocal_rank_fusion([[key for key, _ in rank] for rank in rankings])
    return _hits(connection, best[: request.limit])


def _nearest(
    connection: Connection, request: VectorRequest, where: Condition, *, limit: int
) -> Ranking:
    score, query = _score(request)
    condition, values = where
    present = f"{name(request.column.name)} IS NOT NULL"
    rows = connection.execute(
        f"SELECT id, {score} AS score FROM records WHERE {present} AND {condition} "
        f"AND isfinite(score) ORDER BY score DESC, id LIMIT {limit}",
        [*query, *values],
    )
    return [(key, float(scored)) for key, scored in rows.fetchall()]


def _hits(connection: Connection, best: Ranking) -> list[Hit]:
    connection.register("best", strings("id", [key for key, _ in best]))
    rows = connection.execute(
        "SELECT id, document_id, text FROM records WHERE id IN (SELECT id FROM best)"
    )
    records = {key: (document, text) for key, document, text in rows.fetchall()}
    return [Hit(key, records[key][0], score, records[key][1]) for key, score in best]


def _score(request: VectorRequest) -> Condition:
    """In double precision, row by row: the same row always scores the same. Not finite, or null,
    for a vector that is not finite: it is no hit."""
    doubles = f"DOUBLE[{request.column.dimension}]"
    row = f"{name(request.column.name)}::{doubles}"
    sql = SCORES[request.column.metric].format(row=row, query=f"?::{doubles}")
    vector = [float(component) for component in request.vector]
    values = [vector] * sql.count("?")
    usable = f"CASE WHEN isfinite(list_sum({row})) THEN {{}} END"
    match request.column.metric:
        case Metric.COSINE:  # of a zero vector: NaN
            return f"coalesce(nullif({sql}, 'nan'::DOUBLE), {usable.format(0)})", values
        case Metric.HAMMING | Metric.JACCARD:  # which NaN does not reach
            return usable.format(sql), values
        case _:
            return sql, values
