"""Where the directories of tests lie: in memory where it has room; emptied once a test passed."""

import os
import shutil
from collections.abc import Generator
from pathlib import Path

import pytest

MEMORY = Path("/dev/shm")
ROOM_BYTES = 4 << 30
ROOT = "PYTEST_DEBUG_TEMPROOT"
FAILED = pytest.StashKey[bool]()
ON_DISK = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    """Let `tmp_path` lie in memory, unless somebody said where. Tests of lost power play it:
    none needs a disk, and waiting for one took longer than many a test."""
    if config.option.basetemp is not None or ROOT in os.environ:
        return
    if _has_room(MEMORY):
        os.environ[ROOT] = str(MEMORY)
    else:
        config.stash[ON_DISK] = True


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say why this run may have taken longer than others."""
    if config.stash.get(ON_DISK, False):
        terminalreporter.write_line(
            f"ON DISK: directories of tests were not in memory: {MEMORY} is not there, may not be "
            f"used, or has less than {ROOM_BYTES >> 30} GiB free",
            yellow=True,
        )


def _has_room(directory: Path) -> bool:
    """Also that programs may be run from there: in some containers nothing may."""
    if not directory.is_dir() or not os.access(directory, os.W_OK):
        return False
    status = os.statvfs(directory)
    return status.f_bavail * status.f_frsize >= ROOM_BYTES and not status.f_flag & os.ST_NOEXEC


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    item.stash[FAILED] = report.failed or item.stash.get(FAILED, False)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """Empty the directory of a test that passed. The directory stays, so that no later test is
    given its path: libraries keep what they read in this process by path."""
    arguments: dict[str, object] = getattr(item, "funcargs", {})  # gone once all is torn down
    directory = arguments.get("tmp_path")
    yield
    if isinstance(directory, Path) and not item.stash.get(FAILED, False):
        empty(directory)


def empty(directory: Path) -> None:
    """Remove what a directory holds, as far as it can be removed."""
    for path in directory.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
