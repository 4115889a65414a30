"""Keyword ranking: what a term is, and how well a record matches terms.

Every adapter cuts texts into terms and scores them here, so that two stores give the same answers.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

K1 = 1.2
B = 0.75
Scores = npt.NDArray[np.float64]

BETWEEN_TERMS = r"[^\p{L}\p{N}]+"


def postings(texts: pa.Array) -> pa.Table:
    """How often each term occurs in each text: `row` int64, `term` string, `frequency` int64.

    A term is a longest run of Unicode letters and digits, lower-cased. A null text has none.
    """
    words = pc.split_pattern_regex(pc.utf8_lower(texts), pattern=BETWEEN_TERMS)
    table = pa.table(
        {
            "row": pa.array(pc.list_parent_indices(words), pa.int64()),
            "term": pc.list_flatten(words),
        }
    )
    table = table.filter(pc.not_equal(table.column("term"), ""))
    counted = table.group_by(["row", "term"], use_threads=False).aggregate([([], "count_all")])
    return counted.select(["row", "term", "count_all"]).rename_columns(["row", "term", "frequency"])


def query_terms(text: str) -> tuple[str, ...]:
    """The distinct terms of a query, ascending."""
    return tuple(sorted(postings(pa.array([text], pa.string())).column("term").to_pylist()))


def bm25(
    matches: pa.Table, *, documents: int, average_length: float
) -> tuple[npt.NDArray[np.int64], Scores]:
    """Score postings of the query's terms: distinct `row`s and their scores, rows ascending.

    `matches` has `row`, `term`, `frequency` and `length` (terms in that text, repeats included),
    one line for each matching (row, term); `documents` counts texts with at least one term. Okapi
    BM25 with k1 = 1.2 and b = 0.75 (Robertson and Zaragoza, The Probabilistic Relevance Framework:
    BM25 and Beyond, 2009), with the inverse document frequency ln(1 + (N - n + 0.5) / (n + 0.5))
    that cannot be negative. A row's terms are added in ascending order: equal inputs, equal bits.
    """
    matches = matches.sort_by([("term", "ascending"), ("row", "ascending")])
    rows, where = np.unique(_numbers(matches, "row"), return_inverse=True)
    term_of = matches.column("term").combine_chunks().dictionary_encode().indices.to_numpy()
    matching = np.bincount(term_of)[term_of]
    weight = np.log(1.0 + (documents - matching + 0.5) / (matching + 0.5))
    frequency, length = _numbers(matches, "frequency"), _numbers(matches, "length")
    norm = K1 * (1.0 - B + B * length / average_length)
    scores = weight * frequency * (K1 + 1.0) / (frequency + norm)
    totals: Scores = np.bincount(where, weights=scores, minlength=len(rows)).astype(np.float64)
    return rows, totals


def ranked(ids: Sequence[str], scores: Scores, *, limit: int) -> list[tuple[str, float]]:
    """The best (id, score), best first, ties by ascending id."""
    worst = -np.inf
    if len(scores) > limit:  # every row that ties with the last one that counts is kept
        worst = np.partition(scores, len(scores) - limit)[len(scores) - limit]
    best = [(ids[int(i)], float(scores[i])) for i in np.flatnonzero(scores >= worst)]
    return sorted(best, key=lambda hit: (-hit[1], hit[0]))[:limit]


def _numbers(table: pa.Table, column: str) -> npt.NDArray[np.int64]:
    return np.asarray(table.column(column).combine_chunks().to_numpy(zero_copy_only=False))
