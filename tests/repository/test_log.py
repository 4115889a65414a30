"""The log's rules, one by one: chain, witness, gaps, limits, what a newer version wrote."""

import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from dr_pipelines.blobs.memory import MemoryBlobStore
from dr_pipelines.errors import (
    Conflict,
    Damaged,
    NotFound,
    OutcomeUnknown,
    Refused,
    Unavailable,
)
from dr_pipelines.model.details import DETAILS, CompactDetail, RefusalEvidence
from dr_pipelines.model.recovery_point import (
    ZERO,
    Body,
    Head,
    LogEntry,
    Signature,
)
from dr_pipelines.protocols import BlobStore
from dr_pipelines.repository.json_codec import seal_json
from dr_pipelines.repository.log import (
    Draft,
    Log,
    encode_entry,
    parse_entry,
)
from dr_pipelines.testing.blob_faults import (
    Lost,
    LostAnswers,
    Recording,
    remove,
    replace,
    swap,
    truncate,
)
from dr_pipelines.testing.memory_witness import MemoryWitness
from tests.repository.builders import ENTRY_MANIFEST, LONG, log
from tests.repository.details import example_detail


def draft(head: Head) -> Draft:
    detail = RefusalEvidence(reason=f"follows {head.number}")
    return Draft(1, Body(manifest=ENTRY_MANIFEST, detail=detail))


def long_draft(head: Head) -> Draft:
    detail = CompactDetail(segments_before=1, segments_after=1, rows_before=1, rows_after=1)
    return Draft(1, Body(manifest=ENTRY_MANIFEST, features=("x" * 65_536,), detail=detail))


def filled(entries: int, blobs: BlobStore | None = None) -> tuple[BlobStore, MemoryWitness, Log]:
    blobs, witness = blobs or MemoryBlobStore(), MemoryWitness()
    written = log(blobs, witness=witness)
    for _ in range(entries):
        written.append("evidence", draft)
    return blobs, witness, written


def test_an_empty_log_has_an_empty_head() -> None:
    _, witness, empty = filled(0)
    assert empty.head() == Head(0, ZERO, None)
    assert list(empty.entries()) == []
    assert witness.newest("books") is None
    with pytest.raises(NotFound, match="books: no log entry 1"):
        empty.read(1)


@pytest.mark.parametrize("entries", range(1, 20))
def test_entries_are_numbered_without_gaps_and_each_names_the_one_before(entries: int) -> None:
    blobs, witness, written = filled(entries)
    listed = list(log(blobs).entries())
    assert [entry.i for entry, _ in listed] == list(range(1, entries + 1))
    assert [entry.previous for entry, _ in listed] == [ZERO, *(sha for _, sha in listed[:-1])]
    assert [sha for _, sha in listed] == [
        hashlib.sha256(blobs.read(key)).hexdigest() for key in blobs.keys("books/log/")
    ]
    last, sha256 = listed[-1]
    assert written.head() == log(blobs).head() == Head(entries, sha256, last)
    assert witness.newest("books") == (entries, sha256)
    assert [entry.i for entry, _ in written.entries(first=entries)] == [entries]
    assert [entry.i for entry, _ in written.entries(last=entries - 1)] == list(range(1, entries))


def test_an_append_returns_the_head_that_a_reader_finds() -> None:
    blobs, _, written = filled(2)
    assert written.append("evidence", draft) == log(blobs).head()


def test_whoever_reads_the_head_is_a_witness_of_it() -> None:
    blobs, _, written = filled(3)
    witness = MemoryWitness()
    head = log(blobs, witness=witness).head()
    assert witness.newest("books") == (3, head.sha256)
    remove(blobs, written.key(3))
    with pytest.raises(Damaged, match="its tail is missing"):
        log(blobs, witness=witness).head()


def test_logs_of_two_collections_do_not_meet() -> None:
    blobs, witness, written = filled(3)
    other = log(blobs, collection="other", witness=witness)
    assert other.head().number == 0
    assert other.append("evidence", draft).number == 1
    assert written.head().number == 3


