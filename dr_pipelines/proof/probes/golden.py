"""Do golden queries hold? The set that somebody wrote, as a check."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Literal

from dr_pipelines.contents.answers import StoreAnswers
from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.golden import GoldenQuery, GoldenSet
from dr_pipelines.model.query import FloatArray
from dr_pipelines.model.verdict import Check, Finding
from dr_pipelines.proof.golden import GoldenReport, ask, fit_queries, texts_to_embed
from dr_pipelines.proof.probes.naming import few
from dr_pipelines.proof.probes.subject import Target


def check_golden_set(
    golden: GoldenSet | None,
    target: Target,
    *,
    vectors: Mapping[str, FloatArray],
    without_model: str = "",
) -> Check:
    """Ask every golden query whose text has a vector. A query that must hold refuses where it does
    not, and where it could not be asked; another one warns. `without_model` is the reason why texts
    have no vectors."""
    if golden is None:
        return Check(name="golden", skipped="there is no golden set")
    without = {text for text in texts_to_embed(golden) if text not in vectors}
    usable = tuple(q for q in golden.queries if q.mode == "keyword" or q.text not in without)
    left = tuple(query for query in golden.queries if query not in usable)
    reason = without_model or "there is no model to embed the queries with"
    unasked = tuple(_unasked(left, reason))
    if not usable and not unasked:
        return Check(name="golden", skipped=reason)
    if not usable:
        return Check(name="golden", least=0, total=len(golden.queries), findings=unasked)
    answers = StoreAnswers(target.store, target.name, target.spec)
    fitting, unfit = fit_queries(GoldenSet(v=1, queries=usable), answers, vectors=vectors)
    report = ask(fitting, answers)
    return Check(
        name="golden",
        looked_at=len(usable),
        total=len(golden.queries),
        findings=(*unasked, *_unfit(usable, unfit), *_findings(report)),
        limits=(f"{len(left):,} queries were not asked: {reason}",) if left else (),
        figures=dict(_figures(report)),
    )


def _unasked(queries: Sequence[GoldenQuery], reason: str) -> Iterator[Finding]:
    """Queries that must hold and that nobody asked: nothing shows that they do."""
    for query in queries:
        if query.must_hold:
            message = f"it must hold, and was not asked: {reason}"
            yield Finding(check="golden", place=query.id, message=message[:2_000])


def _unfit(
    queries: Sequence[GoldenQuery], unfit: Mapping[str, InvalidRequest]
) -> Iterator[Finding]:
    """Queries that do not fit: of a field or a record that the collection does not have."""
    for query in queries:
        if query.id in unfit:
            gate: Literal["refuses", "warns"] = "refuses" if query.must_hold else "warns"
            message = str(unfit[query.id])[:2_000]
            yield Finding(check="golden", place=query.id, gate=gate, message=message)


def _findings(report: GoldenReport) -> Iterator[Finding]:
    for answer in report.failed:
        yield Finding(
            check="golden",
            place=answer.query.id,
            gate="refuses" if answer.query.must_hold else "warns",
            message="; ".join(answer.failures)[:2_000],
        )
    for place, names, words in (
        ("changed", report.changed, "have another text since they were judged"),
        ("gone", report.gone, "are not in the collection"),
    ):
        if names:
            message = f"{len(names):,} judged documents {words}: {few(names)}"
            yield Finding(check="golden", place=place, gate="warns", message=message)


def _figures(report: GoldenReport) -> Iterator[tuple[str, float]]:
    for name in ("recall", "ndcg", "judged"):
        values = [v for a in report.answered if (v := getattr(a, name)) is not None]
        if values:
            yield name, fmean(values)
