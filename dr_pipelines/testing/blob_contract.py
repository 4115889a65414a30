"""The contract that every blob store must meet.

class TestMyStore(BlobStoreContract):
    @pytest.fixture
    def blobs(self, tmp_path: Path) -> BlobStore:
        return MyStore(tmp_path)
"""

# ruff: noqa: S101 - a suite is made of assertions

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from dr_pipelines.errors import Conflict, InvalidRequest, NotFound
from dr_pipelines.protocols import BlobStore

KIB = 1024
LARGE = bytes(range(256)) * 32 * KIB
"""8 MiB."""
TEXT = b"0123456789"

ODD_KEYS = (
    "repo.json",
    "a",
    "A",
    "a/b-c_d.e/0001",
    "x@20260101T120000Z/log/1",
    "a b/ c",
    "percent%41%2F",
    "plus+and&=?#",
    "quote'\"<x>",
    "~tilde",
    ".hidden/.tmp",
    "a..b/..c/...",
    "ü/ñ/日本/🗝",
    "e\u0301",
    "\u00e9",
    "s/" + "n" * 255,
    "/".join(["long"] * 102),
)
ILLEGAL_KEYS = (
    "",
    "/",
    "/etc/passwd",
    "..",
    "../outside",
    "a/../b",
    "a/./b",
    "./a",
    "a//b",
    "a/",
    "a\\b",
    "..\\b",
    "nul\0",
    "line\n",
    "lone\udc80",
    ".tmp/a",
    "n" * 256,
    "/".join(["long"] * 103),
)
MISSING = "nothing/here"


