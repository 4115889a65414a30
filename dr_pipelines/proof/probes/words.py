"""Does the keyword index have every text? Rare words of sampled records must find them."""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.model.query import FloatArray, Hit, Mode, Query
from dr_pipelines.model.verdict import Check, CheckName, Finding
from dr_pipelines.proof.probes.coverage import cut
from dr_pipelines.proof.probes.naming import few
from dr_pipelines.proof.probes.sample import Sample
from dr_pipelines.proof.probes.subject import Expected, Target

WORDS = 100
"""Words that are searched for, each the rarest of a sampled record: a keyword index that lacks 2 %
of the records is missed with a probability of 13 %, of 3 % with 5 %."""
HYBRID_WORDS = 30
"""Of them, by which a hybrid search asks: it joins two searches that other checks look at."""
RARE = 10
"""Records that may have a word for it to be rare."""
HITS = 2 * RARE
"""Hits of a search; with as many, others may have come in the place of those that are due."""
SPACES = r"\s+"
PLAIN = r"^[a-z]{4,20}[0-9]{0,8}$"
"""Words that every engine's analyser takes as one, where blanks are around them."""
PLAIN_ONLY = "words of Latin letters between blanks, of which every analyser makes one term"
NO_INDEX = "the collection has no keyword index"


@dataclass(frozen=True)
class Word:
    """A rare word, a sampled record that has it, and all records that do."""

    word: str
    record: str
    records: frozenset[str]


def rare_words(expected: Expected, sample: Sample) -> list[Word]:
    """A rare word of each sampled record that has one, each word once, at most `WORDS`. Reads every
    text once; memory holds the sampled records' words."""
    words = plain_words(sample.rows)
    holders = words.slice(0, 0)
    candidates = pc.unique(words["word"].combine_chunks())
    for rows in expected.rows(["id", "text"]):
        some = plain_words(rows)
        holders = pa.concat_tables(
            [holders, some.filter(pc.is_in(some["word"], value_set=candidates))]
        )
        counts = holders.group_by("word").aggregate([([], "count_all")])
        often = counts.filter(pc.greater(counts["count_all"], RARE))["word"].combine_chunks()
        holders = holders.filter(pc.invert(pc.is_in(holders["word"], value_set=often)))
        candidates = candidates.filter(pc.invert(pc.is_in(candidates, value_set=often)))
    return list(_chosen(words, holders))[:WORDS]


def _chosen(words: pa.Table, holders: pa.Table) -> Iterator[Word]:
    """The rarest word of each sampled record, in the order of the sample."""
    grouped = holders.group_by("word").aggregate([("id", "list")])
    by_word = dict(zip(*(grouped[name].to_pylist() for name in ("word", "id_list")), strict=True))
    best = dict[str, str]()
    for word, record in zip(words["word"].to_pylist(), words["id"].to_pylist(), strict=True):
        before = best.get(record)
        if word in by_word and (before is None or len(by_word[word]) < len(by_word[before])):
            best[record] = word
    once = {word: record for record, word in reversed(best.items())}
    for word, record in reversed(once.items()):
        yield Word(word, record, frozenset(by_word[word]))


def plain_words(rows: pa.Table) -> pa.Table:
    """The plain words of texts, each once a record: `id, word`."""
    texts = pc.utf8_lower(rows["text"].combine_chunks().fill_null(""))
    pieces = pc.split_pattern_regex(texts, pattern=SPACES)
    words = pc.utf8_trim(pc.list_flatten(pieces), characters=".,;:!?")
    ids = rows["id"].combine_chunks().take(pc.list_parent_indices(pieces))
    table = pa.table({"id": ids, "word": words})
    table = table.filter(pc.match_substring_regex(words, pattern=PLAIN))
    return table.group_by(["id", "word"], use_threads=False).aggregate([])


def check_keyword(words: list[Word], target: Target, *, records: int) -> Check:
    """Search for rare words by the engine's keyword index: every record that has one must come."""
    return _checked("keyword", words, target, {}, records=records)


def check_hybrid(words: list[Word], sample: Sample, target: Target, *, records: int) -> Check:
    """Search for a rare word and the vector of a record that has it: the record must come. Some of
    the words do, since each of the two searches has a check of its own."""
    vectors = dict[str, FloatArray]()
    for vector in target.searched[:1]:
        matrix, places = sample.vectors(vector)
        ids = (sample.ids[place] for place in places.tolist())
        vectors = dict(zip(ids, matrix, strict=True))
    return _checked("hybrid", words[:HYBRID_WORDS], target, vectors, records=records)


def _checked(
    name: CheckName,
    words: list[Word],
    target: Target,
    vectors: dict[str, FloatArray],
    *,
    records: int,
) -> Check:
    usable = [word for word in words if name == "keyword" or word.record in vectors]
    if not target.spec.keyword_index or not usable:
        reason = "no sampled record has a rare word" if target.spec.keyword_index else NO_INDEX
        return Check(name=name, skipped=reason)
    most = target.most_queries(_query(usable[0], vectors.get(usable[0].record)), len(usable))
    fewer = tuple(cut(name, most, len(usable)))
    usable = usable[:most]
    missing, more, crowded = list[str](), 0, 0
    for word in usable:
        hits = {hit.id for hit in _hits(target, word, vectors.get(word.record))}
        due = word.records if name == "keyword" else {word.record}
        if name == "keyword" and len(hits) == HITS and not due <= hits:
            crowded += 1  # to this analyser it is part of other words too, and not rare
            continue
        missing += [] if due <= hits else [word.word]
        more += len(hits - word.records) if name == "keyword" else 0
    if crowded:
        fewer += (f"{crowded:,} words are not rare to the engine, and were not compared",)
    findings = list[Finding]()
    if missing:
        message = (
            f"{len(missing):,} of {len(usable):,} rare words do not find every record that has "
            f"them: {few(missing)}. Build the keyword index anew"
        )
        findings.append(Finding(check=name, place="rare-words", message=message))
    return Check(
        name=name,
        looked_at=len(usable) - crowded,
        total=records,
        findings=tuple(findings),
        limits=(PLAIN_ONLY, *fewer),
        figures={"others": float(more)} if name == "keyword" else {},
    )


def _hits(target: Target, word: Word, vector: "FloatArray | None") -> list[Hit]:
    return target.store.search(target.name, _query(word, vector), limit=HITS)


def _query(word: Word, vector: "FloatArray | None") -> Query:
    mode = Mode.KEYWORD if vector is None else Mode.HYBRID
    return Query(mode, word.word, vector, exact=False)
