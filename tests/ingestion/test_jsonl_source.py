"""The JSONL change feed: what it yields, what it quarantines, and how it notices a rewrite."""

import bz2
import gzip
import hashlib
import json
import lzma
import os
import tracemalloc
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dr_pipelines.errors import InvalidRequest, NotFound, SourceRewritten
from dr_pipelines.model.collection import Field, FieldType
from dr_pipelines.model.json_size import MAX_VALUES
from dr_pipelines.model.unread import Quarantined, Unread
from dr_pipelines.protocols import Source, SourcePartition
from dr_pipelines.sources import jsonl_days, jsonl_reading
from dr_pipelines.sources.changes import BATCH_BYTES, Unreadable
from dr_pipelines.sources.jsonl import JsonlSource
from dr_pipelines.sources.jsonl_line import CONTENT, REQUIRED, parse_line
from dr_pipelines.sources.jsonl_lines import KEPT_LINES
from dr_pipelines.sources.values import FieldTypes
from dr_pipelines.testing.source_contract import SourceContract, rows
from tests.ingestion.feeds import line, written

FEED = [
    b"not json, before the first change",
    line(1, id="a"),
    line(3, id="b", title="Title", metadata={"url": "https://e/1", "b": 1, "a": [None]}),
    b"{}",
    line(4, "2026-01-03T00:00:00+01:00", id="a", op="delete", text=None),
    line(7, "2026-01-01T12:00:00Z", id="a", text="again"),
    line(8, "2026-01-05T00:00:00.123456Z", id="c", text=""),
    b"[]",
]


class TestJsonlSource(SourceContract):
    @pytest.fixture
    def source(self, tmp_path: Path) -> Source:
        return JsonlSource(written(tmp_path / "feed.jsonl", FEED))


