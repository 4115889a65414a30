"""Vectors are compressed where the policy says so, or where they leave slowly."""

from dataclasses import replace

import pytest

from dr_pipelines.blobs.memory import MemoryBlobStore
from dr_pipelines.errors import Unavailable
from dr_pipelines.model.vector_encoding import Compression, VectorEncoding
from dr_pipelines.proof.verify import check_rows
from dr_pipelines.repository.repository import Repository
from dr_pipelines.repository.segments import read_segment, write_segment
from dr_pipelines.repository.vector_storage import (
    COUNTED_BYTES,
    MEASURED_BYTES,
    UploadRate,
    VectorStorage,
)
from tests.repository.builders import SPEC, Version, repository, rows_of

COMPRESSIONS: tuple[Compression, ...] = ("auto", "always", "never")
ROWS = rows_of([Version("a", texts=("one", "two")), Version("b")])


class Clock:
    """A clock that is set by hand."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def sent(rate: UploadRate, clock: Clock, *, size_bytes: int, seconds: float) -> None:
    with rate.sending(size_bytes):
        clock.seconds += seconds


def test_a_rate_is_known_once_enough_was_sent() -> None:
    clock = Clock()
    rate = UploadRate(clock)
    assert rate.bytes_per_second() is None
    sent(rate, clock, size_bytes=MEASURED_BYTES - 1, seconds=1)
    sent(rate, clock, size_bytes=COUNTED_BYTES - 1, seconds=100)  # small: how far, not how fast
    assert rate.bytes_per_second() is None
    sent(rate, clock, size_bytes=MEASURED_BYTES + 1, seconds=3)
    assert rate.bytes_per_second() == MEASURED_BYTES / 2


def test_what_is_sent_at_a_time_shares_the_time() -> None:
    clock = Clock()
    rate = UploadRate(clock)
    with rate.sending(MEASURED_BYTES):
        clock.seconds += 1
        with rate.sending(MEASURED_BYTES):
            clock.seconds += 2
        clock.seconds += 1
    clock.seconds += 50
    assert rate.bytes_per_second() == MEASURED_BYTES / 2


class Memory:
    """Rates as they were written, and how often somebody asked."""

    def __init__(self, rate: float | None = None) -> None:
        self.rate = rate
        self.written: list[float] = []
        self.reads = 0

    def read(self) -> float | None:
        self.reads += 1
        return self.rate

    def write(self, bytes_per_second: float) -> None:
        self.written.append(bytes_per_second)


def test_a_rate_is_remembered_each_time_that_twice_as_much_was_sent() -> None:
    clock, memory = Clock(), Memory()
    rate = UploadRate(clock, memory=memory)
    sent(rate, clock, size_bytes=MEASURED_BYTES - 1, seconds=1)
    assert memory.written == []
    sent(rate, clock, size_bytes=MEASURED_BYTES + 1, seconds=1)
    sent(rate, clock, size_bytes=MEASURED_BYTES, seconds=4)
    sent(rate, clock, size_bytes=MEASURED_BYTES, seconds=2)
    assert memory.written == [MEASURED_BYTES, MEASURED_BYTES / 2]


def test_the_rate_of_an_earlier_process_counts_until_this_one_has_measured() -> None:
    clock, memory = Clock(), Memory(12_000_000)
    storage = VectorStorage(remote=True, rate=UploadRate(clock, memory=memory))
    stored = storage.now()
    assert stored.encoding == "arrow+zstd"
    assert stored.reason == "12 MB/s were measured by an earlier process, the limit is 55 MB/s"
    sent(storage.rate, clock, size_bytes=1 << 30, seconds=(1 << 30) / 80_000_000)
    stored = storage.now()
    assert (stored.encoding, memory.reads) == ("arrow", 1)
    assert stored.reason == "80 MB/s were measured, the limit is 55 MB/s"


def test_a_policy_that_decides_asks_for_no_memory() -> None:
    memory = Memory(1.0)
    for compression in COMPRESSIONS:
        VectorStorage(compression, rate=UploadRate(memory=memory)).now()
    assert memory.reads == 0


class LosingBlobStore(MemoryBlobStore):
    """A store that loses large objects, after a second."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock

    def create(self, key: str, data: bytes | memoryview) -> None:
        if len(data) < COUNTED_BYTES:
            return super().create(key, data)
        self.clock.seconds += 1
        raise Unavailable("lost")


