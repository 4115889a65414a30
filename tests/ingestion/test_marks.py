"""A feed that grows is read from where the reading before ended, and what is gone by is said."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dr_pipelines.model.collection import Field, FieldType
from dr_pipelines.sources import git_history, jsonl_days, jsonl_marks, jsonl_reading
from dr_pipelines.sources.baseline import BaselinedSource
from dr_pipelines.sources.git import GitSource
from dr_pipelines.sources.jsonl import JsonlSource
from dr_pipelines.sources.jsonl_chain import PIECE_BYTES, Chain, chain_at
from dr_pipelines.sources.jsonl_index import Index, read_index
from dr_pipelines.sources.jsonl_line import parse_line
from dr_pipelines.sources.jsonl_marks import Marks
from dr_pipelines.sources.marks_file import MarksFile, Trust
from dr_pipelines.sources.values import FieldTypes
from dr_pipelines.testing.source_contract import rows
from tests.ingestion.feeds import Repository, line, written

MIB = 1024 * 1024
TEXT = "word " * 200
RANKED = FieldTypes((Field(name="rank", type=FieldType.INTEGER),))


def many(first: int, last: int) -> list[dict[str, Any]]:
    """Lines of a kilobyte, some hundred a day."""
    days = (f"2026-01-{1 + n // 400:02}T00:00:00Z" for n in range(first, last + 1))
    return [line(n, day, text=TEXT) for n, day in zip(range(first, last + 1), days, strict=True)]


def append(path: Path, lines: list[Any]) -> int:
    """Add lines to a feed; how many bytes they are."""
    before = path.stat().st_size
    with path.open("ab") as file:
        for each in lines:
            file.write((each if isinstance(each, bytes) else json.dumps(each).encode()) + b"\n")
    return path.stat().st_size - before


def bytes_read() -> int:
    """Bytes that this process has read so far, from wherever."""
    counts = Path("/proc/self/io").read_text().split()
    return int(counts[counts.index("rchar:") + 1])


@pytest.fixture
def feed(tmp_path: Path) -> Path:
    """A megabyte and more, on four days."""
    return written(tmp_path / "feed.jsonl", many(1, 1300))


def marks(tmp_path: Path, trust: Trust = Trust.SIGNS) -> MarksFile:
    return MarksFile(tmp_path / "marks" / "feed", tmp_path, trust)


def looked_at(path: Path, trust: Trust = Trust.SIGNS) -> JsonlSource:
    """A source of another process, which has read its partitions."""
    source = JsonlSource(path, marks=marks(path.parent, trust))
    source.partitions()
    return source


@contextmanager
def counted_lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Lines that are parsed meanwhile."""
    parsed, parse = list[int](), parse_line

    def counting(raw: bytes, **more: Any) -> object:
        parsed.append(len(raw))
        return parse(raw, **more)

    with monkeypatch.context() as patch:
        patch.setattr(jsonl_reading, "parse_line", counting)
        yield parsed


def test_a_look_reads_only_the_bytes_that_are_new(feed: Path) -> None:
    looked_at(feed)
    new = append(feed, many(1301, 1400))
    before = bytes_read()
    source = looked_at(feed)
    read = bytes_read() - before

    assert read < new + 4 * PIECE_BYTES + 64 * 1024  # the rest is marks
    assert source.partitions() == JsonlSource(feed).partitions()
    reading = source.reading()
    assert (reading.new, reading.whole_because) == (0, "")  # by the second call
    assert "not read again (inode, size and the last 64 KiB are as they were" in reading.sentence


