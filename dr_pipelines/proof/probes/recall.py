"""Does the index answer as exact search does? Recall, overlap of rankings, and scores."""

from collections.abc import Iterator, Sequence

import numpy as np

from dr_pipelines.model.collection import Vector
from dr_pipelines.model.query import Hit
from dr_pipelines.model.verdict import Check, Finding
from dr_pipelines.planning.recall import SIZES, Loss, Null, loss_of
from dr_pipelines.proof.probes.coverage import cut, keeps_rounded
from dr_pipelines.proof.probes.nearest import Ranking
from dr_pipelines.proof.probes.ranked import HITS, Answers
from dr_pipelines.proof.probes.subject import Target

SAME_SCORE = 1e-4
"""Relative to scores above 1: engines compute in single precision."""
PERSISTENCE = 0.9
"""Of rank-biased overlap: 86 % of its weight is on the first ten (Webber, Moffat, Zobel, 2010)."""
LEAST_OVERLAP = 0.5


def check_recall(answers: Sequence[Answers], null: Null, *, records: int) -> Check:
    """Recall of the ten nearest, by more and more queries until an interval of the loss decides;
    what is undecided in the end is a finding. Nothing is refused by the recall of an approximate
    index that nobody measured: a sound one of rounded vectors, or with few probes, is as low."""
    findings, figures, asked_by = list[Finding](), dict[str, float](), 0
    for each in answers:
        loss = _decided(each, null)
        if loss is None:
            continue
        asked_by += len(each.hits)
        figures[f"{each.vector.name}.recall"] = null.recall - loss.mean
        figures |= {f"{each.vector.name}.low": null.recall - loss.high}
        figures |= {f"{each.vector.name}.queries": float(len(each.hits))}
        findings += _findings(each, loss, null)
    return Check(
        name="recall",
        looked_at=asked_by,
        total=records,
        findings=tuple(findings),
        skipped=None if asked_by or not records else "no record has a vector to ask by",
        least=min(1, records),
        limits=(f"against {null.source}", *_limits(answers)),
        figures=figures,
    )


def _limits(answers: Sequence[Answers]) -> Iterator[str]:
    for each in answers:
        yield from cut(each.vector.name, each.most, SIZES[-1])


def _decided(answers: Answers, null: Null) -> Loss | None:
    loss = None
    for size in SIZES:
        if not answers.grow(size):
            break
        loss = loss_of(answers.recalls(tolerance=SAME_SCORE), null)
        if loss.decision(null) != "undecided":
            break
    return loss


def _findings(answers: Answers, loss: Loss, null: Null) -> Iterator[Finding]:
    decision = loss.decision(null)
    if decision == "sound":
        return
    judged = null.measured > 0 or answers.vector.index is None
    words = "is lower than" if decision == "damaged" else "cannot be told from less than"
    yield Finding(
        check="recall",
        place=answers.vector.name if decision == "damaged" else f"{answers.vector.name}/undecided",
        gate="refuses" if judged else "warns",
        message=f"the recall of ten is {null.recall - loss.mean:.3f} (at least "
        f"{null.recall - loss.high:.3f}) by {len(answers.hits):,} queries, and {words} "
        f"{null.recall - null.tolerance:.3f} ({null.source}). Build the index anew",
    )


def check_overlap(answers: Sequence[Answers], *, records: int) -> Check:
    """Rankings of the collection beside the exact ones of the point: the same records (Jaccard),
    in the same order (rank-biased overlap), with the same scores."""
    figures, findings, looked_at = dict[str, float](), list[Finding](), 0
    for each in answers:
        if not each.hits:
            each.grow(SIZES[0])
        pairs = list(zip(each.exact, each.hits, strict=True))
        if not pairs:
            continue
        looked_at += len(pairs)
        name = each.vector.name
        overlap = float(np.mean([jaccard(exact, hits) for exact, hits in pairs]))
        order = float(np.mean([rank_biased_overlap(exact, hits) for exact, hits in pairs]))
        drift = max(score_drift(exact, hits) for exact, hits in pairs)
        figures |= {f"{name}.jaccard": overlap, f"{name}.rbo": order, f"{name}.drift": drift}
        findings += _differences(each.vector, each.target, overlap=overlap, drift=drift)
    return Check(
        name="overlap",
        looked_at=looked_at,
        findings=tuple(findings),
        least=min(1, records),
        skipped=None if looked_at or not records else "no record has a vector to ask by",
        figures=figures,
    )


def _differences(
    vector: Vector, target: Target, *, overlap: float, drift: float
) -> Iterator[Finding]:
    if overlap < LEAST_OVERLAP:
        yield Finding(
            check="overlap",
            place=f"{vector.name}/jaccard",
            gate="refuses" if vector.index is None else "warns",
            message=f"only {overlap:.2f} of the ten best are those of the point (Jaccard, mean)",
        )
    allowed = SAME_SCORE + 4 * target.store.vector_tolerance
    if drift > allowed:
        rounded = keeps_rounded(vector) or "quantization" in str(target.spec.engine)
        yield Finding(
            check="overlap",
            place=f"{vector.name}/drift",
            gate="warns" if rounded else "refuses",
            message=f"scores differ from the exact ones by up to {drift:.2g}, relatively: the "
            "metric, or the vectors that it is computed of, are others",
        )


def jaccard(exact: Ranking, hits: Sequence[Hit]) -> float:
    """The share of records of both that are in both; ties count as the same."""
    ours, theirs = {hit.id for hit in hits}, set(exact.ids[:HITS])
    both = min(len(exact.right(hits, HITS, tolerance=SAME_SCORE)), len(theirs))
    either = len(ours) + len(theirs) - both
    return both / either if either else 1.0


def rank_biased_overlap(exact: Ranking, hits: Sequence[Hit]) -> float:
    """RBO, extrapolated from the first ten of both (Webber, Moffat, Zobel: A similarity measure for
    indefinite rankings, 2010, equation 30)."""
    ours, theirs = [hit.id for hit in hits], exact.ids[:HITS]
    depth = min(len(ours), len(theirs))
    if not depth:
        return 1.0 if len(ours) == len(theirs) else 0.0
    overlaps = [len({*ours[:d]} & {*theirs[:d]}) / d for d in range(1, depth + 1)]
    weighted = sum(o * PERSISTENCE**d for d, o in enumerate(overlaps, start=1))
    return overlaps[-1] * PERSISTENCE**depth + (1 - PERSISTENCE) / PERSISTENCE * weighted


def score_drift(exact: Ranking, hits: Sequence[Hit]) -> float:
    """The largest difference between scores of one record, relative to scores above 1."""
    right = dict(zip(exact.ids, exact.scores.tolist(), strict=True))
    pairs = ((hit.score, right[hit.id]) for hit in hits if hit.id in right)
    return max((abs(a - b) / max(1.0, abs(b)) for a, b in pairs), default=0.0)