def test_what_did_not_arrive_takes_time_and_counts_nothing() -> None:
    clock = Clock()
    rate = UploadRate(clock)
    home = replace(repository(LosingBlobStore(clock)), vectors=VectorStorage(rate=rate))
    with pytest.raises(Unavailable, match="lost"):
        home.put("books/native/w/0", bytes(MEASURED_BYTES))
    assert rate.bytes_per_second() is None
    sent(rate, clock, size_bytes=MEASURED_BYTES, seconds=1)
    assert rate.bytes_per_second() == MEASURED_BYTES / 2


@pytest.mark.parametrize(
    ("compression", "remote", "rate", "encoding", "reason"),
    [
        ("never", True, 1, "arrow", "the policy says as they are"),
        ("always", False, None, "arrow+zstd", "the policy says compressed"),
        ("auto", False, 1, "arrow", "the repository is on this machine"),
        ("auto", True, None, "arrow", "less than 16 MiB were sent: no rate is known"),
        ("auto", True, 54_400_000, "arrow+zstd", "54 MB/s were measured, the limit is 55 MB/s"),
        ("auto", True, 56_000_000, "arrow", "56 MB/s were measured, the limit is 55 MB/s"),
    ],
)
def test_the_encoding_follows_the_policy_and_the_rate(
    compression: Compression,
    remote: bool,
    rate: int | None,
    encoding: VectorEncoding,
    reason: str,
) -> None:
    clock = Clock()
    storage = VectorStorage(compression, remote=remote, rate=UploadRate(clock))
    if rate:
        sent(storage.rate, clock, size_bytes=1 << 30, seconds=(1 << 30) / rate)
    stored = storage.now()
    assert (stored.encoding, stored.reason) == (encoding, reason)


class SlowBlobStore(MemoryBlobStore):
    """A store that takes a second for everything."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock

    def create(self, key: str, data: bytes | memoryview) -> None:
        self.clock.seconds += 1
        super().create(key, data)


def test_segments_are_compressed_once_a_slow_store_is_known_to_be() -> None:
    clock = Clock()
    storage = VectorStorage(remote=True, rate=UploadRate(clock))
    home = replace(repository(SlowBlobStore(clock)), vectors=storage)
    first = write_segment(home, "books", ROWS, spec=SPEC, kind="base")
    home.put("books/native/w/0", bytes(MEASURED_BYTES))
    later = write_segment(home, "books", ROWS, spec=SPEC, kind="base")
    assert [ref.vectors[0].encoding for ref in (first, later)] == [None, "arrow+zstd"]
    for ref in (first, later):
        assert read_segment(home, ref, spec=SPEC).equals(ROWS)
        check_rows(home, ref, SPEC)
    stored_as = [storage.of(refs) for refs in ((), (first,), (later,), (first, later))]
    assert [stored and stored.encoding for stored in stored_as] == [
        None,
        "arrow",
        "arrow+zstd",
        "arrow+zstd",
    ]
    measured, unmeasured = storage.now().reason, "; arrow where that was not known yet"
    assert [stored.reason for stored in stored_as if stored] == [
        measured + unmeasured,
        measured,
        measured + unmeasured,
    ]


def test_a_repository_in_memory_is_no_remote_one() -> None:
    home: Repository = repository()
    ref = write_segment(home, "books", ROWS, spec=SPEC, kind="base")
    assert ref.vectors[0].encoding is None
