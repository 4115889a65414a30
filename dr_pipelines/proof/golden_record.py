"""Golden queries proposed from what a collection holds, for somebody to read and judge."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from dr_pipelines.contents.answers import PointAnswers, StoreAnswers
from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.golden import MOST_QUERIES, GoldenQuery, GoldenSet, Judgement, Least
from dr_pipelines.model.query import Hit, Mode, Not, Query
from dr_pipelines.model.record import store_schema
from dr_pipelines.proof.golden import RECORDS, GoldenReport, check_golden
from dr_pipelines.proof.golden_drafts import Covered, Draft, Drafts, sampled_columns
from dr_pipelines.proof.golden_sample import sample_size, sampled
from dr_pipelines.stores.shared.exact import fields_of, matches

LIMIT = 10
LEAST_RECALL = 0.9
"""An approximate index may miss a tenth of what an exact search finds."""
MOST_FORBIDDEN = 3


@dataclass(frozen=True, slots=True)
class Proposal:
    """A golden set for somebody to judge. `report` is what the collection answers to it now. So
    many records were `sampled`; `left_out` names drafts that became no query, with the reason."""

    golden: GoldenSet
    report: GoldenReport
    covered: tuple[Covered, ...]
    sampled: int
    left_out: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class _Matching:
    """A draft with what an exact search finds: `documents` of its scope, and the nearest ones
    `outside` it."""

    draft: Draft
    documents: tuple[str, ...]
    outside: tuple[str, ...]


def propose(answers: StoreAnswers | PointAnswers, *, clusters: int) -> Proposal:
    """Propose queries for at most so many clusters of records, as many by words, and some for every
    tenant, principal and filterable field, of the most frequent values first.

    What is expected of them is what an exact search finds now: they say that a collection answers
    as it did, not that it answers well. Reads every record once, and holds a sample of them.

    Raises:
        InvalidRequest: nothing that the collection holds can be requests for.
    """
    columns = sampled_columns(answers.spec)
    whole = store_schema(answers.spec)
    schema = pa.schema([whole.field(name) for name in columns])
    sample = sampled(answers.records(columns), schema, rows=sample_size(answers.spec))
    drafts = Drafts(answers.spec, sample)
    listed = [*drafts.by_cluster(clusters), *drafts.by_scope()]
    left_out = [(draft.id, f"there are {MOST_QUERIES} already") for draft in listed[MOST_QUERIES:]]
    matching = _matching_documents(answers, listed[:MOST_QUERIES])
    queries = list[GoldenQuery]()
    hashes = _hashes(answers, matching)
    for one in matching:
        try:
            if reason := _unfit(one):
                left_out.append((one.draft.id, reason))
            else:
                queries.append(_query(one, hashes))
        except ValidationError:
            left_out.append((one.draft.id, "a golden file cannot name what it is about"))
    if not queries:
        raise InvalidRequest(
            f"{answers.spec.name!r} holds nothing that can be asked for: no two records have dense "
            "vectors, and no word is rare. Write the queries by hand (docs/golden.md)"
        )
    golden = GoldenSet(v=1, queries=tuple(queries))
    report = check_golden(golden, answers, vectors={})
    covered = tuple(_covered(drafts.covered, queries))
    return Proposal(golden, report, covered, len(sample), tuple(left_out))


def _covered(drafts: Sequence[Covered], queries: Sequence[GoldenQuery]) -> Iterator[Covered]:
    """By the queries that drafts have become: those asked by a record of the value itself."""
    for each in drafts:
        own = re.compile(rf"{re.escape(each.prefix)}-\d+")
        yield replace(each, queries=sum(bool(own.fullmatch(query.id)) for query in queries))


def _matching_documents(
    answers: StoreAnswers | PointAnswers, drafts: Sequence[Draft]
) -> list[_Matching]:
    spec = answers.spec
    scopes = [draft.scope(spec) for draft in drafts]
    requests = list[tuple[Query, int]]()
    for draft, within in zip(drafts, scopes, strict=True):
        requests.append((draft.query(within), RECORDS * LIMIT))
        if within is not None:
            requests.append((draft.query(Not(within)), LIMIT))
    hits = iter(answers.hits(requests))
    matching = list[_Matching]()
    for draft, within in zip(drafts, scopes, strict=True):
        documents = _documents(next(hits), draft)
        outside = _documents(next(hits), draft) if within is not None else ()
        matching.append(_Matching(draft, documents[:LIMIT], outside))
    return _without_shared(answers, matching)


def _without_shared(
    answers: StoreAnswers | PointAnswers, matching: list[_Matching]
) -> list[_Matching]:
    """Without documents outside a scope of which other records are in it."""
    spec = answers.spec
    names = sorted({name for one in matching for name in one.outside})
    columns = sorted({field for one in matching for field in fields_of(one.draft.scope(spec))})
    if not names:
        return matching
    batches = answers.records(["document_id", *columns], documents=names)
    rows = pa.Table.from_batches(batches)
    cleared = list[_Matching]()
    for one in matching:
        within = one.draft.scope(spec)
        shared = frozenset[str]()
        if within is not None and one.outside:
            inside = rows.filter(pa.array(matches(within, rows)))
            shared = frozenset(pc.unique(inside["document_id"]).to_pylist())
        outside = tuple(name for name in one.outside if name not in shared)
        cleared.append(_Matching(one.draft, one.documents, outside[:MOST_FORBIDDEN]))
    return cleared


def _documents(hits: Sequence[Hit], draft: Draft) -> tuple[str, ...]:
    return tuple(dict.fromkeys(hit.document_id for hit in hits if hit.id != draft.like))


def _hashes(answers: StoreAnswers | PointAnswers, matching: Sequence[_Matching]) -> dict[str, str]:
    names = sorted({name for one in matching for name in one.documents})
    return {row.id: row.sha256 for row in answers.documents(names)}


def _unfit(matching: _Matching) -> str:
    """Why a draft is no query; empty if it is one."""
    if not matching.documents:
        return "nothing else is there to be found"
    if matching.draft.mode is Mode.KEYWORD and len(matching.documents) >= LIMIT:
        return f"{LIMIT} documents or more have the word, and engines rank them differently"
    return ""


def _query(matching: _Matching, hashes: dict[str, str]) -> GoldenQuery:
    """Raises `ValidationError` for names that a golden file cannot have."""
    draft = matching.draft
    return GoldenQuery(
        id=draft.id,
        text=draft.text,
        like=draft.like,
        mode="vector" if draft.mode is Mode.VECTOR else "keyword",
        filter=draft.filter,
        tenant=draft.tenant,
        principal=draft.principal,
        limit=LIMIT,
        relevant=tuple(_judgements(matching, hashes)),
        must_not=matching.outside,
        least=Least(recall=LEAST_RECALL),
    )


def _judgements(matching: _Matching, hashes: dict[str, str]) -> Iterator[Judgement]:
    for name in matching.documents:
        yield Judgement(document=name, sha256=hashes.get(name))