class TestJsonlSourceWithAMarkAtEveryLine(SourceContract):
    @pytest.fixture
    def source(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
        monkeypatch.setattr(jsonl_days, "MARK_BYTES", 1)
        return JsonlSource(written(tmp_path / "feed.jsonl", FEED))


def test_days_follow_the_newest_time_and_anchors_cover_the_file(tmp_path: Path) -> None:
    path = written(tmp_path / "feed.jsonl", FEED)
    ends = [0, *(i + 1 for i, byte in enumerate(path.read_bytes()) if byte == ord("\n"))]

    def anchor(lines: int) -> str:
        return hashlib.sha256(path.read_bytes()[: ends[lines]]).hexdigest()

    assert JsonlSource(path).partitions() == [
        SourcePartition(date(2026, 1, 1), 0, 3, anchor(3), 2),
        SourcePartition(date(2026, 1, 2), 3, 7, anchor(6), 2),
        SourcePartition(date(2026, 1, 5), 7, 8, anchor(7), 1),
    ]


def test_a_change_has_exactly_what_its_line_says(tmp_path: Path) -> None:
    text = "e\u0301 \u00e9\r\n\0\ufeff \u2028 \t"
    metadata = {"uri": 5, "url": "https://e/1", "z": {"é": 1.5}}
    path = written(tmp_path / "f", [line(5, id="x", title="T", text=text, metadata=metadata)])
    [row] = rows(JsonlSource(path))
    assert (row["text"], row["title"], row["uri"]) == (text, "T", "https://e/1")
    assert row["metadata"] == '{"uri":5,"url":"https://e/1","z":{"é":1.5}}'
    assert (row["position"], row["ordinal"], row["deleted"]) == (5, 0, False)


def test_each_quarantined_line_has_its_place_and_follows_a_position(tmp_path: Path) -> None:
    source = JsonlSource(written(tmp_path / "feed.jsonl", FEED))
    reason = "invalid JSON: Expecting value at character 0"
    assert reasons(source.quarantined(0, 3)) == [
        ("line 1", reason, 0),
        ("line 4", "missing key seq, ts, op, id", 3),
    ]
    assert source.quarantined(3, 7) == []
    assert reasons(source.quarantined(7, 8)) == [("line 8", "[] is not an object", 8)]


def reasons(lines: list[Quarantined]) -> list[tuple[str, str, int]]:
    return [(q.place, q.reason, q.after) for q in lines]


def raw(seq: int = 2, **changed: Any) -> bytes:
    return json.dumps(line(seq, **changed)).encode()


def without(key: str) -> bytes:
    return json.dumps({k: v for k, v in line(2).items() if k != key}).encode()


NESTED = b'{"seq":2,"ts":"2026-01-01T00:00:00Z","op":"upsert","id":"a","text":"","metadata":{"m":'
BAD_LINES = [
    (b"", "invalid JSON"),
    (b"{", "invalid JSON"),
    (b"\xef\xbb\xbf" + raw(), "invalid JSON"),
    (b'"text"', "not an object"),
    (b"\xff" + raw(), "invalid UTF-8 at byte 0"),
    (raw(ts=None), "missing key ts"),
    *((without(key), f"missing key {key}") for key in REQUIRED),
    (raw(text=None), "missing key text"),
    (raw(title=5), "title is 5; expected a string"),
    (raw(text=["x"]), "text is ['x']; expected a string"),
    (raw(author="x"), "unknown key 'author'"),
    (raw(op="insert"), "op is 'insert'; expected 'upsert' or 'delete'"),
    (raw(op=["upsert"]), "op is ['upsert']; expected 'upsert' or 'delete'"),
    (raw(ts="2026-01-01T00:00:00"), "ts '2026-01-01T00:00:00' has no time zone"),
    (raw(ts="yesterday"), "ts is 'yesterday'; expected an ISO 8601 time with a zone"),
    (raw(ts=5), "ts is 5; expected an ISO 8601 time with a zone"),
    (raw(ts="0001-01-01T00:00:00+23:00"), "ISO 8601"),
    (raw(seq=1, text="other"), "seq 1 came before with other content"),
    (raw(seq=0), "seq is 0; expected an integer from 1"),
    (raw(seq=2**63), "integer from 1"),
    (raw(seq="2"), "integer from 1"),  # type: ignore[arg-type]
    (raw(seq=True), "seq is True; expected an integer from 1"),
    (raw(seq=2.0), "integer from 1"),  # type: ignore[arg-type]
    (raw(id=""), "id is empty"),
    (raw(id="é" * 257), "longer than 512 bytes"),
    (raw(id="a\nb"), "control character"),
    (raw(id="a\x85b"), "control character"),
    (raw(id=5), "id is 5; expected a string"),
    (raw(id="\ud800"), "id has a lone surrogate"),
    (raw(text="a\udc80"), "text has a lone surrogate"),
    (raw(title="\ud800"), "title has a lone surrogate"),
    (raw(metadata={"\ud800": 1}), "metadata has a lone surrogate"),
    (raw(metadata=[]), "metadata is []; expected an object"),
    (raw(metadata=""), "metadata is ''"),
    (raw(metadata={"a": float("nan")}), "NaN is not a JSON number"),
    (raw(metadata={"a": float("-inf")}), "-Infinity is not a JSON number"),
    (NESTED + b"1e999}}", "not finite"),
    (NESTED + b"1" * 5000 + b"}}", "number is too long"),
    (NESTED + b'1,"m":2}}', "key 'm' occurs twice"),
    (NESTED + b"[" * 15 + b"]" * 15 + b"}}", "nested deeper than 16"),
    (NESTED + b"[" * 100_000 + b"]" * 100_000 + b"}}", "nested deeper than 16"),
    (raw(op="delete"), "a delete has text"),
    (raw(op="delete", text=None, metadata={}), "a delete has metadata"),
]


@pytest.mark.parametrize(("bad", "reason"), BAD_LINES, ids=[str(i) for i in range(len(BAD_LINES))])
def test_a_malformed_line_is_quarantined_with_its_reason(
    tmp_path: Path, bad: bytes, reason: str
) -> None:
    source = JsonlSource(written(tmp_path / "feed.jsonl", [line(1), bad, line(3)]))
    assert [row["position"] for row in rows(source)] == [1, 3]
    [lines] = source.quarantined(0, 3)
    assert (lines.place, lines.after) == ("line 2", 1)
    assert reason in lines.reason


@pytest.mark.timeout(60)  # each of them once compared with all others takes an hour
def test_the_one_key_of_very_many_that_occurs_twice_is_named(tmp_path: Path) -> None:
    keys = b",".join(b'"k%d":1' % number for number in range(400_000))
    feed = written(tmp_path / "feed.jsonl", [NESTED + b"{" + keys + b',"k399999":1}}}'])
    with pytest.raises(InvalidRequest, match="key 'k399999' occurs twice"):
        JsonlSource(feed).partitions()


def test_a_line_that_would_be_huge_in_memory_is_not_decoded(tmp_path: Path) -> None:
    many = b"[" + b"{}," * MAX_VALUES + b"{}]}}"
    source = JsonlSource(written(tmp_path / "feed.jsonl", [line(1), NESTED + many, line(3)]))
    assert [row["position"] for row in rows(source)] == [1, 3]
    [lines] = source.quarantined(0, 3)
    assert lines.reason == f"more than {MAX_VALUES} values in one line"


def test_every_field_of_a_line_has_a_value_that_is_refused_by_name() -> None:
    reasons = [reason for _, reason in BAD_LINES]
    named = {key for key in (*REQUIRED, *CONTENT) if any(r.startswith(f"{key} ") for r in reasons)}
    assert named == {*REQUIRED, *CONTENT}
    missing = {key for key in (*REQUIRED, "text") if f"missing key {key}" in reasons}
    assert missing == {*REQUIRED, "text"}


@pytest.mark.parametrize(
    "good",
    [
        NESTED + b"[" * 14 + b"]" * 14 + b"}}",
        raw(id="é" * 256),
        raw(title=None, metadata=None),
        raw(ts="2026-01-01T05:30:00.123456+05:30"),
        raw() + b"\r",
    ],
)
def test_a_line_at_the_limits_is_read(good: bytes) -> None:
    assert parse_line(good, after=1, newest=0).position == 2


@given(st.binary(max_size=80) | st.text(max_size=80).map(str.encode))
def test_any_bytes_are_read_or_refused_with_a_reason(data: bytes) -> None:
    with pytest.raises(Unreadable, match=r".+"):
        parse_line(data, after=0, newest=0)


def test_a_line_over_the_limit_is_quarantined_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jsonl_reading, "MAX_LINE_BYTES", 200)
    path = written(tmp_path / "feed.jsonl", [line(1), b"x" * 5000, line(3)])
    source = JsonlSource(path)
    assert [row["position"] for row in rows(source)] == [1, 3]
    assert reasons(source.quarantined(0, 9)) == [
        ("line 2", "line of 5001 bytes; at most 200 are read", 1)
    ]
    assert source.anchor(3) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_last_line_without_newline_is_not_there_yet(tmp_path: Path) -> None:
    path = written(tmp_path / "feed.jsonl", [line(1)])
    whole, half = path.read_bytes(), raw(2)[:-5]
    path.write_bytes(whole + half)
    source = JsonlSource(path)
    before = source.partitions()
    assert (len(rows(source)), source.quarantined(0, 9)) == (1, [])
    path.write_bytes(whole + raw(2) + b"\n")
    assert [p.through for p in source.partitions()] == [2]
    assert source.anchor(1) == before[-1].anchor


