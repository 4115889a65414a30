"""Checks of a caller's requests, which every adapter makes before it reads."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.collection import (
    NAME,
    CollectionSpec,
    Vector,
    VectorKind,
)
from dr_pipelines.model.filter_check import checked_filter
from dr_pipelines.model.query import (
    Filter,
    FloatArray,
    Mode,
    Query,
)
from dr_pipelines.model.record import store_schema
from dr_pipelines.stores.shared.keywords import query_terms

FUSED = 100
"""Hybrid search fuses at least this many of the best of each ranking."""


@dataclass(frozen=True, slots=True)
class VectorRequest:
    """Rank by one vector column."""

    column: Vector
    vector: FloatArray


@dataclass(frozen=True, slots=True)
class Request:
    """A checked query: at least one of `nearest` and `terms` is set, and with `terms` the `text`
    that they are of. `depth` is how many of each ranking count for `limit` hits."""

    nearest: VectorRequest | None
    terms: tuple[str, ...] | None
    filter: Filter | None
    depth: int
    limit: int
    text: str | None
    exact: bool


def checked_query(query: Query, spec: CollectionSpec, *, limit: int, indexed: bool) -> Request:
    """The request to compute for a query.

    Raises:
        InvalidRequest: a part that the mode needs is missing or of another shape, the filter does
            not fit, `limit` is below 1, or keywords are asked of a collection without an index.
    """
    if limit < 1:
        raise InvalidRequest(f"limit is {limit}; ask for at least one hit")
    condition = None if query.filter is None else checked_filter(query.filter, spec)
    nearest = None if query.mode is Mode.KEYWORD else _vector_request(query, spec)
    terms = None if query.mode is Mode.VECTOR else _terms(query, spec, indexed=indexed)
    depth = max(limit, FUSED) if query.mode is Mode.HYBRID else limit
    return Request(
        nearest=nearest,
        terms=terms,
        filter=condition,
        depth=depth,
        limit=limit,
        text=query.text,
        exact=query.exact,
    )


def checked_columns(columns: Sequence[str] | None, spec: CollectionSpec) -> list[str]:
    """The columns to return, in order.

    Raises:
        InvalidRequest: none, one that is unknown, or one named twice.
    """
    existing = store_schema(spec).names
    if columns is None:
        return list(existing)
    selected = list(columns)
    unknown = [c for c in selected if c not in existing]
    if unknown or not selected or len(set(selected)) < len(selected):
        raise InvalidRequest(
            f"columns {selected} of {spec.name!r}: name each once, at least one, of "
            f"{', '.join(existing)}"
        )
    return selected


def checked_alias(alias: str) -> str:
    """The alias, if it can be one."""
    if not NAME.fullmatch(alias):
        raise InvalidRequest(f"alias {alias!r}: expected {NAME.pattern}")
    return alias


def checked_batch_rows(batch_rows: int) -> int:
    """The rows of a batch, if there can be any."""
    if batch_rows < 1:
        raise InvalidRequest(f"batch_rows is {batch_rows}; a batch holds at least one row")
    return batch_rows


def _vector_request(query: Query, spec: CollectionSpec) -> VectorRequest:
    names = ", ".join(v.name for v in spec.vectors)
    name = query.vector_name or spec.vectors[0].name
    column = next((v for v in spec.vectors if v.name == name), None)
    if column is None:
        raise InvalidRequest(f"collection {spec.name!r} has no vector {name!r}; it has: {names}")
    if column.kind is not VectorKind.DENSE:
        raise InvalidRequest(
            f"{name!r} of {spec.name!r} is {column.kind.value}: only its own engine searches it"
        )
    if query.vector is None:
        raise InvalidRequest(f"a {query.mode.value} query needs a vector")
    vector = np.asarray(query.vector, dtype=np.float32)
    if vector.shape != (column.dimension,) or not np.isfinite(vector).all():
        raise InvalidRequest(
            f"query vector of shape {vector.shape}: {name!r} of {spec.name!r} takes "
            f"{column.dimension} finite components"
        )
    return VectorRequest(column=column, vector=vector)


def _terms(query: Query, spec: CollectionSpec, *, indexed: bool) -> tuple[str, ...]:
    if query.text is None:
        raise InvalidRequest(f"a {query.mode.value} query needs a text")
    if not spec.keyword_index:
        raise InvalidRequest(f"collection {spec.name!r} was created without a keyword index")
    if not indexed:
        raise InvalidRequest(f"collection {spec.name!r} has no keyword index yet: build_index it")
    return query_terms(query.text)
