"""Abilities of Lance to search and index, and the forecast for another specification in it."""

from dr_pipelines.model.collection import (
    CollectionSpec,
    Metric,
    Vector,
    VectorIndex,
    VectorKind,
    VectorType,
)
from dr_pipelines.model.compatibility import CompatibilityReport, Note, Outcome
from dr_pipelines.stores.lancedb.index import VECTOR_INDEXES
from dr_pipelines.stores.lancedb.vectors import KEPT, searched_natively, stored_type
from dr_pipelines.stores.shared.fitting import Native, fit_to

LANCE = Native(
    engine="lancedb",
    metrics=frozenset([Metric.COSINE, Metric.DOT, Metric.L2, Metric.HAMMING]),
    dtypes=KEPT,
    kinds=frozenset([VectorKind.DENSE, VectorKind.MULTI]),
    indexes=VECTOR_INDEXES,
    default_index="ivf_hnsw_flat",
)
"""A graph over whole vectors stands for the `hnsw` of other engines: it loses nothing to
quantization."""
BITS = "ivf_flat"
"""The one kind of index that Lance has for vectors of bits."""


def fitted(spec: CollectionSpec) -> CompatibilityReport:
    """The forecast of `fit_to` for these abilities, with vectors whose metric Lance lacks for
    their type."""
    fit = fit_to(spec, LANCE)
    notes, vectors = list(fit.notes), list[Vector]()
    for vector in fit.spec.vectors:
        index, note = _index(vector)
        vectors.append(vector.model_copy(update={"index": index}))
        notes += [note] if note else []
    return CompatibilityReport(
        fit.spec.model_copy(update={"vectors": tuple(vectors)}), tuple(notes)
    )


def _index(vector: Vector) -> tuple[VectorIndex | None, Note | None]:
    index, part = vector.index, f"vectors.{vector.name}.index"
    if index is None:
        return None, None
    if not searched_natively(vector, stored_type(vector)):
        message = (
            f"no index by {vector.metric} for {vector.dtype}: searches by it read every record"
        )
        return None, Note(part, Outcome.APPROXIMATED, message)
    if vector.dtype is VectorType.BIT and index.kind != BITS:
        message = f"{index.kind} becomes {BITS}: recall and latency differ"
        parameters = {k: v for k, v in index.parameters.items() if k in VECTOR_INDEXES[BITS]}
        return VectorIndex(kind=BITS, parameters=parameters), Note(
            part, Outcome.APPROXIMATED, message
        )
    return index, None
