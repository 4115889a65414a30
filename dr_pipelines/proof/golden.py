"""Golden queries queries of a collection: does it answer as it must?"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dr_pipelines.contents.answers import Answers
from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.golden import GoldenQuery, GoldenSet, scope
from dr_pipelines.model.query import Filter, FloatArray, Hit, Mode, Query

RECORDS = 5
"""Asked for each document that counts: several of the best records may be of one document."""


@dataclass(frozen=True)
class Answered:
    """A golden query and what came of it: `documents` are the first ones, best first, and
    `failures` say what must be otherwise. `judged` is the share of the documents that somebody
    judged; `recall` and `ndcg` are None without relevant documents."""

    query: GoldenQuery
    documents: tuple[str, ...]
    failures: tuple[str, ...]
    recall: float | None
    ndcg: float | None
    judged: float


@dataclass(frozen=True)
class GoldenReport:
    """The answers to a golden set. Of judged documents, `changed` are those whose text is another
    one since, `gone` those that are not in the collection."""

    answered: tuple[Answered, ...]
    changed: tuple[str, ...]
    gone: tuple[str, ...]

    @property
    def failed(self) -> tuple[Answered, ...]:
        """The queries that do not hold."""
        return tuple(answer for answer in self.answered if answer.failures)

    @property
    def refuses_traffic(self) -> bool:
        """True if a query fails without which nothing may be served."""
        return any(answer.query.must_hold for answer in self.failed)


def texts_to_embed(golden: GoldenSet) -> list[str]:
    """The texts whose vectors `check_golden` needs, each once, in order."""
    meant = (q.text for q in golden.queries if q.text is not None and q.mode != "keyword")
    return list(dict.fromkeys(meant))


def check_golden(
    golden: GoldenSet, answers: Answers, *, vectors: Mapping[str, FloatArray]
) -> GoldenReport:
    """Ask every query, and judge the answers. `vectors` has those of `texts_to_embed`.

    The engine's own index answers where there is one: so applications ask.

    Raises:
        InvalidRequest: a filter, tenant or record of a query does not fit the collection.
    """
    fitting, unfit = fit_queries(golden, answers, vectors=vectors)
    for error in unfit.values():
        raise error
    return ask(fitting, answers)


def fit_queries(
    golden: GoldenSet, answers: Answers, *, vectors: Mapping[str, FloatArray]
) -> tuple[list[tuple[GoldenQuery, Query]], dict[str, InvalidRequest]]:
    """The queries as the collection can be asked them, and by id why others cannot be."""
    fitting, unfit = list[tuple[GoldenQuery, Query]](), dict[str, InvalidRequest]()
    for query in golden.queries:
        try:
            fitting.append((query, _query(query, answers, vectors)))
        except InvalidRequest as error:
            unfit[query.id] = error
    return fitting, unfit


def ask(fitting: Sequence[tuple[GoldenQuery, Query]], answers: Answers) -> GoldenReport:
    """Ask queries that fit, and judge the answers."""
    if not fitting:
        return GoldenReport((), (), ())
    hits = answers.hits([(request, RECORDS * query.limit) for query, request in fitting])
    answered = tuple(
        _judged(query, _documents(query, ranking))
        for (query, _), ranking in zip(fitting, hits, strict=True)
    )
    queries = GoldenSet(v=1, queries=tuple(query for query, _ in fitting))
    changed, gone = outdated(queries, answers)
    return GoldenReport(answered, changed, gone)


def _query(query: GoldenQuery, answers: Answers, vectors: Mapping[str, FloatArray]) -> Query:
    vector = None
    if query.like is not None:
        vector = answers.vector(query.like)
        if vector is None:
            raise InvalidRequest(
                f"golden query {query.id!r}: there is no record {query.like!r} with a vector to "
                "ask by; give another one, or a text"
            )
    elif query.mode != "keyword":
        vector = vectors[query.text or ""]
    condition = _filter(query, answers.spec)
    return Query(Mode(query.mode), query.text, vector, filter=condition, exact=False)


def _filter(query: GoldenQuery, spec: CollectionSpec) -> Filter | None:
    try:
        return scope(spec, filter=query.filter, tenant=query.tenant, principal=query.principal)
    except InvalidRequest as error:
        raise InvalidRequest(f"golden query {query.id!r}: {error}") from error


def _documents(query: GoldenQuery, hits: Sequence[Hit]) -> tuple[str, ...]:
    """The first documents of an answer, each once."""
    of_hits = (hit.document_id for hit in hits if hit.id != query.like)
    return tuple(dict.fromkeys(of_hits))[: query.limit]


def _judged(query: GoldenQuery, documents: tuple[str, ...]) -> Answered:
    ndcg, recall, judged = _measured(query, documents)
    failures = tuple(_failures(query, documents, recall=recall, ndcg=ndcg))
    return Answered(query, documents, failures, recall, ndcg, judged)


def _failures(
    query: GoldenQuery, documents: tuple[str, ...], *, recall: float | None, ndcg: float | None
) -> Iterator[str]:
    for name in query.must:
        if name not in documents:
            yield f"{name} is not among the first {query.limit}"
    for name in query.must_not:
        if name in documents:
            yield f"{name} must not be seen and is number {documents.index(name) + 1}"
    if not documents and not (query.must or query.relevant):
        yield "nothing came back at all, so nothing is shown by what did not come"
    least = query.least
    for name, value, bound in (("recall", recall, least.recall), ("nDCG", ndcg, least.ndcg)):
        if value is not None and bound is not None and value < bound:
            yield f"{name} of the first {query.limit} is {value:.3f}, less than {bound:g}"


def _measured(
    query: GoldenQuery, documents: tuple[str, ...]
) -> tuple[float | None, float | None, float]:
    """nDCG, recall and the share that was judged, of the first documents, by ir-measures."""
    named = {*query.must, *query.must_not, *(j.document for j in query.relevant)}
    judged = sum(name in named for name in documents) / len(documents) if documents else 1.0
    if not query.relevant:
        return None, None, judged
    import ir_measures  # of an extra: who restores without relevance judgements needs none
    from ir_measures import R, nDCG

    qrels = [ir_measures.Qrel("q", j.document, j.grade) for j in query.relevant]
    run = [ir_measures.ScoredDoc("q", name, -float(i)) for i, name in enumerate(documents)]
    if not run:
        return 0.0, 0.0, judged
    ndcg, recall = nDCG @ query.limit, R @ query.limit
    values = ir_measures.calc_aggregate([ndcg, recall], qrels, run)
    return float(values[ndcg]), float(values[recall]), judged


def outdated(golden: GoldenSet, answers: Answers) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Judged documents that have another text by now, and those that are gone."""
    noted = {j.document: j.sha256 for query in golden.queries for j in query.relevant}
    expected = {*noted, *(name for query in golden.queries for name in query.must)}
    there = {row.id: row.sha256 for row in answers.documents(sorted(expected))}
    changed = (
        name for name, sha256 in noted.items() if sha256 and there.get(name, sha256) != sha256
    )
    return tuple(sorted(changed)), tuple(sorted(expected - there.keys()))