def test_a_feed_that_grows_keeps_its_anchors(tmp_path: Path) -> None:
    path = written(tmp_path / "feed.jsonl", FEED)
    before = JsonlSource(path).partitions()
    with path.open("ab") as file:
        file.write(raw(9, ts="2026-01-06T00:00:00Z") + b"\n")
    assert JsonlSource(path).partitions()[:-1] == before


def test_a_glance_shows_what_was_appended_or_put_in_place(tmp_path: Path) -> None:
    path = written(tmp_path / "feed.jsonl", FEED)
    change_tokens = [JsonlSource(path).change_token()]
    with path.open("ab") as file:
        file.write(raw(9) + b"\n")
    change_tokens.append(JsonlSource(path).change_token())
    path.with_suffix(".new").write_bytes(path.read_bytes().replace(b"Title", b"Other"))
    path.with_suffix(".new").replace(path)
    change_tokens.append(JsonlSource(path).change_token())
    assert len(set(change_tokens)) == 3
    path.unlink()
    with pytest.raises(NotFound, match="no change feed at"):
        JsonlSource(path).change_token()


def test_a_rewritten_line_changes_every_anchor_from_it_on(tmp_path: Path) -> None:
    path = written(tmp_path / "feed.jsonl", FEED)
    before = [JsonlSource(path).anchor(p) for p in (1, 3, 4, 7, 8)]
    path.write_bytes(path.read_bytes().replace(b"Title", b"Other"))
    after = [JsonlSource(path).anchor(p) for p in (1, 3, 4, 7, 8)]
    assert [a == b for a, b in zip(before, after, strict=True)] == [True] + [False] * 4


