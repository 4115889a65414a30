"""How fast does the collection answer, beside the one that is served? In turns, as a ratio."""

import time
from collections.abc import Callable
from statistics import median, quantiles

from dr_pipelines.model.query import FloatArray, Query
from dr_pipelines.model.verdict import Check, Finding
from dr_pipelines.proof.probes.sample import Sample
from dr_pipelines.proof.probes.subject import Target

QUERIES, WARMING = 50, 5
"""Of each collection, after some that are not counted: what is read first is read from disk."""
SLOWER = 2.0
"""Ratio of medians from which it is worth a warning where no policy says more."""
HITS = 10
Timer = Callable[[], float]


def check_latency(
    sample: Sample,
    target: Target,
    live: Target | None,
    *,
    most: float | None = None,
    timer: Timer = time.perf_counter,
) -> Check:
    """Ask both collections the same queries in turns: what else the machine does slows both. More
    than `most` times the median of the served one refuses; without such a bound it warns."""
    vector = next(iter(target.searched), None)
    if live is None:
        return Check(name="latency", skipped="no served collection to compare with")
    if vector is None or not len(sample.vectors(vector)[0]):
        return Check(name="latency", skipped="no sampled record has a vector to ask by")
    matrix = sample.vectors(vector)[0][: QUERIES + WARMING]
    ours, theirs = list[float](), list[float]()
    for number, query in enumerate(matrix):
        pairs = [(target, ours), (live, theirs)]
        for subject, seconds in pairs if number % 2 else reversed(pairs):
            seconds.append(_seconds(subject, query, vector.name, timer))
    skip = min(WARMING, len(ours) - 1)
    here, there = median(ours[skip:]), median(theirs[skip:])
    ratio = here / there if there else 1.0
    bound = SLOWER if most is None else most
    findings = []
    if ratio > bound:
        message = f"a query takes {ratio:.1f} times as long as of {live.name}, over {bound:g}"
        gate = "warns" if most is None else "refuses"
        findings.append(
            Finding.model_validate(
                {"check": "latency", "place": "median", "gate": gate, "message": message}
            )
        )
    return Check(
        name="latency",
        looked_at=len(ours) - skip,
        findings=tuple(findings),
        figures={
            "ratio": ratio,
            "median_ms": 1e3 * here,
            "live_median_ms": 1e3 * there,
            "p95_ms": 1e3 * _p95(ours[skip:]),
            "live_p95_ms": 1e3 * _p95(theirs[skip:]),
        },
    )


def _seconds(subject: Target, query: FloatArray, name: str, timer: Timer) -> float:
    began = timer()
    by_vector = Query(vector=query, vector_name=name, exact=False)
    subject.store.search(subject.name, by_vector, limit=HITS)
    return timer() - began


def _p95(seconds: list[float]) -> float:
    return quantiles(seconds, n=20)[-1] if len(seconds) > 1 else seconds[0]