def test_finding_the_head_takes_few_calls_and_no_listing() -> None:
    blobs, witness, _ = filled(100)
    cold, warm = Recording(blobs), Recording(blobs)
    assert log(cold).head().number == log(warm, witness=witness).head().number == 100
    assert (cold.count("keys"), warm.count("keys")) == (0, 0)
    assert cold.count() <= 2 * 7 + 3  # galloping up and down again
    assert warm.count() <= 3


# What a damaged log looks like


def test_a_tail_that_was_cut_off_is_found_by_the_witness_alone() -> None:
    blobs, witness, written = filled(5)
    for number in (4, 5):
        remove(blobs, written.key(number))
    assert log(blobs).head().number == 3  # nothing inside the repository tells
    for call in (written.head, lambda: written.append("evidence", draft)):
        with pytest.raises(Damaged, match=r"ends before entry 5, which was seen before"):
            call()
    assert witness.newest("books") is not None


def test_a_replaced_entry_is_found_by_the_witness() -> None:
    blobs, _, written = filled(3)
    another, _, _ = filled(2)
    log(another, writer="w2").append("evidence", draft)
    replace(blobs, written.key(3), another.read(written.key(3)))
    for call in (written.head, lambda: written.append("evidence", draft)):
        with pytest.raises(Damaged, match=r"0003\.json is not the entry that was seen before"):
            call()


def test_a_replaced_entry_is_found_by_the_chain() -> None:
    blobs, _, written = filled(4)
    another, _, _ = filled(1)
    log(another, writer="w2").append("evidence", draft)
    replace(blobs, written.key(2), another.read(written.key(2)))
    with pytest.raises(Damaged, match=r"0003\.json does not follow entry 2"):
        list(written.entries())
    with pytest.raises(Damaged, match=r"0003\.json does not follow entry 2"):
        list(written.entries(first=3))


def test_the_first_entry_follows_nothing() -> None:
    blobs, _, written = filled(2)
    entry = written.read(1)[0].model_copy(update={"previous": "1" * 64})
    replace(blobs, written.key(1), encode_entry(entry))
    with pytest.raises(Damaged, match=r"0001\.json does not follow entry 0"):
        list(written.entries())


def test_a_missing_entry_is_found() -> None:
    blobs, _, written = filled(4)
    remove(blobs, written.key(2))
    with pytest.raises(Damaged, match=r"0002\.json is missing, and later entries exist"):
        list(written.entries())


def test_swapped_entries_are_found() -> None:
    blobs, _, written = filled(4)
    swap(blobs, written.key(2), written.key(3))
    with pytest.raises(Damaged, match=r"0002\.json: holds entry 3, not 2"):
        list(written.entries())


def witness_of(seen: int, written: Log) -> MemoryWitness:
    witness = MemoryWitness()
    if seen:
        witness.record("books", seen, written.read(seen)[1])
    return witness


def reader_of(blobs: BlobStore, seen: int, written: Log) -> Log:
    return log(blobs, writer="w2", witness=witness_of(seen, written))


@pytest.mark.parametrize(
    ("seen", "missing", "entries"), [(0, 3, 4), (3, 4, 5), (1, 2, 5), (0, 1, 2)]
)
def test_nothing_is_written_after_a_gap(seen: int, missing: int, entries: int) -> None:
    """Where the search stops at the gap, an entry 2, 4, 8, … after the last one betrays it."""
    blobs, _, written = filled(entries)
    reader = reader_of(blobs, seen, written)
    remove(blobs, written.key(missing))
    assert reader.head().number == missing - 1
    before = list(blobs.keys(""))
    with pytest.raises(Damaged, match=r"the log has a gap and is not written to"):
        reader.append("evidence", draft)
    assert list(blobs.keys("")) == before


