"""Files made on this machine are private to their owner, or to a group if the policy says so."""

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dr_pipelines.blobs.local import LocalBlobStore
from dr_pipelines.errors import Damaged
from dr_pipelines.host import permissions
from dr_pipelines.host.permissions import (
    Access,
    temporary_directory,
    too_open,
    umask_for,
)
from tests.cli.workplace import Workplace, furnish

OPEN = 0o022
"""The usual umask, under which everybody may read what is made."""


@pytest.fixture
def usual_umask() -> Iterator[None]:
    before = os.umask(OPEN)
    yield
    os.umask(before)


@pytest.fixture
def place(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    usual_umask: None,
) -> Workplace:
    furnish(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DR_POLICIES", raising=False)
    return Workplace(tmp_path, capsys)


def modes(*roots: Path) -> dict[str, set[int]]:
    """The modes of all directories, and of all files, under some."""
    by_kind: dict[str, set[int]] = {"directories": set(), "files": set()}
    for root in roots:
        for path in (root, *root.rglob("*")):
            kind = "directories" if path.is_dir() else "files"
            by_kind[kind].add(stat.S_IMODE(path.lstat().st_mode))
    return by_kind


def made(place: Workplace) -> list[Path]:
    return [place.directory / name for name in ("repository", "state", "stores")]


def work(place: Workplace) -> None:
    for command in (["ingest", "notes"], ["backup", "notes"], ["restore", "notes", "--switch"]):
        assert place.dr(*command).code == 0, command


def test_what_a_command_makes_is_for_its_owner_alone(place: Workplace) -> None:
    work(place)
    assert modes(*made(place)) == {"directories": {0o700}, "files": {0o600}}
    assert place.dr("status", "--json").json["warnings"] == []


def test_a_policy_opens_it_to_a_group(place: Workplace) -> None:
    policies = place.directory / "policies.yaml"
    policies.write_text("access: group\n" + policies.read_text())
    work(place)
    by_kind = modes(*made(place))
    assert all(mode & 0o770 == 0o770 and not mode & 0o007 for mode in by_kind["directories"])
    assert by_kind["files"] == {0o660}
    assert place.dr("status", "--json").json["warnings"] == []


def test_who_could_read_a_store_can_read_what_is_restored_into_it(place: Workplace) -> None:
    """The program that serves it is often another user."""
    (place.directory / "stores").mkdir(0o755)
    work(place)
    assert modes(place.directory / "stores")["files"] == {0o644}
    assert modes(*made(place)[:2]) == {"directories": {0o700}, "files": {0o600}}


def test_a_directory_that_is_too_open_is_named_by_status(place: Workplace) -> None:
    (place.directory / "repository").mkdir(0o755)
    work(place)
    [warning] = place.dr("status", "--json").json["warnings"]
    assert "can be looked into by anybody on this machine (mode 755). Run: chmod 700" in warning
    assert "warning:" in place.dr("status").out


@pytest.mark.parametrize(
    ("mode", "access", "says"),
    [
        (0o700, Access.PRIVATE, None),
        (0o750, Access.PRIVATE, "by its group (mode 750). Run: chmod 700 PATH, or say access"),
        (0o755, Access.PRIVATE, "by anybody on this machine (mode 755). Run: chmod 700 PATH"),
        (0o770, Access.GROUP, None),
        (0o775, Access.GROUP, "by anybody on this machine (mode 775). Run: chmod 770 PATH"),
    ],
)
def test_too_open(tmp_path: Path, mode: int, access: Access, says: str | None) -> None:
    tmp_path.chmod(mode)
    message = too_open(tmp_path, access)
    if says is None:
        assert message is None
    else:
        assert message is not None
        assert says in message.replace(str(tmp_path), "PATH")


def test_engines_make_files_as_open_as_the_store_that_is_there(tmp_path: Path) -> None:
    shut, shared = tmp_path / "shut", tmp_path / "shared"
    shut.mkdir(0o700)
    shared.mkdir()
    shared.chmod(0o750)
    assert umask_for([]) == umask_for([shut, tmp_path / "none"]) == 0o077
    assert umask_for([shut], Access.GROUP) == 0o007
    assert umask_for([shut, shared]) == 0o027


def test_temporary_files_lie_where_they_were_told_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, usual_umask: None
) -> None:
    monkeypatch.setenv(permissions.TEMPORARY, str(tmp_path / "state" / "temporary"))
    os.umask(umask_for([]))
    with temporary_directory("sort") as name:
        assert Path(name).parent == tmp_path / "state" / "temporary"
    assert modes(tmp_path / "state") == {"directories": {0o700}, "files": set()}


def test_what_a_dead_process_left_is_removed_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(permissions.TEMPORARY, str(tmp_path))
    with subprocess.Popen(["true"]) as process:
        process.wait()
    names = {
        "dead": f"dr-fold-{process.pid}-a",
        "young": f"dr-fold-{process.pid}-b",
        "alive": f"dr-fold-{os.getpid()}-c",
        "other": "somebody's",
    }
    for kind, name in names.items():
        (tmp_path / name).mkdir()
        if kind != "young":
            os.utime(tmp_path / name, (0, 0))
    with temporary_directory("sort"):
        left = {path.name for path in tmp_path.iterdir()} - {names["dead"]}
        assert {names["young"], names["alive"], names["other"]} <= left
        assert not (tmp_path / names["dead"]).exists()


def test_a_symbolic_link_for_temporary_files_of_a_repository_is_refused(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / ".tmp").symlink_to(elsewhere)
    with pytest.raises(Damaged, match=r"\.tmp was replaced by a symbolic link"):
        LocalBlobStore(tmp_path / "blobs").create("a", b"x")
    assert not list(elsewhere.iterdir())
