"""Searches by the engine's own indexes and filters."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pymilvus.grpc_gen import common_pb2, milvus_pb2

from dr_pipelines.model.collection import Metric
from dr_pipelines.model.query import FloatArray, Hit, fused_hits
from dr_pipelines.stores.milvus import filters, loading
from dr_pipelines.stores.milvus import index as indexes
from dr_pipelines.stores.milvus.column import Column, T
from dr_pipelines.stores.milvus.layout import RecordLayout, named
from dr_pipelines.stores.milvus.live import Live
from dr_pipelines.stores.milvus.messages import from_message, narrow_bytes
from dr_pipelines.stores.milvus.session import Connection
from dr_pipelines.stores.shared.requests import Request, VectorRequest

MOST_HITS = 16_384
SHOWN = ("id", "document_id", "text")
PLACES = common_pb2.PlaceholderType


def can(live: Live, layout: RecordLayout, request: Request) -> bool:
    """True if the engine itself has all that the query needs: an index by the vector's metric,
    and for keywords terms of its own."""
    if request.depth > MOST_HITS:
        return False
    if request.terms is not None and terms_column(live, layout) is None:
        return False
    if request.nearest is None:
        return True
    vector = request.nearest.column
    index = live.index_of(layout.column_of(vector.name)) or {}
    return indexes.OURS.get(index.get("metric", "")) is vector.metric


def search(
    connection: Connection,
    live: Live,
    layout: RecordLayout,
    request: Request,
) -> list[Hit]:
    """The engine's answer to a checked query, best first.

    Raises:
        Inexpressible: the filter has a value that expressions do not have.
    """
    condition, depth = filters.expression(request.filter, layout), request.depth
    reader = _Searcher(connection, live.native, layout, condition, depth)
    rankings = []
    if request.nearest is not None:
        rankings.append(reader.nearest(request.nearest))
    column = terms_column(live, layout)
    if request.terms is not None and column is not None:
        rankings.append(reader.matching(column, request.text or ""))
    return fused_hits(rankings, limit=request.limit)


def terms_column(live: Live, layout: RecordLayout) -> str | None:
    """The column that BM25 makes from the record's text."""
    for function in live.functions:
        if function["type"] == "BM25" and function["inputs"] == [layout.text_column]:
            return str(function["outputs"][0])
    return None


@dataclass(frozen=True, slots=True)
class _Searcher:
    connection: Connection
    native: str
    layout: RecordLayout
    condition: filters.Expression
    limit: int

    def nearest(self, request: VectorRequest) -> list[Hit]:
        """The nearest by the index of a vector's column, scores in our convention."""
        vector = request.column
        column = named(self.layout.columns, self.layout.column_of(vector.name))
        hits = self._hits(
            {"anns_field": column.name, "metric_type": indexes.METRICS[vector.metric]},
            place=_place(column),
            content=_query_bytes(column, request.vector),
            condition=filters.both(self.layout.present(vector) or True, self.condition),
            parameters=indexes.query_parameters(vector.index, limit=self.limit),
        )
        return [_scored(hit, vector.metric) for hit in hits]

    def matching(self, column: str, text: str) -> list[Hit]:
        """The best by the engine's BM25 over a column that its function makes."""
        return self._hits(
            {"anns_field": column, "metric_type": "BM25"},
            place=PLACES.VarChar,
            content=text.encode(),
            condition=self.condition,
            parameters={},
        )

    def _hits(
        self,
        options: dict[str, str],
        *,
        place: int,
        content: bytes,
        condition: filters.Expression,
        parameters: dict[str, Any],
    ) -> list[Hit]:
        if condition is False:
            return []
        query = common_pb2.PlaceholderValue(tag="$0", type=place, values=[content])
        group = common_pb2.PlaceholderGroup(placeholders=[query])
        needed = self.layout.needed(SHOWN)
        flat = {key: str(value) for key, value in parameters.items()}
        words = options | flat | {"topk": str(self.limit), "params": json.dumps(parameters)}
        request = milvus_pb2.SearchRequest(
            collection_name=self.native,
            dsl="" if condition is True else str(condition),
            dsl_type=common_pb2.DslType.BoolExprV1,
            placeholder_group=group.SerializeToString(),
            output_fields=[column.name for column in needed],
            search_params=indexes.pairs((words | {"round_decimal": "-1"}).items()),
            nq=1,
            consistency_level=loading.STRONG,
        )
        answer = loading.read(self.connection, "Search", request)
        return _of_answer(answer.results, self.layout, needed)


def _of_answer(answer: Any, layout: RecordLayout, needed: Sequence[Column]) -> list[Hit]:
    count = len(answer.scores)
    if not count:
        return []
    columns = {field.field_name: field for field in answer.fields_data}
    values = {c.name: from_message(c, columns[c.name], count) for c in needed if c.name in columns}
    records = layout.to_records(values, count, SHOWN, partition="").to_pylist()
    return [
        Hit(row["id"], row["document_id"], float(score), row["text"])
        for row, score in zip(records, answer.scores, strict=True)
    ]


def _scored(hit: Hit, metric: Metric) -> Hit:
    """Milvus gives similarities as they are, squared L2 distances, and other distances."""
    if metric in (Metric.COSINE, Metric.DOT):
        return hit
    distance = math.sqrt(max(0.0, hit.score)) if metric is Metric.L2 else hit.score
    return Hit(hit.id, hit.document_id, 0.0 - distance, hit.text)


def _place(column: Column) -> int:
    places: dict[int, int] = {
        T.BinaryVector: PLACES.BinaryVector,
        T.Float16Vector: PLACES.Float16Vector,
        T.BFloat16Vector: PLACES.BFloat16Vector,
        T.Int8Vector: PLACES.Int8Vector,
    }
    return places.get(column.type, int(PLACES.FloatVector))


def _query_bytes(column: Column, vector: FloatArray) -> bytes:
    if column.type == T.FloatVector:
        return np.ascontiguousarray(vector, "<f4").tobytes()
    return narrow_bytes(column.type, vector.reshape(1, -1))
