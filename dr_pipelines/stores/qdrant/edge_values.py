"""Qdrant Edge's configuration, indexes and filters, from and to the JSON of Qdrant's REST
interface."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import qdrant_edge as edge

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.stores.qdrant.variant import Json

HNSW_DEFAULTS = {"m": 16, "ef_construct": 100, "full_scan_threshold": 10_000}
"""The engine's; its class wants all three."""
ENUMS = {
    "bits": edge.TurboQuantBitSize,
    "comparator": edge.MultiVectorComparator,
    "compression": edge.CompressionRatio,
    "datatype": edge.VectorStorageDatatype,
    "distance": edge.Distance,
    "encoding": edge.BinaryQuantizationEncoding,
    "memory": edge.Memory,
    "modifier": edge.Modifier,
    "query_encoding": edge.BinaryQuantizationQueryEncoding,
    "tokenizer": edge.TokenizerType,
}
QUANTIZATIONS = {
    "scalar": edge.ScalarQuantizationConfig,
    "product": edge.ProductQuantizationConfig,
    "binary": edge.BinaryQuantizationConfig,
    "turbo": edge.TurboQuantQuantizationConfig,
}
INDEXES = {
    "keyword": edge.KeywordIndexParams,
    "integer": edge.IntegerIndexParams,
    "float": edge.FloatIndexParams,
    "geo": edge.GeoIndexParams,
    "bool": edge.BoolIndexParams,
    "datetime": edge.DatetimeIndexParams,
    "uuid": edge.UuidIndexParams,
    "text": edge.TextIndexParams,
}
OPTIMIZERS = (
    "deleted_threshold",
    "vacuum_min_vector_number",
    "default_segment_number",
    "max_segment_size",
    "indexing_threshold",
    "prevent_unoptimized",
)
"""Those of a server's optimizers that the engine has in this process."""


def edge_config(config: Json) -> Any:
    """The engine's configuration of a collection; what it does not have is left out."""
    arguments: dict[str, Any] = {
        key: config[key]
        for key in ("on_disk_payload", "max_search_threads", "search_pool_core", "wal_enabled")
        if key in config
    }
    for key, target in (("payload", "payload_memory"), ("id_tracker", "id_tracker_memory")):
        if "memory" in config.get(key, {}):
            arguments[target] = member(edge.Memory, config[key]["memory"])
    if "hnsw_config" in config:
        arguments["hnsw_config"] = _hnsw(config["hnsw_config"], {})
    if "quantization_config" in config:
        arguments["quantization_config"] = _quantization(config["quantization_config"])
    optimizers = {k: v for k, v in config.get("optimizers_config", {}).items() if k in OPTIMIZERS}
    if optimizers:
        arguments["optimizers"] = edge.EdgeOptimizersConfig(**optimizers)
    shared = config.get("hnsw_config", {})
    return edge.EdgeConfig(
        vectors={key: _dense(value, shared) for key, value in config["vectors"].items()} or None,
        sparse_vectors={k: _sparse(v) for k, v in config.get("sparse_vectors", {}).items()} or None,
        **arguments,
    )


def reported(config: Json) -> Json:
    """The configuration that the engine keeps in a file, as a server would report it."""
    values = {key: value for key, value in config.items() if value is not None}
    optimizers = values.pop("optimizers", {})
    for key, target in (("payload_memory", "payload"), ("id_tracker_memory", "id_tracker")):
        if key in values:
            values[target] = {"memory": values.pop(key)}
    sparse = {}
    for name, flat in (values.pop("sparse_vectors", None) or {}).items():
        index = {key: value for key, value in flat.items() if key != "modifier"}
        modifier = {"modifier": flat["modifier"]} if "modifier" in flat else {}
        sparse[name] = ({"index": index} if index else {}) | modifier
    return values | {
        "vectors": values.get("vectors") or {},
        "sparse_vectors": sparse,
        "optimizers_config": optimizers,
    }


def edge_index(parameters: Json) -> Any:
    """The parameters of a payload index; a type alone is given as a user would give it."""
    kind = parameters["type"]
    if kind not in INDEXES:
        raise InvalidRequest(f"payload index of type {kind!r}: expected {', '.join(INDEXES)}")
    if len(parameters) == 1:
        return member(edge.PayloadSchemaType, kind)
    return INDEXES[kind](
        **{key: _parameter(key, value) for key, value in parameters.items() if key != "type"}
    )


def index_reported(info: Any) -> Json:
    """A payload index as a server would report it."""
    kind = text(info.data_type)
    if info.params is None:
        return {"type": kind}
    names = [name for name in dir(info.params) if not name.startswith("_")]
    params = {name: getattr(info.params, name) for name in names}
    plain = {name: _plain(name, value) for name, value in params.items() if value is not None}
    return {"type": kind} | plain