def test_a_truncated_feed_has_no_anchor_where_it_ended(tmp_path: Path) -> None:
    path = written(tmp_path / "feed.jsonl", FEED)
    before = JsonlSource(path).anchor(4)
    written(path, FEED[:5])
    source = JsonlSource(path)
    assert (source.anchor(4), source.anchor(7), source.anchor(8)) == (before, None, None)


@pytest.mark.parametrize("keep", [3, 8])
def test_a_feed_rewritten_between_two_calls_is_not_read_as_if_it_were_not(
    tmp_path: Path, keep: int
) -> None:
    path = written(tmp_path / "feed.jsonl", FEED)
    source = JsonlSource(path)
    source.partitions()
    written(path, FEED[:keep])
    path.write_bytes(path.read_bytes().replace(b"Title", b"Other"))
    with pytest.raises(SourceRewritten, match="epoch"):
        rows(source)


def test_a_feed_cut_off_between_two_calls_is_not_read_as_if_it_were_whole(tmp_path: Path) -> None:
    path = written(tmp_path / "feed.jsonl", FEED)
    source = JsonlSource(path)
    source.partitions()
    written(path, FEED[:5])
    assert [row["position"] for row in rows(source, 0, 3)] == [1, 3]
    with pytest.raises(SourceRewritten, match="ended before position 7"):
        rows(source)


def test_a_missing_feed_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"no change feed at .*nowhere\.jsonl"):
        JsonlSource(tmp_path / "nowhere.jsonl").partitions()


def test_a_directory_or_pipe_is_not_a_feed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(NotFound, match="is not a file"):
            JsonlSource(path).partitions()


def test_an_empty_feed_has_no_partitions(tmp_path: Path) -> None:
    source = JsonlSource(written(tmp_path / "feed.jsonl", []))
    assert (source.partitions(), rows(source), source.quarantined(0, 0)) == ([], [], [])


GOOD = b"".join(json.dumps(line(n)).encode() + b"\n" for n in (1, 2))