@pytest.mark.parametrize("missing", range(1, 12))
def test_a_gap_of_any_width_is_never_filled(missing: int) -> None:
    """An entry 3, 5, 6, … beyond the head escapes at first; it does not when it is near."""
    blobs, _, written = filled(2 + missing + 1)
    for number in range(3, 3 + missing):
        remove(blobs, written.key(number))
    newcomer = log(blobs, writer="w2")

    def fill() -> None:
        for _ in range(missing):
            newcomer.append("evidence", draft)

    with pytest.raises(Damaged, match=r"the log has a gap and is not written to"):
        fill()
    assert newcomer.head().number < 2 + missing


def test_another_writer_who_is_two_entries_ahead_is_not_a_gap() -> None:
    blobs, _, written = filled(3)
    once = iter([True])

    def hook(name: str, key: str, moment: str, n: int) -> None:
        if (name, key, moment) == ("size", written.key(5), "before") and next(once, False):
            filled_more = log(blobs, writer="w2")
            filled_more.append("evidence", draft)
            filled_more.append("evidence", draft)

    racing = log(Recording(blobs, hook=hook), writer="w3", witness=witness_of(3, written))
    assert racing.append("evidence", draft).number == 6
    assert next(once, None) is None


@pytest.mark.parametrize("size", [0, 1, -1])
def test_a_truncated_entry_is_damaged_by_name(size: int) -> None:
    blobs, _, written = filled(2)
    truncate(blobs, written.key(2), size=size)
    for call in (written.head, log(blobs).head, lambda: written.read(2)):
        with pytest.raises(Damaged, match=r"books/log/0{19}2\.json"):
            call()


def test_every_flipped_bit_of_an_entry_is_found() -> None:
    blobs, _, written = filled(1)
    data = blobs.read(written.key(1))
    assert parse_entry(data, number=1, what="here") == written.read(1)[0]
    for offset in range(len(data)):
        for bit in range(8) if LONG else (offset % 8, (offset + 5) % 8):
            flipped = bytearray(data)
            flipped[offset] ^= 1 << bit
            with pytest.raises(Damaged, match=r"^here: "):
                parse_entry(bytes(flipped), number=1, what="here")


@pytest.mark.parametrize(
    "change",
    [
        {"i": 0},
        {"v": "1"},
        {"previous": "short"},
        {"more": 1},
        {"at": "yesterday"},
        {"body": {"manifest": None}},
        {"writer": {"id": "w"}},
    ],
    ids=lambda change: str(next(iter(change))),
)
def test_a_sealed_object_that_is_no_entry_is_damaged(change: dict[str, Any]) -> None:
    _, _, written = filled(1)
    value = written.read(1)[0].model_dump(mode="json")
    assert parse_entry(seal_json(value), number=1, what="here").i == 1
    with pytest.raises(Damaged, match=r"^here: not a log entry \(\d errors\)"):
        parse_entry(seal_json(value | change), number=1, what="here")


@pytest.mark.parametrize("at", ["2026-01-01T12:00:00", "9999-12-31T23:59:59-14:00"])
def test_an_entry_whose_time_is_no_moment_is_damaged(at: str) -> None:
    _, _, written = filled(1)
    value = written.read(1)[0].model_dump(mode="json") | {"at": at}
    with pytest.raises(Damaged, match=r"^here: not a log entry \(1 errors\)"):
        parse_entry(seal_json(value), number=1, what="here")


# Limits, and what a newer version wrote


def test_an_entry_of_a_later_format_is_not_called_damaged() -> None:
    _, _, written = filled(1)
    value = written.read(1)[0].model_dump(mode="json") | {"v": 2, "more": 1}
    with pytest.raises(Refused, match=r"^here was written by a newer version .* in format 2;"):
        parse_entry(seal_json(value), number=1, what="here")