def edge_filter(filter: Json) -> Any:
    """A filter with `must`, `should` and `must_not`, the conditions that `filters` makes."""
    conditions: dict[str, Any] = {k: [_condition(c) for c in v] for k, v in filter.items()}
    return edge.Filter(**conditions)


def member(kind: Any, name: str) -> Any:
    """The value of one of the engine's enumerations that REST calls `name`."""
    plain = str(name).replace("_", "").lower()
    for attribute in dir(kind):
        if not attribute.startswith("_") and attribute.replace("_", "").lower() == plain:
            return getattr(kind, attribute)
    raise InvalidRequest(f"{name!r} is no {kind.__name__} of Qdrant Edge")


def text(value: Any) -> str:
    """The REST name of one of the engine's values; of those that are read back every name is one
    word."""
    return str(value).rpartition(".")[2].lower()


def _condition(condition: Json) -> Any:
    match condition:
        case {"has_id": ids}:
            return edge.HasIdCondition(set(ids))
        case {"is_empty": {"key": key}}:
            return edge.IsEmptyCondition(key)
        case {"key": key, "match": {"value": bool(value)}}:
            truth: Any = np.bool_(value)  # of Python's own True the binding makes the number 1
            return edge.FieldCondition(key, match=edge.MatchValue(truth))
        case {"key": key, "match": {"value": value}}:
            return edge.FieldCondition(key, match=edge.MatchValue(value))
        case {"key": key, "match": {"any": values}}:
            return edge.FieldCondition(key, match=edge.MatchAny(values))
        case {"key": key, "range": bounds}:
            times = any(isinstance(bound, str) for bound in bounds.values())
            kind = edge.RangeDateTime if times else edge.RangeFloat
            return edge.FieldCondition(key, range=kind(**bounds))
        case _:
            return edge_filter(condition)


def _dense(params: Json, shared: Json) -> Any:
    built: dict[str, Callable[[Any], Any]] = {
        "hnsw_config": lambda diff: _hnsw(diff, shared),
        "quantization_config": _quantization,
        "multivector_config": lambda c: edge.MultiVectorConfig(
            member(edge.MultiVectorComparator, c["comparator"])
        ),
    }
    return edge.EdgeVectorParams(
        **{k: built[k](v) if k in built else _enumerated(k, v) for k, v in params.items()}
    )


def _sparse(params: Json) -> Any:
    flat = params.get("index", {}) | {k: v for k, v in params.items() if k != "index"}
    if flat.get("modifier") == "none":
        del flat["modifier"]
    return edge.EdgeSparseVectorParams(**{k: _enumerated(k, v) for k, v in flat.items()})


def _hnsw(diff: Json, shared: Json) -> Any:
    parameters = {key: shared.get(key, value) for key, value in HNSW_DEFAULTS.items()}
    return edge.HnswIndexConfig(**parameters | {k: _enumerated(k, v) for k, v in diff.items()})


def _quantization(config: Json) -> Any:
    ((kind, params),) = config.items()
    if kind not in QUANTIZATIONS:
        raise InvalidRequest(f"quantization {kind!r}: expected {', '.join(QUANTIZATIONS)}")
    parameters = {key: _enumerated(key, value) for key, value in params.items()}
    if kind == "scalar":
        parameters["type"] = member(edge.ScalarType, params["type"])
    return QUANTIZATIONS[kind](**parameters)


def _enumerated(key: str, value: Any) -> Any:
    return member(ENUMS[key], value) if key in ENUMS else value


def _parameter(key: str, value: Any) -> Any:
    """A parameter of a payload index."""
    match key, value:
        case "stopwords", str():
            return member(edge.Language, value)
        case "stopwords", dict(words):
            languages = {member(edge.Language, word) for word in words.get("languages") or []}
            return edge.StopwordsSet(languages or None, set(words.get("custom") or []) or None)
        case "stemmer", {"type": "snowball", "language": language}:
            return edge.SnowballParams(member(edge.SnowballLanguage, language))
        case "stemmer", _:
            return edge.DisabledStemmer()
        case "scoring", {"type": kind}:
            return edge.TextScoringParams(member(edge.TextScoringType, kind))
        case _:
            return _enumerated(key, value)


def _plain(key: str, value: Any) -> Any:
    """The JSON of a parameter that the engine reports."""
    if isinstance(value, bool | int | float | str):
        return value
    match key:
        case "stopwords" if isinstance(value, edge.StopwordsSet):
            words: Mapping[str, Any] = {
                "languages": sorted(text(language) for language in value.languages or ()),
                "custom": sorted(value.custom or ()),
            }
            return {name: plain for name, plain in words.items() if plain}
        case "stemmer":
            if isinstance(value, edge.DisabledStemmer):
                return {"type": "none"}
            return {"type": "snowball", "language": text(value.language)}
        case "scoring":
            return {"type": text(value.type)}
        case _:
            return text(value)
