"""Vector indexes of the engine as `VectorIndex`, and back."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.collection import (
    Metric,
    Vector,
    VectorIndex,
    VectorKind,
)
from dr_pipelines.stores.pgvector.catalog import Attribute, Index
from dr_pipelines.stores.pgvector.columns import MAX_SPARSE, vector_type

KINDS = {"hnsw": "hnsw", "ivf_flat": "ivfflat"}
"""Kind of an index → the engine's access method."""
DEFAULTS: Mapping[str, Mapping[str, int]] = {
    "hnsw": {"m": 16, "ef_construction": 64},
    "ivf_flat": {"lists": 100},
}
SEARCH = {"hnsw": {"ef_search": "hnsw.ef_search"}, "ivf_flat": {"probes": "ivfflat.probes"}}
"""Parameters of a search: no index has them, a session does."""
CLASSES = {
    Metric.L2: "l2_ops",
    Metric.DOT: "ip_ops",
    Metric.COSINE: "cosine_ops",
    Metric.L1: "l1_ops",
    Metric.HAMMING: "hamming_ops",
    Metric.JACCARD: "jaccard_ops",
}
METRICS = {name: metric for metric, name in CLASSES.items()}
OPERATORS = {
    Metric.L2: "<->",
    Metric.DOT: "<#>",
    Metric.COSINE: "<=>",
    Metric.L1: "<+>",
    Metric.HAMMING: "<~>",
    Metric.JACCARD: "<%>",
}
DENSE_METRICS = frozenset([Metric.L2, Metric.DOT, Metric.COSINE, Metric.L1])
BIT_METRICS = frozenset([Metric.HAMMING, Metric.JACCARD])
IVF_METRICS = frozenset([Metric.L2, Metric.DOT, Metric.COSINE, Metric.HAMMING])
LIMITS = {"vector": 2_000, "halfvec": 4_000, "bit": 64_000, "sparsevec": MAX_SPARSE}
"""Largest dimension that an index takes."""
CAST = re.compile(r"\((?P<column>.+)\)::(?P<type>vector|halfvec)\((?P<size>\d+)\)")


@dataclass(frozen=True, slots=True)
class Found:
    """An index of a vector column. `cast` is the type that its components are indexed as, where
    that is another one or the column declares no dimension."""

    name: str
    kind: str
    metric: Metric
    parameters: Mapping[str, int]
    cast: str | None


def searched(vector: Vector) -> bool:
    """True if the engine compares such vectors by their metric in our queries."""
    return vector.kind is VectorKind.DENSE and _comparable(vector)


def indexed_as(vector: Vector, kind: str) -> str | None:
    """The type that an index of this kind is built on: the vector's own, half precision where that
    is too long for an index, or None where there is none."""
    if kind not in KINDS or not _comparable(vector):
        return None
    own = own_type(vector)
    if kind == "ivf_flat" and (vector.metric not in IVF_METRICS or own == "sparsevec"):
        return None
    candidates = (own, "halfvec") if own == "vector" else (own,)
    return next((t for t in candidates if vector.dimension <= LIMITS[t]), None)


def _comparable(vector: Vector) -> bool:
    own = own_type(vector)
    return own in LIMITS and vector.metric in (BIT_METRICS if own == "bit" else DENSE_METRICS)


def own_type(vector: Vector) -> str:
    """The engine's type for a vector, without its dimension; empty where it has none."""
    return (vector_type(vector) or "").partition("(")[0]


def found_index(index: Index, attribute: Attribute) -> Found | None:
    """The index as one of a vector column; None where it is on something else, or on a part."""
    kind = next((k for k, method in KINDS.items() if method == index.method), None)
    if kind is None or index.partial or len(index.keys) != 1 or not index.valid:
        return None
    compared, _, operators = index.classes[0].partition("_")
    metric = METRICS.get(operators)
    cast: str | None = None
    if index.keys[0] == 0:
        match = CAST.fullmatch(index.expression)
        if match is None or match["column"] != attribute.quoted or match["type"] != compared:
            return None
        if attribute.modifier > 0 and int(match["size"]) != attribute.modifier:
            return None
        cast = compared
    elif index.keys[0] != attribute.number or compared != attribute.kind:
        return None
    if metric is None:
        return None
    options = {key: int(value) for key, value in index.options.items()}
    return Found(index.name, kind, metric, {**DEFAULTS[kind], **options}, cast)


def definition(vector: Vector, index: VectorIndex, column: str, *, cast: str | None) -> str:
    """An index's definition from the word USING on; `column` is the quoted name.

    Raises:
        InvalidRequest: a kind or parameter that the engine does not have.
    """
    kind = index.kind
    if cast not in (None, "vector", "halfvec"):
        raise InvalidRequest(f"vector {vector.name!r}: no index is built on {cast!r}")
    built = cast or indexed_as(vector, kind)
    if built is None:
        raise InvalidRequest(
            f"vector {vector.name!r}: no {kind} index of {vector.dimension} components of "
            f"{vector.dtype.value} by {vector.metric.value} here; ask for its fit first"
        )
    unknown = sorted(set(index.parameters) - set(DEFAULTS[kind]) - set(SEARCH[kind]))
    if unknown:
        raise InvalidRequest(f"vector {vector.name!r}: {kind} has no parameters {unknown} here")
    parameters = {
        key: int(index.parameters[key]) for key in DEFAULTS[kind] if key in index.parameters
    }
    cast_to = f"({column}::{built}({vector.dimension}))"
    key = cast_to if cast or built != own_type(vector) else column
    options = ", ".join(f"{name}={value}" for name, value in parameters.items())
    storage = f" WITH ({options})" if options else ""
    return f"USING {KINDS[kind]} ({key} {built}_{CLASSES[vector.metric]}){storage}"