@pytest.mark.parametrize("trust", Trust)
def test_only_new_lines_are_parsed_and_everything_is_as_if_all_were(
    feed: Path, trust: Trust, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at(feed, trust)
    new = append(feed, [*many(1301, 1305), b"not json", line(2, text="other")])
    with counted_lines(monkeypatch) as parsed:
        source = JsonlSource(feed, marks=marks(feed.parent, trust))
        partitions = source.partitions()
    whole = JsonlSource(feed)

    assert len(parsed) < 7 + 401  # and one stretch, to compare the line that came twice
    assert partitions == whole.partitions()
    assert source.unread() == whole.unread()
    assert [source.anchor(p) for p in (1, 777, 1305)] == [whole.anchor(p) for p in (1, 777, 1305)]
    assert rows(source, 1290) == rows(whole, 1290)
    assert source.reading().new == new


def test_an_ingestion_reads_all_bytes_and_proves_those_of_before(feed: Path) -> None:
    looked_at(feed)
    size, new = feed.stat().st_size, append(feed, many(1301, 1302))
    before = bytes_read()
    source = JsonlSource(feed, marks=marks(feed.parent, Trust.PROOF))
    source.partitions()

    assert bytes_read() - before > size
    assert (
        source.reading().sentence
        == f"{size:,} bytes read before: proven by their hash; {new:,} new"
    )


def replaced(feed: Path) -> None:
    feed.with_suffix(".new").write_bytes(feed.read_bytes())
    feed.with_suffix(".new").replace(feed)


def truncated(feed: Path) -> None:
    written(feed, many(1, 1000))


def edited_at_its_end(feed: Path) -> None:
    edited(feed, at=-10_000)


def edited_in_the_middle(feed: Path) -> None:
    edited(feed, at=feed.stat().st_size // 2)


def edited(feed: Path, *, at: int) -> None:
    """One word in place: inode and size stay."""
    data = bytearray(feed.read_bytes())
    place = data.index(b"word", at % len(data))
    with feed.open("r+b") as file:
        file.seek(place)
        file.write(b"WORD")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (replaced, "it is another file than before"),
        (truncated, "it is shorter than it was"),
        (edited_at_its_end, "the last 64 KiB read before are others now"),
    ],
    ids=("replaced", "truncated", "edited at its end"),
)
def test_a_look_finds_a_file_that_was_put_in_place_cut_off_or_edited_near_its_end(
    feed: Path, change: Any, reason: str
) -> None:
    looked_at(feed)
    change(feed)
    reading = JsonlSource(feed, marks=marks(feed.parent))
    partitions = reading.partitions()

    assert partitions == JsonlSource(feed).partitions()
    assert reading.reading().sentence == f"all {feed.stat().st_size:,} bytes read: {reason}"
    assert reading.reading().unexpected


def test_an_edit_in_the_middle_escapes_a_look_and_not_an_ingestion(feed: Path) -> None:
    before = looked_at(feed).partitions()
    edited_in_the_middle(feed)
    append(feed, many(1301, 1301))

    assert looked_at(feed).partitions()[:3] == before[:3]
    proven = JsonlSource(feed, marks=marks(feed.parent, Trust.PROOF))
    assert proven.partitions() == JsonlSource(feed).partitions()
    assert proven.reading().whole_because == "what was read before is not there as it was"


def test_a_copy_with_the_same_bytes_is_proven_by_them(feed: Path) -> None:
    looked_at(feed)
    replaced(feed)
    proven = JsonlSource(feed, marks=marks(feed.parent, Trust.PROOF))

    assert (len(proven.partitions()), proven.reading().new) == (4, 0)


@pytest.mark.parametrize("trust", Trust)
@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: path.unlink(), "no marks of an earlier reading"),
        (lambda path: path.write_bytes(path.read_bytes()[:-3]), "its marks are damaged"),
        (lambda path: path.write_bytes(b"\xff\0"), "its marks are damaged"),
        (lambda path: path.write_bytes(b"[1]\n{}"), "its marks are damaged"),
        (
            lambda path: path.write_bytes(
                path.read_bytes().replace(b'"made_by": "', b'"made_by": "0')
            ),
            "its marks are of another version or other settings",
        ),
    ],
    ids=("absent", "cut off", "no text", "no marks", "of another version"),
)
def test_without_marks_that_hold_everything_is_read_and_said(
    feed: Path, trust: Trust, spoil: Any, reason: str
) -> None:
    looked_at(feed)
    spoil(marks(feed.parent).path)
    source = JsonlSource(feed, marks=marks(feed.parent, trust))

    assert source.partitions() == JsonlSource(feed).partitions()
    assert source.reading().sentence == f"all {feed.stat().st_size:,} bytes read: {reason}"
    assert JsonlSource(feed, marks=marks(feed.parent, trust)).reading().before  # kept anew


