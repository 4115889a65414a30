"""Queries, typed filters, and the fusion of two rankings."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Scalar = str | int | float | bool | datetime
FloatArray: TypeAlias = "npt.NDArray[np.float32]"


@dataclass(frozen=True, slots=True)
class Equals:
    field: str
    value: Scalar


@dataclass(frozen=True, slots=True)
class In:
    field: str
    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """Bounds that are None do not bind; at least one is set."""

    field: str
    gte: Scalar | None = None
    gt: Scalar | None = None
    lte: Scalar | None = None
    lt: Scalar | None = None


@dataclass(frozen=True, slots=True)
class Contains:
    """The list field holds the value."""

    field: str
    value: str


@dataclass(frozen=True, slots=True)
class And:
    filters: tuple["Filter", ...]


@dataclass(frozen=True, slots=True)
class Or:
    filters: tuple["Filter", ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The plain complement: a record whose field is null matches `Not(Equals(...))`."""

    filter: "Filter"


Filter = Equals | In | Range | Contains | And | Or | Not
"""Two-valued: a comparison with a null field is false."""


class Mode(StrEnum):
    VECTOR = "vector"
    KEYWORD = "keyword"
    HYBRID = "hybrid"


@dataclass(frozen=True, slots=True)
class Query:
    """`vector` is needed by vector and hybrid, `text` by keyword and hybrid. `exact` answers are
    the same in every store; the others are those of the engine's own indexes."""

    mode: Mode = Mode.VECTOR
    text: str | None = None
    vector: "FloatArray | None" = None
    vector_name: str | None = None
    filter: Filter | None = None
    exact: bool = True


@dataclass(frozen=True, slots=True)
class Hit:
    """One answer; higher scores are better (an L2 distance is negated)."""

    id: str
    document_id: str
    score: float
    text: str | None = None


RRF_K = 60


def reciprocal_rank_fusion(
    rankings: Sequence[Sequence[str]], *, k: int = RRF_K
) -> list[tuple[str, float]]:
    """Fuse rankings of ids, best first: score = Σ 1 / (k + rank), ranks from 1, ties by id.

    Cormack, Clarke, Büttcher: Reciprocal Rank Fusion, SIGIR 2009 (k = 60).
    """
    scores: dict[str, float] = {}
    for ranking in rankings:
        for rank, id_ in enumerate(ranking, start=1):
            scores[id_] = scores.get(id_, 0.0) + 1.0 / (k + rank)
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))


def fused_hits(rankings: Sequence[Sequence[Hit]], *, limit: int) -> list[Hit]:
    """At most `limit` hits of the only ranking, or of several that are fused, best first."""
    if len(rankings) == 1:
        return list(rankings[0][:limit])
    by_id = {hit.id: hit for ranking in rankings for hit in ranking}
    fused = reciprocal_rank_fusion([[hit.id for hit in ranking] for ranking in rankings])
    return [replace(by_id[key], score=score) for key, score in fused[:limit]]
