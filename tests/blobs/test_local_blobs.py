"""Objects as files: the contract, what survives a power cut, and what a directory can do wrong."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dr_pipelines.blobs.local import LocalBlobStore, OsFiles
from dr_pipelines.errors import (
    Conflict,
    Damaged,
    InvalidRequest,
    NotFound,
    OutcomeUnknown,
    Unavailable,
)
from dr_pipelines.protocols import BlobStore
from dr_pipelines.testing.blob_contract import BlobStoreContract
from dr_pipelines.testing.file_faults import Names, PowerCut, RecordingFiles

DATA = b"what must not be lost" * 100


class TestLocal(BlobStoreContract):
    @pytest.fixture
    def blobs(self, tmp_path: Path) -> BlobStore:
        return LocalBlobStore(tmp_path)


class Killed(BaseException):
    """The process ended; the machine went on."""


class FailingFiles(OsFiles):
    """Every call of one name fails with one error."""

    def __init__(self, call: str, number: int) -> None:
        def fail(*_: object) -> None:
            raise OSError(number, os.strerror(number))

        setattr(self, call, fail)


def at(n: int, raised: type[BaseException]) -> Callable[[str, Path, int], None]:
    def hook(call: str, path: Path, number: int) -> None:
        if number == n:
            raise raised

    return hook


def state(blobs: BlobStore) -> dict[str, bytes]:
    return {key: blobs.read(key) for key in blobs.keys("")}


def test_an_object_survives_a_power_cut_right_after_its_creation(tmp_path: Path) -> None:
    files = RecordingFiles(tmp_path)
    LocalBlobStore(tmp_path / "new" / "repo", files).create("handbook/log/1", DATA)
    files.power_cut()
    assert state(LocalBlobStore(tmp_path / "new" / "repo")) == {"handbook/log/1": DATA}


@pytest.mark.parametrize(("names", "last"), [("synced", {}), ("all", {"log/2": DATA})])
def test_a_power_cut_at_any_step_leaves_the_object_whole_or_absent(
    tmp_path: Path, names: Names, last: dict[str, bytes]
) -> None:
    outcomes = []
    for step in range(1, 100):
        root = tmp_path / str(step)
        LocalBlobStore(root / "repo").create("log/1", b"one")
        files = RecordingFiles(root, hook=at(step, PowerCut))
        try:
            LocalBlobStore(root / "repo", files).create("log/2", DATA)
        except PowerCut:
            files.power_cut(names=names)
            after = LocalBlobStore(root / "repo")
            outcomes.append(state(after))
            assert state(after) in ({"log/1": b"one"}, {"log/1": b"one", "log/2": DATA})
            continue
        break
    assert len(outcomes) == len(files.calls) >= 6
    assert outcomes[-1] == {"log/1": b"one"} | last  # without the last step, both may be


def test_a_process_killed_at_any_step_leaves_room_for_the_next(tmp_path: Path) -> None:
    for step in range(1, 100):
        (tmp_path / str(step)).mkdir()
        killed = RecordingFiles(tmp_path / str(step), hook=at(step, Killed))
        try:
            LocalBlobStore(tmp_path / str(step) / "repo", killed).create("log/1", DATA)
        except Killed:
            after = LocalBlobStore(tmp_path / str(step) / "repo")
            before = state(after) if (tmp_path / str(step) / "repo").exists() else {}
            assert before in ({}, {"log/1": DATA})
            if before:
                with pytest.raises(Conflict):
                    after.create("log/1", b"other")
            else:
                after.create("log/1", b"other")
            continue
        break
    assert step > 8


def test_whoever_conflicts_may_build_on_what_the_winner_did_not_sync(tmp_path: Path) -> None:
    """The winner died between its link and the sync of the directory."""
    dying: list[str] = []

    def hook(call: str, path: Path, number: int) -> None:
        if dying and call == "unlink":
            raise Killed

    files = RecordingFiles(tmp_path, hook=hook)
    LocalBlobStore(tmp_path, files).create("log/1", b"one")
    dying.append("now")
    with pytest.raises(Killed):
        LocalBlobStore(tmp_path, files).create("log/2", DATA)
    dying.clear()
    with pytest.raises(Conflict):
        LocalBlobStore(tmp_path, files).create("log/2", b"other")
    files.power_cut()
    assert state(LocalBlobStore(tmp_path)) == {"log/1": b"one", "log/2": DATA}


def test_a_directory_that_another_left_unsynced_is_made_durable(tmp_path: Path) -> None:
    """The first process died between making the directory and syncing its parent."""
    files = RecordingFiles(tmp_path)
    files.make_directory(tmp_path / "repo")
    files.make_directory(tmp_path / "repo" / "log")
    LocalBlobStore(tmp_path / "repo", files).create("log/1", DATA)
    files.power_cut()
    assert state(LocalBlobStore(tmp_path / "repo")) == {"log/1": DATA}


def test_a_deleted_object_stays_deleted_after_a_power_cut(tmp_path: Path) -> None:
    files = RecordingFiles(tmp_path)
    blobs = LocalBlobStore(tmp_path, files)
    blobs.create("a/b", DATA)
    blobs.delete("a/b")
    files.power_cut()
    assert state(LocalBlobStore(tmp_path)) == {}


def test_what_was_not_synced_is_gone_after_a_power_cut(tmp_path: Path) -> None:
    """The layer itself: it forgets bytes, names and deletions."""
    (tmp_path / "kept").write_bytes(b"kept")
    files = RecordingFiles(tmp_path)
    files.write_new(tmp_path / "named", b"bytes without a sync")
    files.write_new(tmp_path / "synced", b"bytes")
    files.sync_file(tmp_path / "synced")
    files.make_directory(tmp_path / "directory")
    files.unlink(tmp_path / "kept")
    files.sync_directory(tmp_path)
    files.write_new(tmp_path / "directory" / "unnamed", b"bytes")
    files.sync_file(tmp_path / "directory" / "unnamed")
    files.unlink(tmp_path / "synced")
    files.power_cut()
    left = {path.name: path.is_dir() or path.read_bytes() for path in tmp_path.rglob("*")}
    assert left == {"named": b"", "synced": b"bytes", "directory": True}
    with pytest.raises(PowerCut):
        files.unlink(tmp_path / "synced")


@pytest.mark.parametrize(
    ("call", "number", "raised", "says"),
    [
        ("make_directory", errno.EACCES, Unavailable, "Permission denied"),
        ("write_new", errno.ENOSPC, Unavailable, "No space left"),
        ("sync_file", errno.EIO, Unavailable, "Input/output error"),
        ("link", errno.EOPNOTSUPP, InvalidRequest, "hard links"),
        ("sync_directory", errno.EIO, Unavailable, "Input/output error"),
    ],
)
def test_a_create_that_fails_says_why_and_leaves_nothing(
    tmp_path: Path, call: str, number: int, raised: type[Exception], says: str
) -> None:
    with pytest.raises(raised, match=says):
        LocalBlobStore(tmp_path, FailingFiles(call, number)).create("log/1", DATA)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_create_whose_last_sync_fails_has_an_unknown_outcome(tmp_path: Path) -> None:
    class Failing(OsFiles):
        def sync_directory(self, path: Path) -> None:
            if path.name == "log":
                raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(OutcomeUnknown, match="log/1 may not survive"):
        LocalBlobStore(tmp_path, Failing()).create("log/1", DATA)


def test_an_unreadable_sector_is_damage(tmp_path: Path) -> None:
    LocalBlobStore(tmp_path).create("a", DATA)
    with pytest.raises(Damaged, match="Input/output error"):
        LocalBlobStore(tmp_path, FailingFiles("read", errno.EIO)).read("a")


def test_a_read_that_ends_early_is_damage(tmp_path: Path) -> None:
    class Short(OsFiles):
        def read(self, path: Path, start: int, stop: int) -> bytes:
            return super().read(path, start, stop)[:-1]

    LocalBlobStore(tmp_path).create("a", b"0123456789")
    with pytest.raises(Damaged, match="a ended early, after 9 of 10 bytes"):
        LocalBlobStore(tmp_path, Short()).read("a")


def test_a_listing_that_cannot_be_read_is_not_an_empty_one(tmp_path: Path) -> None:
    LocalBlobStore(tmp_path).create("a/b", DATA)
    with pytest.raises(Unavailable, match="Permission denied"):
        list(LocalBlobStore(tmp_path, FailingFiles("entries", errno.EACCES)).keys("a/"))


def test_directories_deeper_than_any_object_are_named_and_not_followed(tmp_path: Path) -> None:
    LocalBlobStore(tmp_path).create("a/b", DATA)
    tmp_path.joinpath("a", *["d"] * 300).mkdir(parents=True)
    keys = LocalBlobStore(tmp_path).keys("a/")
    assert next(keys) == "a/b"
    with pytest.raises(Damaged, match=r"a/d/d/d/.*… is deeper than any object$"):
        next(keys)


def test_a_directory_that_is_not_there_is_unavailable_not_empty(tmp_path: Path) -> None:
    blobs = LocalBlobStore(tmp_path / "unmounted")
    calls: list[Callable[[], object]] = [
        lambda: list(blobs.keys("")),
        lambda: list(blobs.keys("a/")),
        lambda: blobs.read("a"),
        lambda: blobs.size("a/b"),
        lambda: blobs.delete("a"),
    ]
    for call in calls:
        with pytest.raises(Unavailable, match="no such directory; is its disk mounted"):
            call()


def test_opening_a_store_makes_nothing_and_creating_makes_its_directory(tmp_path: Path) -> None:
    blobs = LocalBlobStore(tmp_path / "x" / "repo")
    assert list(tmp_path.iterdir()) == []
    blobs.create("a", DATA)
    assert state(blobs) == {"a": DATA}


def test_a_key_never_leaves_the_root_through_a_symbolic_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    root = tmp_path / "repo"
    root.mkdir()
    (root / "linked").symlink_to(outside)
    (root / "secret").symlink_to(outside / "secret")
    (root / "loop").symlink_to(root / "loop")
    blobs = LocalBlobStore(root)
    calls: list[Callable[[], object]] = [
        lambda: blobs.read("linked/secret"),
        lambda: blobs.size("linked/secret"),
        lambda: blobs.delete("linked/secret"),
        lambda: blobs.create("linked/new", b"x"),
        lambda: blobs.create("linked/deep/new", b"x"),
        lambda: list(blobs.keys("linked/")),
        lambda: blobs.read("secret"),
        lambda: blobs.size("secret"),
        lambda: blobs.delete("secret"),
        lambda: blobs.read("loop"),
        lambda: blobs.size("loop/x"),
    ]
    for call in calls:
        with pytest.raises(Damaged):
            call()
    with pytest.raises(Conflict):
        blobs.create("secret", b"x")
    assert list(blobs.keys("")) == []
    assert {path.name: path.read_bytes() for path in outside.iterdir()} == {"secret": b"secret"}


def test_a_root_that_is_a_symbolic_link_is_the_directory_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    LocalBlobStore(tmp_path / "link").create("a/b", DATA)
    assert state(LocalBlobStore(tmp_path / "real")) == {"a/b": DATA}


def test_a_key_cannot_be_the_directory_of_another(tmp_path: Path) -> None:
    blobs = LocalBlobStore(tmp_path)
    blobs.create("a", DATA)
    blobs.create("b/c", DATA)
    for key in ("a/x", "a/x/y", "b"):
        with pytest.raises(InvalidRequest, match="is the directory of another key") as refused:
            blobs.create(key, b"x")
        assert refused.type is InvalidRequest
    with pytest.raises(NotFound):
        blobs.read("a/x")
    blobs.delete("a")
    blobs.create("a/x", DATA)
    assert state(blobs) == {"a/x": DATA, "b/c": DATA}


def test_a_directory_removed_meanwhile_is_made_again_on_the_next_attempt(tmp_path: Path) -> None:
    blobs = LocalBlobStore(tmp_path)
    blobs.create("a/b", DATA)
    blobs.delete("a/b")
    (tmp_path / "a").rmdir()
    with pytest.raises(Unavailable, match="a directory of a/b was removed"):
        blobs.create("a/b", DATA)
    blobs.create("a/b", DATA)
    assert state(blobs) == {"a/b": DATA}


def test_temporary_files_of_a_killed_process_are_no_objects(tmp_path: Path) -> None:
    class Dying(OsFiles):
        def link(self, source: Path, target: Path) -> None:
            raise Killed

        def unlink(self, path: Path) -> None:
            raise Killed

    with pytest.raises(Killed):
        LocalBlobStore(tmp_path, Dying()).create("a/b", DATA)
    assert [path.read_bytes() for path in tmp_path.glob(".tmp/*")] == [DATA]
    assert state(LocalBlobStore(tmp_path)) == {}


def test_the_url_names_the_directory(tmp_path: Path) -> None:
    assert LocalBlobStore(tmp_path / "a b").url == (tmp_path / "a b").as_uri()