def test_an_entry_over_64_kib_is_refused_and_nothing_is_written() -> None:
    blobs, _, written = filled(1)
    with pytest.raises(Refused, match=r"log entry 2: \d+ bytes, more than 65536"):
        written.append("compact", long_draft)
    assert len(list(blobs.keys(""))) == 1
    entry = written.read(1)[0]
    room = 65_536 - len(encode_entry(entry))
    padded = entry.model_copy(update={"transaction": entry.transaction + "x" * room})
    assert len(encode_entry(padded)) == 65_536
    assert parse_entry(encode_entry(padded), number=1, what="here") == padded
    longer = padded.model_copy(update={"transaction": padded.transaction + "x"})
    with pytest.raises(Refused):
        encode_entry(longer)


def newer(change: Callable[[LogEntry], LogEntry]) -> tuple[BlobStore, Log]:
    blobs, _, written = filled(2)
    entry = change(written.read(2)[0])
    replace(blobs, written.key(2), encode_entry(entry))
    return blobs, log(blobs)


@pytest.mark.parametrize(
    ("named", "change"),
    [
        ("erase", lambda e: e.model_copy(update={"kind": "erase"})),
        ("sparse", lambda e: e.model_copy(update={"body": _with_features(e, "sparse")})),
        ("x", lambda e: e.model_copy(update={"kind": "x", "body": _with_features(e, "x")})),
    ],
)
def test_what_a_newer_version_wrote_is_read_and_not_written_to(
    named: str, change: Callable[[LogEntry], LogEntry]
) -> None:
    blobs, reader = newer(change)
    assert [entry.i for entry, _ in reader.entries()] == [1, 2]
    with pytest.raises(Refused, match=rf"newer version that uses \['{named}'\].* only reads"):
        reader.append("evidence", draft)
    assert len(list(blobs.keys(""))) == 2


def _with_features(entry: LogEntry, *features: str) -> Body:
    return entry.body.model_copy(update={"features": features})


def test_every_kind_of_this_version_can_be_built_upon() -> None:
    blobs, _, written = filled(0)
    for number, kind in enumerate(sorted(DETAILS), start=1):
        body = Body(manifest=ENTRY_MANIFEST, detail=example_detail(kind))
        assert written.append(kind, lambda _, body=body: Draft(1, body)).number == number  # type: ignore[arg-type, misc]
    assert {entry.kind for entry, _ in log(blobs).entries()} == {
        *("ingest", "applied", "snapshot", "restore", "compact", "evidence"),
        *("begin", "follow", "end"),
    }


# One commit


def test_what_a_draft_raises_aborts_the_append() -> None:
    blobs, _, written = filled(1)

    def refuse(head: Head) -> Draft:
        raise Refused("no")

    with pytest.raises(Refused, match=r"^no$"):
        written.append("evidence", refuse)
    assert len(list(blobs.keys(""))) == 1


@pytest.mark.parametrize("how", Lost)
@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_lost_answer_neither_loses_nor_repeats_an_entry(how: Lost, times: int) -> None:
    blobs = MemoryBlobStore()
    unsure = log(LostAnswers(blobs, how=how, times=times))
    assert unsure.append("evidence", draft).number == 1
    assert [entry.transaction for entry, _ in log(blobs).entries()] == ["w1-0"]
    assert unsure.append("evidence", draft).number == 2
    assert [entry.transaction for entry, _ in log(blobs).entries()] == ["w1-0", "w1-1"]


@pytest.mark.parametrize("how", Lost)
def test_a_lost_race_with_a_lost_answer_takes_the_next_number(how: Lost) -> None:
    blobs = MemoryBlobStore()
    drafted: list[int] = []

    def race(head: Head) -> Draft:
        if not drafted:
            log(blobs, writer="w2").append("evidence", draft)
        drafted.append(head.number)
        return draft(head)

    head = log(LostAnswers(blobs, how=how)).append("evidence", race)
    assert (head.number, drafted) == (2, [0, 1])
    assert [entry.transaction for entry, _ in log(blobs).entries()] == ["w2-0", "w1-0"]