def test_marks_are_of_the_fields_that_lines_were_held_against(feed: Path) -> None:
    looked_at(feed)
    typed = JsonlSource(feed, misfit=RANKED, marks=marks(feed.parent))

    assert "other settings" in typed.reading().whole_because


def test_marks_that_cannot_be_kept_are_said(feed: Path) -> None:
    (feed.parent / "marks").write_text("no directory")
    reading = looked_at(feed).reading()

    assert "no marks are kept: " in reading.sentence
    assert reading.unexpected


def test_lines_that_repeat_those_of_very_many_places_are_a_reason_to_read_everything(
    feed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at(feed)
    monkeypatch.setattr(jsonl_marks, "LOOKS_BACK", 1)
    append(feed, [line(2, text="other"), line(1290, text="other"), *many(1301, 1301)])
    source = JsonlSource(feed, marks=marks(feed.parent))

    assert source.unread() == JsonlSource(feed).unread()
    assert source.reading().whole_because == "lines repeat earlier ones of very many places"


LINES = st.sampled_from(
    [
        b"not json",
        b'{"half": ',
        line(0),
        line(0, id="a", author="x"),
        line(0, id="a"),
        line(0, id="b", metadata={"rank": "high"}),
        line(0, "2026-01-02T00:00:00Z"),
        line(0, op="delete", text=None),
    ]
)
NUMBERS = st.integers(0, 6)
"""How far a line's position is from the number of lines before it: some repeat, some leave out."""


def numbered(parts: list[list[tuple[Any, int]]]) -> list[list[Any]]:
    """The parts' lines with positions."""
    count, result = 0, list[list[Any]]()
    for part in parts:
        result.append([])
        for each, back in part:
            count += 1
            seq = max(count + 2 - back, 1)
            result[-1].append(each if isinstance(each, bytes) else each | {"seq": seq})
    return result


def again(index: Index) -> Marks:
    return Marks.parse(json.loads(json.dumps(index.to_keep.value())))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.lists(st.tuples(LINES, NUMBERS), max_size=6), min_size=2, max_size=4),
    st.sampled_from(Trust),
)
def test_a_feed_read_in_parts_is_the_feed_read_at_once(
    tmp_path: Path, parts: list[list[tuple[Any, int]]], trust: Trust
) -> None:
    first = [line(1, id="first")]
    path, earlier = written(tmp_path / "parts.jsonl", first), None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jsonl_days, "MARK_BYTES", 200)
        for part in numbered(parts):
            append(path, part)
            os.utime(path, (1_800_000_000, 1_800_000_000))
            index = read_index(path, misfit=RANKED, earlier=earlier, trust=trust)
            whole = read_index(path, misfit=RANKED)
            earlier = again(index)
            assert (index.partitions, index.unread) == (whole.partitions, whole.unread)
            assert (index.marks, index.to_keep) == (whole.marks, whole.to_keep)
        assert index.reading.before


