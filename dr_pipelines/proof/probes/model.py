"""Is the model the one that made the vectors? Canaries and sampled texts are embedded again."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dr_pipelines.errors import TextTooLong
from dr_pipelines.ingestion.reproduced import distance
from dr_pipelines.model.canaries import Canaries, Tolerance
from dr_pipelines.model.query import FloatArray
from dr_pipelines.model.verdict import Check, Finding
from dr_pipelines.proof.probes.naming import few
from dr_pipelines.proof.probes.sample import Sample
from dr_pipelines.proof.probes.subject import Target
from dr_pipelines.protocols import Embedder

TEXTS = 128
"""Sampled texts that are embedded again: half a batch by another model is missed never, damage to
5 % of the records with a probability of 0.1 %."""
ALONE = 0.1
"""Share of them that come out as they are stored, from which on texts are taken to have been
embedded alone; otherwise something was read before them, such as a title."""


@dataclass(frozen=True)
class Model:
    """A model that is here, and the canaries that it made first, where there are some."""

    embedder: Embedder
    canaries: Canaries | None = None


def check_canaries(model: Model | None, sample: Sample, target: Target) -> Check:
    """Embed canary texts as texts, canary queries as queries, and sampled texts as texts."""
    if model is None:
        return Check(name="canaries", skipped="no model is here to embed anything with")
    canaries = model.canaries
    findings = [] if canaries is None else list(_of_canaries(model.embedder, canaries))
    recorded = 0 if canaries is None else len(canaries.texts) + len(canaries.queries)
    compared, words, differing = _of_sample(model, sample, target)
    if differing:
        message = (
            f"{len(differing):,} of {compared:,} sampled texts have other vectors than the model "
            f"makes of them: {few(differing)}"
        )
        findings.append(Finding(check="canaries", place="stored", message=message))
    none = () if canaries is not None else ("no canaries were recorded for this model",)
    return Check(
        name="canaries",
        looked_at=recorded + compared,
        findings=tuple(findings),
        skipped=None if recorded + compared else "nothing was recorded to compare with",
        limits=(*none, *words),
        figures={"canaries": float(recorded), "texts": float(compared)},
    )


def _of_canaries(embedder: Embedder, canaries: Canaries) -> Iterator[Finding]:
    """Texts and queries each by their own prompt."""
    texts, queries = canaries.data()
    for place, made, data in (
        ("texts", embedder.embed(canaries.texts), texts),
        ("queries", embedder.embed_queries(canaries.queries), queries),
    ):
        recorded = np.frombuffer(data, "<f4").reshape(len(made), -1)
        if recorded.shape != made.shape:
            apart = f"the model makes {made.shape[1]} components, not {recorded.shape[1]}"
        elif canaries.tolerance.covers(*(measured := distance(made, recorded))):
            continue
        else:
            apart = f"components differ by up to {measured[0]:.2g}"
        message = f"canary {place} are embedded otherwise than when they were recorded: {apart}"
        yield Finding(check="canaries", place=place, message=message)


def _of_sample(
    model: Model, sample: Sample, target: Target
) -> tuple[int, tuple[str, ...], list[str]]:
    """How many sampled texts were embedded again, what was not compared, and those that differ."""
    vector = next((v for v in target.searched), None)
    if vector is None or vector.dimension != model.embedder.provenance.dimension:
        return 0, ("the model makes vectors of another dimension than the stored ones",), []
    matrix, places = sample.vectors(vector)
    texts = sample.rows["text"].to_pylist()
    usable = [n for n, place in enumerate(places.tolist()) if texts[place]][:TEXTS]
    if not usable:
        return 0, ("no sampled record has a text and a vector",), []
    chosen = [int(places[n]) for n in usable]
    try:
        made = model.embedder.embed([texts[place] for place in chosen])
    except TextTooLong:
        return 0, ("a sampled text is longer than the model reads",), []
    tolerance = model.canaries.tolerance if model.canaries else Tolerance()
    same = agreeing(made, matrix[usable], tolerance)
    if same.mean() < ALONE:
        return 0, ("texts were embedded with something before them, which is not stored",), []
    differing = [sample.ids[place] for place, equal in zip(chosen, same, strict=True) if not equal]
    return len(chosen), (), differing


def agreeing(made: FloatArray, stored: FloatArray, tolerance: Tolerance) -> npt.NDArray[np.bool_]:
    """Row by row, whether two vectors of a text are within a tolerance."""
    ours, theirs = made.astype(np.float64), stored.astype(np.float64)
    component = np.abs(ours - theirs).max(axis=1)
    norms = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    products = np.einsum("ij,ij->i", ours, theirs)
    cosine = 1.0 - np.divide(products, norms, out=np.zeros_like(norms), where=norms > 0)
    return np.asarray((component <= tolerance.component) & (cosine <= tolerance.cosine))