def test_an_entry_that_cannot_be_established_is_unknown_and_not_undone() -> None:
    blobs = MemoryBlobStore()
    witness = MemoryWitness()
    silent = LostAnswers(blobs, how=Lost.DROPPED, times=99)
    with pytest.raises(OutcomeUnknown, match=r"0001\.json: could not establish .* Nothing was"):
        log(silent, witness=witness).append("evidence", draft)
    assert witness.newest("books") is None


def test_an_entry_that_cannot_be_read_back_is_unknown_and_stays() -> None:
    blobs = MemoryBlobStore()

    def hook(name: str, key: str, moment: str, n: int) -> None:
        if name == "read":
            raise Unavailable("gone")

    with pytest.raises(OutcomeUnknown):
        log(Recording(blobs, hook=hook)).append("evidence", draft)
    assert [entry.transaction for entry, _ in log(blobs).entries()] == ["w1-0"]


def test_a_writer_who_always_loses_gives_up_with_a_conflict() -> None:
    blobs = MemoryBlobStore()
    rival = log(blobs, writer="w2")

    def lose(head: Head) -> Draft:
        rival.append("evidence", draft)
        return draft(head)

    with pytest.raises(Conflict, match=r"books: other writers won \d+ times; try again"):
        log(blobs).append("evidence", lose)
    assert {entry.writer.id for entry, _ in rival.entries()} == {"w2"}


def test_an_entry_with_our_transaction_and_other_bytes_is_an_alarm() -> None:
    blobs = MemoryBlobStore()

    class Altering:
        url = "altering:"

        def create(self, key: str, data: bytes | memoryview) -> None:
            entry = parse_entry(bytes(data), number=1, what=key)
            blobs.create(key, encode_entry(entry.model_copy(update={"timeline": 9})))

        read, size, keys, delete = blobs.read, blobs.size, blobs.keys, blobs.delete

    with pytest.raises(Damaged, match=r"reads back differently from what was written"):
        log(Altering()).append("evidence", draft)


def test_a_head_descends_from_each_entry_of_its_log_and_from_no_other() -> None:
    _, _, written = filled(5)
    for _, sha256 in written.entries():
        written.require_descent(sha256)
    other, _, _ = filled(1)
    log(other, writer="w2").append("evidence", draft)
    _, foreign = log(other, writer="w2").read(2)
    for unknown in (foreign, ZERO):
        with pytest.raises(
            Refused, match=rf"{unknown}; it ends at log:5 with {written.head().sha256}"
        ):
            written.require_descent(unknown)
    _, _, empty = filled(0)
    with pytest.raises(Refused, match="is empty"):
        empty.require_descent(foreign)


def test_a_log_cut_off_before_an_entry_does_not_descend_from_it() -> None:
    blobs, _, written = filled(4)
    _, newest = written.read(4)
    remove(blobs, written.key(4))
    elsewhere = log(blobs, witness=MemoryWitness())
    assert elsewhere.head().number == 3
    with pytest.raises(Refused, match="ends at log:3"):
        elsewhere.require_descent(newest)


def test_descent_is_proven_link_by_link() -> None:
    blobs, _, written = filled(4)
    _, first = written.read(1)
    entry = written.read(3)[0].model_copy(update={"at": written.read(2)[0].at})
    replace(blobs, written.key(3), encode_entry(entry))
    with pytest.raises(Damaged, match=r"0003\.json is not what entry 4 follows"):
        log(blobs, witness=MemoryWitness()).require_descent(first)


def test_a_signature_is_kept_by_who_reads_and_left_out_by_who_writes() -> None:
    _, _, written = filled(1)
    entry, _ = written.read(1)
    assert b"signature" not in encode_entry(entry)
    signed = entry.model_copy(update={"signature": Signature(key="k1", value="AAAA")})
    assert parse_entry(encode_entry(signed), number=1, what="here") == signed
