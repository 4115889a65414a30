"""Making and opening a repository; objects that come back as they were written, or not at all."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from dr_pipelines.blobs.memory import MemoryBlobStore
from dr_pipelines.embedders.hashing import HashingEmbedder
from dr_pipelines.errors import (
    Damaged,
    NotFound,
    OutcomeUnknown,
    Refused,
    Unavailable,
)
from dr_pipelines.model.recovery_point import ObjectRef, Writer
from dr_pipelines.protocols import BlobStore
from dr_pipelines.repository import canary_objects
from dr_pipelines.repository.history import History
from dr_pipelines.repository.json_codec import seal_json
from dr_pipelines.repository.repository import IDENTITY_KEY, PUT_ATTEMPTS, Repository
from dr_pipelines.testing.blob_faults import (
    Lost,
    LostAnswers,
    Recording,
    flip_bit,
    remove,
    replace,
    swap,
    truncate,
)
from dr_pipelines.testing.memory_witness import MemoryWitness
from tests.repository.builders import repository

WITH: dict[str, Any] = {
    "witness": MemoryWitness(),
    "writer": Writer(id="w9", host="test", version="0"),
    "clock": lambda: datetime(2026, 1, 1, tzinfo=UTC),
    "new_id": lambda: "new",
}


def opened(blobs: BlobStore) -> Repository:
    return Repository.open(blobs, **WITH)


@pytest.mark.parametrize(
    "capabilities",
    [{}, {"exclusive_create": False}, {"checksums": True, "exclusive_create": False}],
)
def test_a_store_whose_create_is_not_exclusive_is_refused(capabilities: dict[str, bool]) -> None:
    blobs = MemoryBlobStore("bucket")
    with pytest.raises(Refused, match="memory:bucket: an object that exists can be created again"):
        Repository.create(blobs, capabilities=capabilities, **WITH)
    assert list(blobs.keys("")) == []


def test_a_repository_is_created_once_and_opened_after() -> None:
    blobs = MemoryBlobStore()
    made = Repository.create(blobs, capabilities={"exclusive_create": True}, **WITH)
    assert made.identity.id == "new"
    assert made.identity.capabilities == {"exclusive_create": True}
    again = repository(blobs)
    assert made.identity == opened(blobs).identity == again.identity
    assert list(blobs.keys("")) == [IDENTITY_KEY]


def test_of_two_creators_both_get_the_first_ones_repository() -> None:
    blobs = MemoryBlobStore()
    first: list[Repository] = []

    def hook(name: str, key: str, moment: str, n: int) -> None:
        if (name, moment) == ("create", "before"):
            first.append(repository(blobs, writer="first"))

    second = repository(Recording(blobs, hook=hook), writer="second")
    assert second.identity == first[0].identity == opened(blobs).identity
    assert second.identity.id.startswith("first")


@pytest.mark.parametrize("how", Lost)
@pytest.mark.parametrize("times", [1, PUT_ATTEMPTS - 1])
def test_a_lost_answer_to_its_creation_makes_one_repository(how: Lost, times: int) -> None:
    blobs = MemoryBlobStore()
    assert repository(LostAnswers(blobs, how=how, times=times)).identity == opened(blobs).identity


def test_a_creation_that_was_never_done_can_be_repeated() -> None:
    blobs = LostAnswers(MemoryBlobStore("b"), how=Lost.DROPPED, times=PUT_ATTEMPTS)
    with pytest.raises(NotFound, match="memory:b holds no repository yet"):
        repository(blobs)
    assert repository(blobs).identity == opened(blobs).identity


def test_every_flipped_bit_of_the_identity_is_found() -> None:
    blobs = MemoryBlobStore()
    repository(blobs)
    data = blobs.read(IDENTITY_KEY)
    for offset in range(len(data)):
        flip_bit(blobs, IDENTITY_KEY, offset=offset, bit=offset % 8)
        with pytest.raises(Damaged, match=r"memory: repo\.json: "):
            opened(blobs)
        replace(blobs, IDENTITY_KEY, data)
    opened(blobs)
    truncate(blobs, IDENTITY_KEY, size=-1)
    with pytest.raises(Damaged, match=r"memory: repo\.json: "):
        opened(blobs)


def identity(**changes: Any) -> dict[str, Any]:
    at = "2026-01-01T00:00:00Z"
    return {"v": 1, "id": "x", "features": [], "created_at": at, "capabilities": {}} | changes


def without_version() -> dict[str, Any]:
    return {key: value for key, value in identity().items() if key != "v"}


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (identity(v=2), Refused, " was written by .* in format 2; .* install the newer one"),
        (identity(v=2, layout={"a": 1}), Refused, " was written by a newer version"),
        (
            identity(features=["sparse"]),
            Refused,
            r" was .* uses \['sparse'\]: install the newer one",
        ),
        (identity(features=[{}]), Refused, " was written by a newer version"),
        (identity(features=5), Damaged, ": not a repository"),
        (identity(features=None), Damaged, ": not a repository"),
        (identity(v=None), Damaged, ": not a repository"),
        (without_version(), Damaged, ": not a repository"),
        (identity(more=1), Damaged, ": not a repository"),
        (identity(id=None), Damaged, ": not a repository"),
        (identity(created_at="once"), Damaged, ": not a repository"),
    ],
)
def test_an_identity_that_this_version_does_not_understand(
    value: dict[str, Any], error: type[Exception], message: str
) -> None:
    blobs = MemoryBlobStore()
    blobs.create(IDENTITY_KEY, seal_json(value))
    with pytest.raises(error, match=rf"memory: repo\.json{message}"):
        opened(blobs)
    replace(blobs, IDENTITY_KEY, seal_json(identity()))
    assert opened(blobs).identity.id == "x"


def test_names_are_never_used_twice() -> None:
    blobs = MemoryBlobStore()
    one, other = repository(blobs, writer="w1"), repository(blobs, writer="w2")
    names = [home.new_name() for home in (one, other) for _ in range(3)]
    assert names == ["w1/0", "w1/1", "w1/2", "w2/0", "w2/1", "w2/2"]
    assert one.new_name("-") == "w1-3"


# Objects


@pytest.mark.parametrize("how", Lost)
@pytest.mark.parametrize("times", [1, PUT_ATTEMPTS - 1])
def test_an_object_whose_answer_was_lost_is_written_once(how: Lost, times: int) -> None:
    blobs = MemoryBlobStore()
    repository(blobs)
    home = opened(LostAnswers(blobs, how=how, times=times))
    ref = home.put("books/x", b"data")
    assert opened(blobs).fetch(ref) == b"data"
    assert ref == repository().put("books/x", b"data")


def test_an_object_that_cannot_be_established_is_unknown() -> None:
    blobs = MemoryBlobStore()
    repository(blobs)
    home = opened(LostAnswers(blobs, how=Lost.DROPPED, times=PUT_ATTEMPTS))
    with pytest.raises(OutcomeUnknown, match="books/x: could not establish whether it was written"):
        home.put("books/x", b"data")
    assert list(blobs.keys("books/")) == []


def test_a_store_out_of_reach_is_not_taken_for_a_write() -> None:
    blobs = MemoryBlobStore()
    repository(blobs)

    def hook(name: str, key: str, moment: str, n: int) -> None:
        if name == "create":
            raise Unavailable("gone")

    with pytest.raises(Unavailable, match="gone"):
        opened(Recording(blobs, hook=hook)).put("books/x", b"data")


def test_a_name_that_is_taken_by_other_bytes_is_an_alarm_and_keeps_them() -> None:
    home = repository()
    home.put("books/x", b"data")
    with pytest.raises(Damaged, match="books/x reads back differently from what was written"):
        home.put("books/x", b"date")
    assert home.blobs.read("books/x") == b"data"
    assert home.put("books/x", b"data").size_bytes == 4


def damages() -> Iterator[tuple[Callable[[BlobStore], None], str]]:
    yield lambda blobs: remove(blobs, "books/x"), r"books/x is missing from memory:"
    yield lambda blobs: truncate(blobs, "books/x", size=-1), r"books/x has 3 bytes, not 4"
    yield lambda blobs: truncate(blobs, "books/x", size=0), r"books/x has 0 bytes, not 4"
    yield lambda blobs: replace(blobs, "books/x", b"data+"), r"books/x has 5 bytes, not 4"
    yield lambda blobs: swap(blobs, "books/x", "books/y"), r"books/x has been altered: its SHA-256"


@pytest.mark.parametrize(
    "damage", list(damages()), ids=["gone", "cut", "emptied", "longer", "swapped"]
)
def test_an_object_comes_back_as_it_was_written_or_is_damaged(
    damage: tuple[Callable[[BlobStore], None], str],
) -> None:
    home = repository()
    ref, other = home.put("books/x", b"data"), home.put("books/y", b"else")
    assert (home.fetch(ref), home.fetch(other)) == (b"data", b"else")
    harm, message = damage
    harm(home.blobs)
    with pytest.raises(Damaged, match=message):
        home.fetch(ref)


def test_every_flipped_bit_of_an_object_is_found() -> None:
    home = repository()
    ref = home.put("books/x", bytes(range(16)))
    for offset in range(16):
        for bit in range(8):
            flip_bit(home.blobs, ref.key, offset=offset, bit=bit)
            with pytest.raises(Damaged, match="books/x has been altered"):
                home.fetch(ref)
            flip_bit(home.blobs, ref.key, offset=offset, bit=bit)
    assert home.fetch(ref) == bytes(range(16))


def test_an_empty_object_is_an_object() -> None:
    home = repository()
    assert home.fetch(home.put("books/x", b"")) == b""
    with pytest.raises(Damaged, match="books/z is missing"):
        home.fetch(ObjectRef(key="books/z", sha256="0" * 64, size_bytes=0))


class Measured(MemoryBlobStore):
    """Remembers the most bytes that were read at once."""

    most = 0

    def read(self, key: str, range: tuple[int, int] | None = None) -> bytes:
        data = super().read(key, range)
        self.most = max(self.most, len(data))
        return data


def test_whatever_lies_there_no_more_of_it_is_read_than_there_may_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(canary_objects, "JSON_LIMIT_BYTES", 1000)
    blobs = Measured()
    home, embedder = repository(blobs), HashingEmbedder(16).provenance
    blobs.create("books/x", b"d" * 100_000)
    blobs.create(f"books/canaries/{embedder.fingerprint[:16]}/w-0.json", b"1" * 100_000)
    with pytest.raises(Damaged, match="books/x reads back differently"):
        home.put("books/x", b"data")
    assert canary_objects.left_canaries(History(home, "books"), embedder) is None
    assert blobs.most <= 1001