@pytest.mark.parametrize(
    ("data", "looks"),
    [
        (b"x\ny\n", "not one line can be read, of 2. It begins with 78 0a 79 0a"),
        (GOOD.decode().encode("utf-16"), "It looks like UTF-16: write it as UTF-8"),
        (GOOD.decode().encode("utf-16-le"), "It looks like UTF-16: write it as UTF-8"),
        (GOOD.decode().encode("utf-16-be"), "It looks like UTF-16: write it as UTF-8"),
        (GOOD.decode().encode("utf-32"), "It looks like UTF-32: write it as UTF-8"),
        (gzip.compress(GOOD, mtime=0), "begins with 1f 8b .* It looks like gzip: decompress it"),
        (bz2.compress(GOOD), "It looks like bzip2: decompress it"),
        (lzma.compress(GOOD), "It looks like xz: decompress it"),
        (b"PK\x03\x04 and so on", "It looks like a ZIP archive"),
        (b"PAR1 and so on", "It looks like Parquet"),
        (b"[" + GOOD.replace(b"\n", b",\n"), "It looks like one JSON array"),
        (b"<html>\n", "It looks like XML or HTML"),
        (GOOD.replace(b"}", b', "extra": 1}'), "line 1: unknown key 'extra'"),
    ],
)
def test_bytes_without_one_readable_line_are_a_failure_that_says_what_they_look_like(
    tmp_path: Path, data: bytes, looks: str
) -> None:
    path = tmp_path / "feed.jsonl"
    path.write_bytes(data)
    with pytest.raises(InvalidRequest, match=looks):
        JsonlSource(path).partitions()


def test_a_byte_order_mark_does_not_cost_the_first_line(tmp_path: Path) -> None:
    path = tmp_path / "feed.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD)
    source = JsonlSource(path)
    assert [row["position"] for row in rows(source)] == [1, 2]
    assert source.unread() == Unread()
    assert source.anchor(2) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_line_delivered_twice_is_a_duplicate_and_another_with_its_position_is_not(
    tmp_path: Path,
) -> None:
    lines = [line(1), line(2), line(3), line(2), line(3), line(4), line(3, text="other"), line(5)]
    source = JsonlSource(written(tmp_path / "feed.jsonl", lines))
    assert [row["position"] for row in rows(source)] == [1, 2, 3, 4, 5]
    assert source.unread().duplicates == 2
    assert reasons(source.quarantined(0, 9)) == [
        ("line 7", "seq 3 came before with other content", 4)
    ]


def test_a_document_that_is_said_again_readably_waits_for_nobody(tmp_path: Path) -> None:
    bad = [line(2, id="a", author="x"), line(3, id="b", author="x")]
    source = JsonlSource(written(tmp_path / "f", [line(1), *bad, line(4, id="a")]))
    source.partitions()
    assert [q.document for q in source.unread().lines] == ["b"]
    assert (source.unread().count, source.unread().superseded) == (1, 1)


def test_every_unreadable_line_is_counted_and_the_first_ten_thousand_are_named(
    tmp_path: Path,
) -> None:
    lines = [line(1), *[b"bad"] * (KEPT_LINES + 2), line(2)]
    source = JsonlSource(written(tmp_path / "f", lines))
    assert [p.through for p in source.partitions()] == [2]
    unread = source.unread()
    assert (unread.count, unread.unnamed, len(unread.lines)) == (KEPT_LINES + 2, 2, KEPT_LINES)


def test_a_line_has_the_hash_of_its_bytes_and_waits_since_its_time_or_its_day(
    tmp_path: Path,
) -> None:
    bad = [
        line(2, "2026-01-02T10:00:00Z", author="x"),
        b"not json",
        line(3, "2025-12-01T00:00:00Z", author="x"),
    ]
    path = written(tmp_path / "f", [line(1, "2026-01-02T09:00:00Z"), *bad])
    lines = JsonlSource(path).quarantined(0, 1)
    assert [q.since for q in lines] == [
        datetime(2026, 1, 2, hour, tzinfo=UTC) for hour in (10, 9, 0)
    ]
    raws = path.read_bytes().splitlines(keepends=True)
    assert [q.sha256 for q in lines] == [hashlib.sha256(r).hexdigest() for r in raws[1:]]


def test_what_an_unreadable_line_says_of_the_future_is_not_believed(tmp_path: Path) -> None:
    path = written(tmp_path / "f", [line(1), line(2, "2099-01-01T00:00:00Z", author="x")])
    os.utime(path, (1_800_000_000, 1_800_000_000))
    [lines] = JsonlSource(path).quarantined(0, 1)
    assert lines.since == datetime.fromtimestamp(1_800_000_000, UTC)


