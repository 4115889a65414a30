"""Directories of tests: empty once a test passed, kept where it failed, never silently on disk."""

from pathlib import Path

import pytest

from tests import temporary

PLUGIN = ("-p", "tests.temporary", "-p", "no:cacheprovider")
WRITES = """
    def test_it(tmp_path):
        (tmp_path / "below").mkdir()
        (tmp_path / "below" / "file").touch()
        (tmp_path / "link").symlink_to("below")
        assert {passes}
"""


def left(pytester: pytest.Pytester, *, passes: bool) -> list[str]:
    """Names of files in the directory of a test after it ran."""
    pytester.makepyfile(WRITES.format(passes=passes))
    base = pytester.path / "base"
    pytester.runpytest_inprocess(*PLUGIN, f"--basetemp={base}").assert_outcomes(
        passed=passes, failed=not passes
    )
    [directory] = base.glob("test_it*[0-9]")
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*"))


def test_the_directory_of_a_test_that_passed_stays_and_is_empty(
    pytester: pytest.Pytester,
) -> None:
    assert left(pytester, passes=True) == []


def test_the_directory_of_a_test_that_failed_is_kept(pytester: pytest.Pytester) -> None:
    assert left(pytester, passes=False) == ["below", "below/file", "link"]


@pytest.mark.parametrize("memory", ["nowhere", "."])
def test_directories_on_disk_are_told(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, memory: str
) -> None:
    monkeypatch.setattr(temporary, "MEMORY", Path(memory))
    monkeypatch.setattr(temporary, "ROOM_BYTES", 0 if memory == "nowhere" else 1 << 62)
    monkeypatch.delenv(temporary.ROOT)
    pytester.makepyfile("def test_it(): pass")
    pytester.makeconftest("def pytest_configure(config): config.option.basetemp = None")
    result = pytester.runpytest_inprocess(*PLUGIN)
    result.stdout.fnmatch_lines(f"ON DISK: directories of tests were not in memory: {memory} is *")


def test_a_directory_that_somebody_chose_is_no_fallback(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(temporary, "MEMORY", Path("nowhere"))
    pytester.makepyfile("def test_it(): pass")
    pytester.runpytest_inprocess(*PLUGIN).stdout.no_fnmatch_line("ON DISK*")
