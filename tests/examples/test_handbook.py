"""The example corpus holds the cases that its README promises, and tells the truth about itself."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from dr_pipelines.model.collection import (
    CollectionSpec,
    Field,
    FieldType,
    Vector,
)
from dr_pipelines.model.filter_syntax import parse_filter
from dr_pipelines.model.golden import GoldenQuery
from dr_pipelines.model.record import ARROW_TYPES
from dr_pipelines.project.golden_file import load_golden
from dr_pipelines.sources.jsonl import JsonlSource
from dr_pipelines.stores.shared.exact import matches

EXAMPLES = Path(__file__).parents[2] / "examples"
HANDBOOK = EXAMPLES / "handbook"
Change = dict[str, Any]

SPEC = CollectionSpec(
    name="handbook",
    vectors=(Vector(dimension=2),),
    fields=(
        Field(name="product", type=FieldType.STRING),
        Field(name="team", type=FieldType.STRING, role="tenant"),
        Field(name="groups", type=FieldType.STRINGS, role="principals"),
        Field(name="status", type=FieldType.STRING),
        Field(name="version", type=FieldType.INTEGER),
        Field(name="reviewed", type=FieldType.BOOLEAN),
        Field(name="updated", type=FieldType.TIMESTAMP),
    ),
)
DECLARED = {f.name for f in SPEC.fields}
LETTERS = {
    "Japanese": re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]"),
    "Arabic": re.compile(r"[\u0600-\u06ff]"),
    "German": re.compile(r"[äöüß]"),
}


@cache
def feed() -> list[Change]:
    lines = (HANDBOOK / "feed.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def steps() -> Iterator[tuple[Change, dict[str, Change], str]]:
    """Each change with the documents alive before it and the newest `ts` so far."""
    alive: dict[str, Change] = {}
    newest = ""
    for change in feed():
        yield change, dict(alive), newest
        newest = max(newest, change["ts"])
        if change["op"] == "delete":
            alive.pop(change["id"], None)
        else:
            alive[change["id"]] = change


@cache
def at_the_end() -> dict[str, Change]:
    last, before, _ = list(steps())[-1]
    return before | {last["id"]: last}


def golden() -> tuple[GoldenQuery, ...]:
    return load_golden(HANDBOOK / "golden.yaml").queries


def named_cases(change: Change, before: dict[str, Change], newest: str) -> Iterator[str]:
    """Which of the cases in the README this change is; needs no history of deletions."""
    old = before.get(change["id"])
    if change["ts"] < newest:
        yield "late arrival"
        if change["ts"][:10] < newest[:10]:
            yield "late arrival from an earlier day"
        if old and change["ts"] < old["ts"]:
            yield "late arrival that is older than what it replaces"
    if change["op"] == "delete":
        yield "deletion" if old else "deletion of an id that is not there"
        return
    if change["text"] == "":
        yield "empty document"
    if len(change["text"].split()) > 1_000 and old is None:
        yield "long document"
    if old and old["title"] != change["title"]:
        yield "title changed"
    if old and (old["title"], old["text"]) == (change["title"], change["text"]):
        same = old["metadata"] == change["metadata"]
        yield "same document again" if same else "metadata-only edit"
    for language, letters in LETTERS.items():
        if old is None and len(letters.findall(change["text"])) > 20:
            yield language


@cache
def found_cases() -> dict[str, set[int]]:
    seen: dict[str, set[int]] = {}
    deleted: dict[str, Change] = {}
    for change, before, newest in steps():
        cases = list(named_cases(change, before, newest))
        if change["op"] == "delete" and change["id"] in before:
            deleted[change["id"]] = before[change["id"]]
        elif change["op"] == "upsert" and change["id"] not in before and change["id"] in deleted:
            cases.append("insertion of a deleted id")
            if change["text"] == deleted[change["id"]]["text"]:
                cases.append("insertion of a deleted id with the old text")
        for case in cases:
            seen.setdefault(case, set()).add(change["seq"])
    return seen


def promised_cases() -> dict[str, set[int]]:
    """The rows `| case | seq, seq–seq, … | … |` of the README."""
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([^|]+?) \| ([0-9][0-9, –]*?) \|", readme, re.MULTILINE)
    return {case: set(_numbers(where)) for case, where in rows}


def _numbers(where: str) -> Iterator[int]:
    for part in where.split(", "):
        first, _, last = part.partition("–")
        yield from range(int(first), int(last or first) + 1)


def test_the_readme_lists_exactly_the_cases_that_the_feed_holds() -> None:
    assert promised_cases() == found_cases()


def test_lines_have_the_documented_keys_in_the_documented_order() -> None:
    content = {"upsert": ["title", "text", "metadata"], "delete": []}
    assert [c["seq"] for c in feed()] == list(range(1, len(feed()) + 1))
    for change in feed():
        assert list(change) == ["seq", "ts", "op", "id", *content[change["op"]]]
        assert re.fullmatch(r"2026-0[12]-\d\dT\d\d:\d\d:\d\dZ", change["ts"])


def test_metadata_have_every_declared_field_in_its_type() -> None:
    types: dict[str, tuple[type, ...]] = {
        "product": (str, type(None)),
        "team": (str,),
        "groups": (list, type(None)),
        "status": (str,),
        "version": (int,),
        "reviewed": (bool, type(None)),
        "updated": (str,),
    }
    for metadata in (c["metadata"] for c in feed() if c["op"] == "upsert"):
        assert {k: type(metadata[k]) in types[k] for k in types} == dict.fromkeys(types, True)
        assert metadata["status"] in ("draft", "published", "retired")
        assert datetime.fromisoformat(metadata["updated"]).tzinfo is not None
        assert metadata["updated"].endswith("Z")


def test_metadata_hold_nulls_undeclared_keys_nested_values_and_documents_for_nobody() -> None:
    written = [c["metadata"] for c in feed() if c["op"] == "upsert"]
    extra = [m[k] for m in written for k in m if k not in DECLARED]
    assert {type(v) for v in extra} == {str, int, dict, type(None)}
    nulls = {k for m in written for k in DECLARED & set(m) if m[k] is None}
    assert nulls == {"product", "groups", "reviewed"}
    nobody = {key for key, c in at_the_end().items() if not c["metadata"]["groups"]}
    assert nobody == {"people/salary-bands", "company/acronyms"}
    statuses = {c["metadata"]["status"] for c in at_the_end().values()}
    assert statuses == {"draft", "published", "retired"}


def test_versions_of_a_document_count_up() -> None:
    versions: dict[str, list[int]] = {}
    for change in feed():
        if change["op"] == "upsert":
            versions.setdefault(change["id"], []).append(change["metadata"]["version"])
    repeated = {key for key, v in versions.items() if sorted(set(v)) != v}
    assert repeated == {"people/expenses"}  # the connector sent the same document twice
    assert all(v == sorted(v) for v in versions.values())


def test_the_source_reads_every_line_and_finds_25_days_in_five_weeks() -> None:
    source = JsonlSource(HANDBOOK / "feed.jsonl")
    days = source.partitions()
    assert source.quarantined(0, len(feed())) == []
    assert (len(days), str(days[0].day), str(days[-1].day)) == (25, "2026-01-05", "2026-02-06")


def test_the_first_change_time_loads_more_than_half_of_the_documents() -> None:
    first = [c["id"] for c in feed() if c["ts"] == feed()[0]["ts"]]
    assert (len(first), len(set(first))) == (63, 63)


def test_one_document_is_edited_several_times_on_one_day() -> None:
    edits = Counter((c["id"], c["ts"][:10]) for c in feed() if c["op"] == "upsert")
    assert edits["cloud/postgres-upgrade", "2026-01-15"] == 4
    assert edits["incidents/2026-01-24-broker-certificate", "2026-01-24"] == 4


def test_one_document_is_written_twice_and_another_renamed_within_one_step() -> None:
    twice = Counter((c["id"], c["ts"]) for c in feed())
    assert {key for key, times in twice.items() if times > 1} == {
        ("hardware/wren-2-eol", "2026-02-02T08:00:00Z"),
        ("oncall/phone-tree", "2026-01-22T08:30:00Z"),
        ("support/wren-2-faq", "2026-01-21T08:00:00Z"),
    }
    moved = {c["id"]: c["op"] for c in feed() if c["ts"] == "2026-02-04T08:50:00Z"}
    assert moved == {"field/winter-visit-checklist": "delete", "field/visits/winter": "upsert"}


def test_ids_are_not_all_ascii() -> None:
    assert {c["id"] for c in feed() if not c["id"].isascii()} == {
        "field/de/blitzschutz-für-masten",
        "support/ja/寒冷地での設置",
    }


def test_states_tell_the_truth_after_every_step() -> None:
    alive: dict[str, str] = {}
    lines = ["seq_end\tts\tdocuments\tdigest"]
    for ts, step in groupby(feed(), key=lambda c: c["ts"]):
        for change in step:
            alive.pop(change["id"], None)
            if change["op"] == "upsert":
                alive[change["id"]] = hashlib.sha256(change["text"].encode()).hexdigest()
        listed = "".join(f"{key}\t{digest}\n" for key, digest in sorted(alive.items()))
        digest = hashlib.sha256(listed.encode()).hexdigest()
        lines.append(f"{change['seq']}\t{ts}\t{len(alive)}\t{digest}")
    assert (HANDBOOK / "states.tsv").read_text().splitlines() == lines


def test_it_is_small_enough_to_embed_in_a_minute() -> None:
    characters = sum(len(c["title"] + c["text"]) for c in feed() if c["op"] == "upsert")
    assert 250_000 <= (HANDBOOK / "feed.jsonl").stat().st_size <= 450_000
    assert 200_000 <= characters <= 300_000  # 467 chunks of at most 200 tokens


def test_no_two_documents_say_the_same() -> None:
    texts = Counter(c["text"] for c in at_the_end().values())
    assert texts.most_common(1)[0][1] == 1


def test_the_readme_states_the_figures_of_the_feed() -> None:
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    ops = Counter(c["op"] for c in feed())
    states = len((HANDBOOK / "states.tsv").read_text().splitlines()) - 1
    for figure in (
        f"{len(feed())} changes",
        f"{ops['upsert']} upserts",
        f"{ops['delete']} deletions",
        f"{len({c['id'] for c in feed()})} ids",
        f"{len(at_the_end())} documents at the end",
        f"{states} states",
        f"{len(golden())} golden queries",
    ):
        assert figure in readme


def visible(query: GoldenQuery) -> set[str]:
    """The documents at the end that the query's principal may see and its filter lets through."""
    ids = list(at_the_end())
    metadata = [at_the_end()[key]["metadata"] for key in ids]
    columns = {
        f.name: [
            datetime.fromisoformat(m[f.name]) if f.type is FieldType.TIMESTAMP else m[f.name]
            for m in metadata
        ]
        for f in SPEC.fields
    }
    schema = pa.schema([(f.name, ARROW_TYPES[f.type]) for f in SPEC.fields])
    table = pa.table(columns, schema=schema)
    allowed = parse_filter(query.filter or "true", SPEC)
    if query.principal:
        only = parse_filter(f"groups contains '{query.principal}'", SPEC)
        mask = matches(allowed, table) & matches(only, table)
    else:
        mask = matches(allowed, table)
    return {key for key, match in zip(ids, mask, strict=True) if match}


@pytest.mark.parametrize("query", golden(), ids=lambda q: q.id)
def test_golden_queries_ask_for_what_can_be_found_and_forbid_what_cannot(
    query: GoldenQuery,
) -> None:
    can_be_found = visible(query)
    assert query.must
    assert set(query.must) <= can_be_found
    assert set(query.must_not) <= {c["id"] for c in feed()}
    assert not set(query.must_not) & can_be_found
    assert len(can_be_found) > len(query.must)  # a filter that leaves one answer asks nothing


def test_golden_queries_cover_filters_principals_and_every_kind_of_forbidden_document() -> None:
    queries = golden()
    forbidden = {key for q in queries for key in q.must_not}
    assert len({q.id for q in queries}) == len(queries)
    assert {q.principal for q in queries} >= {None, "staff", "partners", "oncall", "security"}
    assert sum(q.filter is not None for q in queries) >= 8
    assert len(forbidden - set(at_the_end())) == 7  # deleted
    assert forbidden & set(at_the_end()) == {
        "firmware/secure-boot-keys",  # of another group
        "people/salary-bands",  # of no group
        "cloud/feature-flags",  # left out by the filter
    }