def test_bytes_without_a_line_end_are_counted_since_the_file_was_written(tmp_path: Path) -> None:
    path = written(tmp_path / "feed.jsonl", [line(1)])
    with path.open("ab") as file:
        file.write(raw(2)[:9])
    os.utime(path, (1_800_000_000, 1_800_000_000))
    source = JsonlSource(path)
    assert len(rows(source)) == 1
    assert source.unread() == Unread(
        tail_bytes=9, tail_since=datetime.fromtimestamp(1_800_000_000, UTC)
    )


def typed(path: Path) -> JsonlSource:
    return JsonlSource(path, misfit=FieldTypes((Field(name="rank", type=FieldType.INTEGER),)))


def test_a_value_of_the_wrong_type_costs_its_document_and_no_day(tmp_path: Path) -> None:
    lines = [
        line(1, id="a", metadata={"rank": 1}),
        line(2, "2026-01-02T00:00:00Z", id="a", metadata={"rank": "two"}),
        line(3, "2026-01-03T00:00:00Z", id="b", metadata={"rank": 3}),
        line(4, "2026-01-04T00:00:00Z", id="c", metadata={"rank": 4.5}),
    ]
    source = typed(written(tmp_path / "f", lines))
    assert [(p.after, p.through, p.changes) for p in source.partitions()] == [(0, 1, 1), (1, 3, 1)]
    assert [row["position"] for row in rows(source)] == [1, 3]
    assert reasons(source.quarantined(0, 9)) == [
        ("line 2", "seq 2: rank is 'two', expected integer", 1),
        ("line 4", "seq 4: rank is 4.5, expected integer", 3),
    ]
    assert source.unread().lines[0].sentence.endswith("; document 'a' stays as it was")
    assert source.anchor(2) == JsonlSource(tmp_path / "f").anchor(2)  # it keeps its place


class TestJsonlSourceWithWrongTypes(SourceContract):
    @pytest.fixture
    def source(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
        monkeypatch.setattr(jsonl_days, "MARK_BYTES", 1)
        lines = [
            line(1, metadata={"rank": "x"}),
            line(2),
            line(3, metadata={"rank": None}),
            line(4, "2026-01-02T00:00:00Z", metadata={"rank": []}),
            line(5, "2026-01-02T00:00:00Z"),
            line(6, "2026-01-03T00:00:00Z", metadata={"rank": True}),
        ]
        return typed(written(tmp_path / "feed.jsonl", lines))


def test_a_moved_feed_has_the_same_provenance(tmp_path: Path) -> None:
    assert JsonlSource(tmp_path / "a").provenance == JsonlSource(tmp_path / "b").provenance


def test_batches_end_at_a_thousand_rows_or_at_their_bytes(tmp_path: Path) -> None:
    size = BATCH_BYTES // 3
    lines = [line(n) for n in range(1, 1502)] + [
        line(n, text="x" * size) for n in range(1502, 1507)
    ]
    source = JsonlSource(written(tmp_path / "feed.jsonl", lines))
    assert [b.num_rows for b in source.changes(0, 1501)] == [1000, 501]
    assert [b.num_rows for b in source.changes(1501, 1506)] == [3, 2]


def test_memory_holds_a_batch_and_not_the_feed(tmp_path: Path) -> None:
    lines = (line(n, text="x" * 1_000_000) for n in range(1, 61))
    source = JsonlSource(written(tmp_path / "feed.jsonl", lines))
    tracemalloc.start()
    counted = [p.changes for p in source.partitions()]
    read = sum(batch.num_rows for batch in source.changes(0, 60))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (counted, read) == ([60], 60)
    assert peak < 3 * BATCH_BYTES


def test_a_document_of_twenty_megabytes_is_read_whole(tmp_path: Path) -> None:
    text = "0123456789" * 2_000_000
    source = JsonlSource(written(tmp_path / "feed.jsonl", [line(1, text=text)]))
    assert rows(source)[0]["text"] == text
