"""The forecast for a collection of any engine in a Milvus."""

from collections.abc import Iterator
from typing import Any

from dr_pipelines.model.collection import (
    CollectionSpec,
    Metric,
    Vector,
    VectorIndex,
    VectorKind,
)
from dr_pipelines.model.compatibility import CompatibilityReport, Note, Outcome
from dr_pipelines.stores.milvus import index as indexes
from dr_pipelines.stores.milvus.creating import unknown_to_lite
from dr_pipelines.stores.milvus.schema import ENGINE, SERVER_ONLY
from dr_pipelines.stores.shared.fitting import Native, fit_to
from dr_pipelines.stores.shared.layout import Layout, layout_of

KINDS = frozenset([VectorKind.DENSE, VectorKind.SPARSE])
FORGOTTEN = {
    "comments": (Outcome.LOST, "milvus-lite keeps no comments: they stay in the label"),
    "consistency": (Outcome.APPROXIMATED, "milvus-lite always answers from its newest state"),
    "grants": (Outcome.LOST, "milvus-lite has no users: whoever reaches it reads and writes"),
    "privilege_groups": (Outcome.LOST, "milvus-lite has no users, and so no groups of privileges"),
    "resource_groups": (
        Outcome.APPROXIMATED,
        "milvus-lite has one node: there is nothing to share",
    ),
    "roles": (Outcome.LOST, "milvus-lite has no users: whoever reaches it reads and writes"),
}
LIFETIME = "collection.ttl.seconds"
METRICS = frozenset([Metric.COSINE, Metric.DOT, Metric.L2])


def fitted(spec: CollectionSpec, *, is_lite: bool) -> CompatibilityReport:
    """The specification to create and what is not plainly the same. A collection of Milvus' own
    comes back as it was; where milvus-lite lacks a type, its records go into our own layout."""
    native = Native(
        engine=ENGINE,
        metrics=METRICS,
        kinds=KINDS,
        indexes=indexes.SEARCHED_BY_LITE if is_lite else indexes.SEARCHED_BY_SERVER,
        default_index="hnsw",
        shards=not is_lite,
        replicas=not is_lite,
    )
    notes = [*_lifetime(spec), *(_notes(spec) if is_lite else [])]
    if layout_of(spec.engine.get(ENGINE, {})) is Layout.FOREIGN:
        unknown = unknown_to_lite(spec) if is_lite else []
        if not unknown:
            others = (n for n in fit_to(spec, native).notes if not n.part.startswith("vectors."))
            return CompatibilityReport(spec, (*others, *notes))
        message = f"milvus-lite lacks the types of {', '.join(unknown)}: records keep their values"
        notes.append(Note(f"engine.{ENGINE}.columns", Outcome.APPROXIMATED, message))
        sections = {name: value for name, value in spec.engine.items() if name != ENGINE}
        spec = spec.model_copy(update={"engine": sections})
    report = fit_to(spec, native)
    vectors = tuple(_of_its_kind(vector) for vector in report.spec.vectors)
    return CompatibilityReport(
        report.spec.model_copy(update={"vectors": vectors}), (*report.notes, *notes)
    )


def _lifetime(spec: CollectionSpec) -> Iterator[Note]:
    """Milvus counts a record's lifetime from when it was written there."""
    if LIFETIME in spec.engine.get(ENGINE, {}).get("properties", {}):
        message = "the lifetime of records starts anew when they are written here"
        yield Note(f"engine.{ENGINE}.properties.{LIFETIME}", Outcome.APPROXIMATED, message)


def _notes(spec: CollectionSpec) -> Iterator[Note]:
    """Notes on the parts of a section that milvus-lite forgets."""
    for key in SERVER_ONLY:
        if spec.engine.get(ENGINE, {}).get(key):
            outcome, message = FORGOTTEN[key]
            yield Note(f"engine.{ENGINE}.{key}", outcome, message)


def _of_its_kind(vector: Vector) -> Vector:
    """Sparse vectors have indexes of their own."""
    index = vector.index
    changes: dict[str, Any] = {}
    if index is not None and vector.kind is VectorKind.SPARSE:
        if not index.kind.startswith("sparse"):
            changes["index"] = VectorIndex(kind=indexes.SPARSE.lower())
        if vector.metric is not Metric.DOT:
            changes["index"] = None
    return vector.model_copy(update=changes)