@given(st.binary(max_size=40), st.integers(0, 3 * PIECE_BYTES), st.integers(1, 50_000))
@settings(max_examples=25)
def test_a_chain_is_the_same_however_its_bytes_come(data: bytes, offset: int, step: int) -> None:
    whole = (data or b"x") * (3 * PIECE_BYTES // max(len(data), 1) + 1)
    at_once, in_steps = Chain(), Chain()
    at_once.update(whole[:offset])
    for start in range(0, offset, step):
        in_steps.update(whole[start : min(start + step, offset)])

    assert in_steps.hexdigest() == at_once.hexdigest()


def test_a_chain_is_taken_up_from_the_bytes_of_one_piece(feed: Path) -> None:
    offset = MIB + 77
    with feed.open("rb") as file:
        whole = Chain()
        whole.read(file, offset)
        before = bytes_read()
        taken_up = chain_at(file, whole.before, offset)

    assert taken_up.hexdigest() == whole.hexdigest()
    assert bytes_read() - before < 2 * PIECE_BYTES


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """Two commits on two days."""
    made = Repository(tmp_path / "repository")
    made.write("a.md", "one")
    made.write("bad.md", b"\xff")
    made.commit("2026-01-01T00:00:00Z")
    made.write("b.md", "two")
    made.commit("2026-01-02T00:00:00Z")
    return made


def seen(repository: Repository, **settings: Any) -> GitSource:
    """The repository as another process sees it."""
    marks_ = MarksFile(repository.path.parent / "marks" / "git", repository.path.parent)
    source = GitSource(repository.path, marks=marks_, **settings)
    source.partitions()
    return source


def same(source: GitSource, repository: Repository) -> bool:
    """True if it is as one that has walked everything."""
    whole = GitSource(repository.path)
    walked = [(s.partitions(), s.unread(), rows(s)) for s in (source, whole)]
    return walked[0] == walked[1]


def walked_commits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The commits that are walked from now on, as positions after and through."""
    spans, changed = list[tuple[int, int]](), git_history.changed_files

    def counting(*place: Any, after: int, through: int, **more: Any) -> Any:
        spans.append((after, through))
        return changed(*place, after=after, through=through, **more)

    monkeypatch.setattr("dr_pipelines.sources.git.changed_files", counting)
    return spans


def test_only_new_commits_are_walked(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen(repository)
    repository.write("bad.md", "readable")
    repository.write("c.md", b"\xfe")
    repository.commit("2026-01-03T00:00:00Z")
    spans = walked_commits(monkeypatch)
    source = seen(repository)

    assert spans == [(2, 3)]
    assert source.reading().sentence == (
        "2 commits read before: the same by the id of their newest; 1 new"
    )
    assert same(source, repository)


def test_a_history_without_new_commits_is_not_walked(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen(repository)
    spans = walked_commits(monkeypatch)

    assert seen(repository).reading().new == 0
    assert spans == [(2, 2)]


@pytest.mark.parametrize("gone", [False, True], ids=("there", "collected"))
def test_a_forced_push_is_walked_from_the_start(repository: Repository, gone: bool) -> None:
    seen(repository)
    repository.git("reset", "-q", "--hard", "HEAD^")
    repository.write("b.md", "another")
    repository.commit("2026-01-02T00:00:00Z")
    if gone:
        repository.git("reflog", "expire", "--expire=now", "--all")
        repository.git("gc", "-q", "--prune=now")
    source = seen(repository)

    assert source.reading().whole_because == "the newest commit read before is not there now"
    assert same(source, repository)


def test_a_branch_that_went_back_or_joined_from_the_side_is_walked_from_the_start(
    repository: Repository,
) -> None:
    seen(repository)
    repository.git("checkout", "-q", "-b", "side", "HEAD^")
    back = seen(repository)
    assert (back.reading().before, same(back, repository)) == (0, True)
    repository.write("side.md", "side")
    repository.commit("2026-01-03T00:00:00Z")
    repository.git("merge", "-q", "--no-ff", "-m", "join", "main", date="2026-01-04T00:00:00Z")
    assert same(seen(repository), repository)
    repository.git("checkout", "-q", "main")
    repository.git("merge", "-q", "--no-ff", "-m", "join", "side", date="2026-01-05T00:00:00Z")
    joined = seen(repository)  # its own first parents never were side's

    assert (joined.reading().before, same(joined, repository)) == (0, True)


def test_marks_of_a_history_are_of_what_is_read_of_it(repository: Repository) -> None:
    seen(repository)

    assert "other settings, or Git LFS brought files" in (
        seen(repository, include=("*.md",)).reading().whole_because
    )
    seen(repository)
    path = repository.path.parent / "marks" / "git"
    path.write_bytes(path.read_bytes()[:-2])
    assert seen(repository).reading().whole_because == "its marks are damaged"


def test_a_baseline_is_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "feed.jsonl", many(1, 900))
    for expected in (True, False):
        count = MarksFile(tmp_path / "marks" / "baseline", tmp_path)
        source = BaselinedSource(looked_at(path), date(2026, 1, 2), marks=count)
        with counted_lines(monkeypatch) as parsed:
            partitions = source.partitions()
        assert bool(parsed) is expected
        assert partitions == BaselinedSource(JsonlSource(path), date(2026, 1, 2)).partitions()
        assert len(rows(source)) == 900
