"""Facts about a live collection at one moment, all computed by reading it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dr_pipelines.contents.documents import live_documents, states_digest
from dr_pipelines.errors import NotFound
from dr_pipelines.model.golden import scope
from dr_pipelines.model.query import Filter, Hit, Mode, Query
from dr_pipelines.protocols import Embedder, VectorReader
from dr_pipelines.repository import digest
from dr_pipelines.repository.observation import digested

if TYPE_CHECKING:
    from dr_pipelines.cli.demo.corpus import Corpus
    from dr_pipelines.model.collection import CollectionSpec

ANSWERS = 10
TITLES = 8


@dataclass(frozen=True, slots=True)
class Question:
    """A query; `must` and `must_not` are documents, where anybody said so."""

    text: str
    filter: str | None = None
    principal: str | None = None
    must: tuple[str, ...] = ()
    must_not: tuple[str, ...] = ()

    def right(self, hits: list[Hit]) -> bool:
        """True if every document that must be among the hits is, and none that must not."""
        documents = {hit.document_id for hit in hits}
        return set(self.must) <= documents and not set(self.must_not) & documents


@dataclass(frozen=True, slots=True)
class Sight:
    """A collection as it was seen: digests by a scan, answers by asking."""

    records: int
    content: str
    vectors: str
    documents: str
    answers: tuple[tuple[tuple[str, float], ...], ...]
    right: int


def questions_of(corpus: "Corpus") -> list[Question]:
    """The golden queries of a corpus, or titles of its first documents."""
    if not corpus.golden:
        return [Question(title) for title in corpus.titles(TITLES)]
    return [
        Question(q.text, q.filter, q.principal, q.must, q.must_not)
        for q in corpus.golden
        if q.text is not None
    ]


def ask(store: VectorReader, collection: str, question: Question, embedder: Embedder) -> list[Hit]:
    """The answer of a live collection, by meaning."""
    spec = store.describe(collection)
    query = Query(
        mode=Mode.VECTOR,
        text=question.text,
        vector=embedder.embed_queries([question.text])[0],
        filter=_allowed(question, spec),
    )
    return store.search(collection, query, limit=ANSWERS)


def look(
    store: VectorReader, collection: str, questions: list[Question], embedder: Embedder
) -> Sight:
    """Scan a collection and ask it everything."""
    spec = store.describe(collection)
    records = content = vectors = 0
    for narrow in digested(store.scan(collection), spec=spec):
        records += narrow.num_rows
        content += digest.total(narrow["content_digest"])
        vectors += digest.total(narrow["vector_digest"])
    hits = [ask(store, collection, question, embedder) for question in questions]
    return Sight(
        records=records,
        content=digest.to_hex(content),
        vectors=digest.to_hex(vectors),
        documents=states_digest(live_documents(store, collection)),
        answers=tuple(tuple((hit.id, hit.score) for hit in ranking) for ranking in hits),
        right=sum(q.right(ranking) for q, ranking in zip(questions, hits, strict=True)),
    )


def _allowed(question: Question, spec: "CollectionSpec") -> Filter | None:
    """The question's filter, and for a principal only what that may see, where fields say it."""
    principal = question.principal if spec.with_role("principals") else None
    return scope(spec, filter=question.filter, principal=principal)


def failure(
    store: VectorReader, collection: str, question: Question, embedder: Embedder
) -> str | None:
    """The store's error when a lost collection is queried; None if it still answers."""
    try:
        ask(store, collection, question, embedder)
    except NotFound as error:
        return str(error)
    return None