class BlobStoreContract:
    """Subclass it, override the fixture `blobs` with an empty store, and that is all."""

    listed = 1100
    """How many keys the listing test creates; more than the 1,000 where listings get cut."""
    racers = 16

    @pytest.fixture
    def blobs(self) -> BlobStore:
        raise NotImplementedError("override the fixture `blobs` with an empty store")

    def test_what_was_created_is_read_back(self, blobs: BlobStore) -> None:
        blobs.create("a/b", TEXT)
        assert (blobs.read("a/b"), blobs.size("a/b")) == (TEXT, len(TEXT))

    def test_an_empty_object_is_an_object(self, blobs: BlobStore) -> None:
        blobs.create("empty", b"")
        assert (blobs.read("empty"), blobs.size("empty")) == (b"", 0)
        assert blobs.read("empty", (0, 10)) == b""
        assert list(blobs.keys("")) == ["empty"]

    def test_a_large_object_is_read_back_whole(self, blobs: BlobStore) -> None:
        blobs.create("large", LARGE)
        assert blobs.size("large") == len(LARGE)
        assert blobs.read("large") == LARGE
        assert blobs.read("large", (len(LARGE) - 300, len(LARGE))) == LARGE[-300:]

    def test_a_memoryview_is_stored_as_it_is_now(self, blobs: BlobStore) -> None:
        buffer = bytearray(b"xx" + TEXT + b"xx")
        blobs.create("view", memoryview(buffer)[2:-2])
        buffer[:] = bytes(len(buffer))
        assert blobs.read("view") == TEXT

    @pytest.mark.parametrize(
        "range", [(0, 10), (0, 1), (9, 10), (3, 7), (5, 5), (0, 0), (10, 10)], ids=str
    )
    def test_a_range_is_start_to_before_stop(
        self, blobs: BlobStore, range: tuple[int, int]
    ) -> None:
        blobs.create("text", TEXT)
        assert blobs.read("text", range) == TEXT[slice(*range)]

    @pytest.mark.parametrize(
        "range", [(0, 11), (8, 1000), (10, 11), (11, 12), (5000, 2**40)], ids=str
    )
    def test_a_range_past_the_end_gives_what_is_there(
        self, blobs: BlobStore, range: tuple[int, int]
    ) -> None:
        blobs.create("text", TEXT)
        assert blobs.read("text", range) == TEXT[slice(*range)]

    @pytest.mark.parametrize("range", [(-1, 3), (4, 3), (-3, -1)], ids=str)
    def test_a_range_that_is_none_is_refused(
        self, blobs: BlobStore, range: tuple[int, int]
    ) -> None:
        blobs.create("text", TEXT)
        with pytest.raises(InvalidRequest):
            blobs.read("text", range)

    def test_a_second_create_conflicts_and_changes_nothing(self, blobs: BlobStore) -> None:
        blobs.create("a", TEXT)
        for data in (b"other", TEXT, b""):
            with pytest.raises(Conflict):
                blobs.create("a", data)
            assert (blobs.read("a"), blobs.size("a")) == (TEXT, len(TEXT))

    def test_an_empty_object_is_not_created_again(self, blobs: BlobStore) -> None:
        blobs.create("a", b"")
        with pytest.raises(Conflict):
            blobs.create("a", TEXT)
        assert blobs.read("a") == b""

    def test_of_concurrent_creates_one_wins(self, blobs: BlobStore) -> None:
        contents = [b"%d" % n * 100 for n in range(self.racers)]
        for key in ("race/1", "race/2", "race/3"):
            winners = self._race(blobs, key, contents)
            assert len(winners) == 1
            assert blobs.read(key) == winners[0]

    def test_concurrent_creates_of_different_keys_all_succeed(self, blobs: BlobStore) -> None:
        start = Barrier(self.racers)

        def create(n: int) -> None:
            start.wait()
            blobs.create(f"new/{n % 4}/{n:02}", b"%d" % n)

        with ThreadPoolExecutor(self.racers) as threads:
            list(threads.map(create, range(self.racers)))
        stored = {key: blobs.read(key) for key in blobs.keys("new/")}
        assert stored == {f"new/{n % 4}/{n:02}": b"%d" % n for n in range(self.racers)}

    def test_a_missing_object_is_not_found(self, blobs: BlobStore) -> None:
        blobs.create("nothing/else", b"")
        calls: list[Callable[[], object]] = [
            lambda: blobs.read(MISSING),
            lambda: blobs.read(MISSING, (0, 1)),
            lambda: blobs.read(MISSING, (0, 0)),
            lambda: blobs.size(MISSING),
            lambda: blobs.delete(MISSING),
            lambda: blobs.read("nothing"),
            lambda: blobs.size("nothing"),
            lambda: blobs.delete("nothing"),
        ]
        for call in calls:
            with pytest.raises(NotFound):
                call()
        assert list(blobs.keys("")) == ["nothing/else"]

    def test_a_deleted_object_is_gone_and_its_neighbours_stay(self, blobs: BlobStore) -> None:
        for key in ("a", "ab", "a-/b"):
            blobs.create(key, key.encode())
        blobs.delete("a")
        with pytest.raises(NotFound):
            blobs.read("a")
        with pytest.raises(NotFound):
            blobs.size("a")
        with pytest.raises(NotFound):
            blobs.delete("a")
        assert list(blobs.keys("")) == ["a-/b", "ab"]

    def test_a_deleted_key_may_be_created_again(self, blobs: BlobStore) -> None:
        blobs.create("a", b"1")
        blobs.delete("a")
        blobs.create("a", b"22")
        assert (blobs.read("a"), blobs.size("a")) == (b"22", 2)

    def test_an_empty_store_lists_nothing(self, blobs: BlobStore) -> None:
        assert list(blobs.keys("")) == []
        blobs.create("only", b"")
        blobs.delete("only")
        assert list(blobs.keys("")) == []
        assert list(blobs.keys("any/")) == []

    def test_keys_ascend_bytewise(self, blobs: BlobStore) -> None:
        """`-` and `.` sort before `/`: not the order in which a directory is walked."""
        keys = ["a/b", "a-b", "a.b", "a0", "a/b.c", "B", "a/-", "a/b-/c", "z/é", "z/z"]
        for key in keys:
            blobs.create(key, b"")
        assert list(blobs.keys("")) == sorted(keys, key=str.encode)

    def test_a_prefix_is_text_not_a_directory(self, blobs: BlobStore) -> None:
        keys = ["log/0001", "log/0002", "log/0010", "log/0020/x", "log2/0001", "lo", "x/log/0001"]
        for key in keys:
            blobs.create(key, b"")
        prefixes = ["", "l", "lo", "log", "log/", "log/00", "log/001", "log/0020/", "y", "log/y"]
        for prefix in prefixes:
            assert list(blobs.keys(prefix)) == sorted(k for k in keys if k.startswith(prefix))

    def test_a_listing_is_complete_however_long(self, blobs: BlobStore) -> None:
        keys = [f"many/{n % 7}/{n:06}" for n in range(self.listed)]
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda key: blobs.create(key, b""), keys))
        assert list(blobs.keys("many/")) == sorted(keys)

    def test_odd_keys_are_kept_apart_and_listed(self, blobs: BlobStore) -> None:
        legal = [key for key in ODD_KEYS if key != "a"]
        for key in legal:
            blobs.create(key, key.encode())
        assert {key: blobs.read(key) for key in legal} == {key: key.encode() for key in legal}
        assert list(blobs.keys("")) == sorted(legal, key=str.encode)
        assert [next(blobs.keys(key)) for key in legal] == legal

    def test_a_key_that_could_escape_is_refused_by_every_call(self, blobs: BlobStore) -> None:
        for key in ILLEGAL_KEYS:
            calls: list[Callable[[str], object]] = [
                lambda key: blobs.create(key, b"x"),
                blobs.read,
                blobs.size,
                blobs.delete,
            ]
            for call in calls:
                with pytest.raises(InvalidRequest) as refused:
                    call(key)
                assert refused.type is InvalidRequest
        assert list(blobs.keys("")) == []

    def test_a_prefix_that_could_escape_is_refused(self, blobs: BlobStore) -> None:
        for prefix in ("/", "../", "a/../b", "a//b", "\\", "a\0", ".tmp/"):
            with pytest.raises(InvalidRequest):
                list(blobs.keys(prefix))

    def test_the_url_says_where_it_is(self, blobs: BlobStore) -> None:
        assert ":" in blobs.url

    def _race(self, blobs: BlobStore, key: str, contents: list[bytes]) -> list[bytes]:
        """The contents of those who were told that they had created the object."""
        start = Barrier(len(contents))

        def attempt(data: bytes) -> bool:
            start.wait()
            try:
                blobs.create(key, data)
            except Conflict:
                return False
            return True

        with ThreadPoolExecutor(len(contents)) as threads:
            won = list(threads.map(attempt, contents))
        return [data for data, first in zip(contents, won, strict=True) if first]
