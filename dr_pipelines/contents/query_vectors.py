"""The vectors of queries: by which model, computed how, and what proves that it is the model that
made the collection's vectors."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dr_pipelines.embedders.light import LightQueries
from dr_pipelines.errors import Damaged, ProvenanceChanged, Refused, Unavailable
from dr_pipelines.ingestion.reproduced import distance
from dr_pipelines.model.query import FloatArray
from dr_pipelines.model.recovery_point import Manifest
from dr_pipelines.protocols import Embedder
from dr_pipelines.repository.canary_objects import named_canaries, read_canaries
from dr_pipelines.repository.repository import Repository


@dataclass(frozen=True)
class QueryVectors:
    """Vectors of some texts, a row each, in their order. `runtime` is `numpy` or the model's `own`,
    `reason` why it is not the first. `proven` says by what it is the collection's model:
    `canaries`, its `fingerprint`, or `dimension`, which proves nothing."""

    vectors: FloatArray
    model: str
    runtime: str
    reason: str = ""
    proven: str = "dimension"


def query_vectors(
    texts: Sequence[str],
    embedder: Embedder,
    *,
    light: LightQueries | str,
    manifest: Manifest | None,
    repository: Repository | None,
) -> QueryVectors:
    """Embed queries: with NumPy if `light` can and the collection's canaries agree, else with the
    model's library.

    Raises `ProvenanceChanged` for another model than made the collection's vectors, `TextTooLong`
    for a text of which the model would read only the beginning.
    """
    proven = _require_same(embedder, manifest)
    name, reason = embedder.provenance.name, light if isinstance(light, str) else ""
    if isinstance(light, LightQueries):
        checked = _reproduces(light, embedder, manifest, repository)
        if checked is None or checked:
            made = light.embed_queries(texts)
            return QueryVectors(made, name, "numpy", proven="canaries" if checked else proven)
        reason = "its canaries come out otherwise than the model's own"
    return QueryVectors(embedder.embed_queries(texts), name, "own", reason, proven)


def _require_same(embedder: Embedder, manifest: Manifest | None) -> str:
    """The ground for believing that this model made the vectors: its fingerprint, or the dimension
    alone.
    """
    if manifest is None or manifest.provenance is None:
        return "dimension"
    recorded = manifest.provenance
    if recorded.embedder == embedder.provenance:
        return "fingerprint"
    changed = "; ".join(
        recorded.differences(recorded.model_copy(update={"embedder": embedder.provenance}))
    )
    raise ProvenanceChanged(
        f"{manifest.collection}: queries would be embedded by another model than the "
        f"collection's vectors were ({changed}), so nothing could be compared. Use that model, or "
        "--mode keyword"
    )


def _reproduces(
    light: LightQueries,
    embedder: Embedder,
    manifest: Manifest | None,
    repository: Repository | None,
) -> bool | None:
    """True if the light embedder returns the canary queries' vectors; None if none can be read."""
    ref = named_canaries(manifest, embedder.provenance)
    if ref is None or repository is None:
        return None
    try:
        canaries = read_canaries(repository, ref)
    except (Damaged, Refused, Unavailable):
        return None  # the search answers all the same; `verify` says what is wrong
    theirs = np.frombuffer(canaries.data()[1], "<f4").reshape(len(canaries.queries), -1)
    return canaries.tolerance.covers(*distance(light.embed_queries(canaries.queries), theirs))
