"""Indexes between Milvus' words and ours."""

import json
from collections.abc import Iterable
from typing import Any

from pymilvus.grpc_gen import common_pb2, milvus_pb2

from dr_pipelines.model.collection import (
    Metric,
    Vector,
    VectorIndex,
    VectorKind,
    VectorType,
)

METRICS = {
    Metric.COSINE: "COSINE",
    Metric.DOT: "IP",
    Metric.L2: "L2",
    Metric.HAMMING: "HAMMING",
    Metric.JACCARD: "JACCARD",
}
OURS = {name: metric for metric, name in METRICS.items()} | {
    "BM25": Metric.DOT,
    "MHJACCARD": Metric.JACCARD,
}
WORDS = {"m": "M", "ef_construction": "efConstruction", "lists": "nlist", "bits": "nbits"}
QUERY_WORDS = {"ef_search": "ef", "probes": "nprobe", "search_list": "search_list"}
"""Parameters that Milvus takes with each search and keeps nowhere; milvus-lite ignores the last."""
SUB_VECTORS = ("sub_vectors", "m")
EXACT = "FLAT"
SPARSE = "SPARSE_INVERTED_INDEX"
SEARCHED_BY_SERVER: dict[str, frozenset[str]] = {
    "autoindex": frozenset(),
    "diskann": frozenset(["search_list"]),
    "hnsw": frozenset(["m", "ef_construction", "ef_search"]),
    "hnsw_pq": frozenset(["m", "ef_construction", "ef_search", "sub_vectors", "bits"]),
    "hnsw_sq": frozenset(["m", "ef_construction", "ef_search", "sq_type", "refine", "refine_type"]),
    "ivf_flat": frozenset(["lists", "probes"]),
    "ivf_pq": frozenset(["lists", "probes", "sub_vectors", "bits"]),
    "ivf_rabitq": frozenset(["lists", "probes", "refine", "refine_type"]),
    "ivf_sq8": frozenset(["lists", "probes"]),
    "scann": frozenset(["lists", "probes", "with_raw_data"]),
    "sparse_inverted_index": frozenset(["drop_ratio_build", "inverted_index_algo"]),
    "sparse_wand": frozenset(["drop_ratio_build"]),
}
SEARCHED_BY_LITE = {
    kind: SEARCHED_BY_SERVER[kind]
    for kind in ("autoindex", "hnsw", "hnsw_sq", "ivf_flat", "ivf_sq8", "sparse_inverted_index")
}


def of_description(description: Any) -> dict[str, Any]:
    """An index as Milvus describes it: `field`, `type`, `metric`, `params`, and `name` where it has
    one of its own. Servers say parameters one by one or as JSON, milvus-lite as JSON."""
    words = {pair.key: pair.value for pair in description.params}
    params = json.loads(words.pop("params", "") or "{}")
    kind, metric = words.pop("index_type", ""), words.pop("metric_type", "")
    for key in ("dim", "search_params"):
        words.pop(key, None)
    params = {key: _value(value) for key, value in (words | params).items()}
    index: dict[str, Any] = {"field": description.field_name, "type": kind}
    if metric not in ("", "NONE"):
        index["metric"] = metric
    if params:
        index["params"] = dict(sorted(params.items()))
    if description.index_name not in ("", description.field_name):
        index["name"] = description.index_name
    return index


def request(native: str, index: dict[str, Any]) -> Any:
    """The request that creates an index. Parameters are sent one by one and as JSON: servers
    read both, milvus-lite only the JSON, and forgets what it does not read."""
    params = index.get("params", {})
    words = {key: _text(value) for key, value in params.items()}
    words |= {"index_type": index["type"]}
    if "metric" in index:
        words["metric_type"] = index["metric"]
    if params:
        words["params"] = json.dumps(params, sort_keys=True)
    return milvus_pb2.CreateIndexRequest(
        collection_name=native,
        field_name=index["field"],
        index_name=index.get("name", ""),
        extra_params=pairs(words.items()),
    )


def pairs(items: Iterable[tuple[str, str]]) -> list[Any]:
    """Keys and values as messages have them."""
    return [common_pb2.KeyValuePair(key=key, value=value) for key, value in items]


def of_vector(vector: Vector, column: str) -> dict[str, Any]:
    """The index of a vector's column. A server searches no column without one: `FLAT`, which is
    exact, stands for none."""
    index, metric = vector.index, METRICS.get(vector.metric, "L2")
    if vector.kind is VectorKind.SPARSE:
        kind = index.kind.upper() if index and index.kind.startswith("sparse") else SPARSE
        return _with(index, {"field": column, "type": kind, "metric": "IP"})
    if metric in ("HAMMING", "JACCARD"):
        metric = "L2"  # of a column of floats: never searched
    if index is None:
        return {"field": column, "type": EXACT, "metric": metric}
    return _with(index, {"field": column, "type": index.kind.upper(), "metric": metric})


def to_vector(index: dict[str, Any] | None, declared: VectorIndex | None) -> VectorIndex | None:
    """An engine's index as ours; parameters that the engine does not report are those of
    `declared`."""
    if index is None or (index["type"] == EXACT and declared is None):
        return None
    plain_sparse = index["type"] == SPARSE and not index.get("params")
    if plain_sparse and declared is None:
        return None
    kind = index["type"].lower()
    parameters = {_ours(key, kind): value for key, value in index.get("params", {}).items()}
    queried = {
        k: v for k, v in (declared.parameters if declared else {}).items() if k in QUERY_WORDS
    }
    usable = {
        key: value for key, value in parameters.items() if key.isidentifier() and key.islower()
    }
    return VectorIndex(kind=kind, parameters=usable | queried)


def query_parameters(index: VectorIndex | None, *, limit: int) -> dict[str, Any]:
    """The parameters of a search that set how thorough it is."""
    parameters = index.parameters if index else {}
    words = {QUERY_WORDS[key]: value for key, value in parameters.items() if key in QUERY_WORDS}
    for breadth in ("ef", "search_list"):  # Milvus refuses less than the number of hits
        if breadth in words:
            words[breadth] = max(int(words[breadth]), limit)
    return words


def metric_of(index: dict[str, Any] | None, dtype: VectorType, kind: VectorKind) -> Metric:
    """The metric of a column, or what Milvus compares by where nothing is said."""
    metric = OURS.get((index or {}).get("metric", ""))
    if metric is not None:
        return metric
    if kind is VectorKind.SPARSE:
        return Metric.DOT
    return Metric.HAMMING if dtype is VectorType.BIT else Metric.COSINE


def _with(index: VectorIndex | None, parameters: dict[str, Any]) -> dict[str, Any]:
    if index is None:
        return parameters
    kind = parameters["type"].lower()
    params = {
        _theirs(key, kind): value
        for key, value in sorted(index.parameters.items())
        if key not in QUERY_WORDS
    }
    return parameters | {"params": params} if params else parameters


def _theirs(key: str, kind: str) -> str:
    if key == SUB_VECTORS[0] and kind.endswith("pq"):
        return SUB_VECTORS[1]
    return WORDS.get(key, key)


def _ours(key: str, kind: str) -> str:
    if key == SUB_VECTORS[1] and kind.endswith("pq"):
        return SUB_VECTORS[0]
    return next((ours for ours, theirs in WORDS.items() if theirs == key), key)


def _value(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        parsed = json.loads(value)
    except ValueError:
        return value
    return parsed if isinstance(parsed, bool | int | float) else value


def _text(value: Any) -> str:
    return json.dumps(value) if isinstance(value, bool) else str(value)
