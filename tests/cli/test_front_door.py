"""Help, version, completion, and words that are nearly right."""

import subprocess
import sys
from pathlib import Path

import pytest

from dr_pipelines import __version__
from dr_pipelines.cli.app import app, help_of
from tests.cli.workplace import Workplace


def test_dr_alone_shows_its_help_and_is_no_error(fresh: Workplace) -> None:
    alone, helped = fresh.dr(), fresh.dr("--help")
    assert (alone.code, alone.err) == (0, "")
    assert "Usage: dr" in alone.out
    assert alone.out.split() == helped.out.split()


def test_the_version_is_that_of_the_package(fresh: Workplace) -> None:
    result = fresh.dr("--version")
    assert (result.code, result.out) == (0, f"dr_pipelines {__version__}\n")


def test_paragraphs_of_help_break_only_where_the_terminal_does() -> None:
    docstring = """Do a thing that takes
    two lines to say.

    Examples:
      dr do it
      dr do it twice

    Exit code 3: a long
    reason.
    """
    assert help_of(docstring) == (
        "Do a thing that takes two lines to say.\n\n"
        "Examples:\n  dr do it\n  dr do it twice\n\n"
        "Exit code 3: a long reason."
    )


def test_no_command_has_a_line_break_within_a_sentence() -> None:
    for command in app.registered_commands:
        assert command.help
        for paragraph in command.help.split("\n\n"):
            lines = paragraph.splitlines()
            assert all(line.startswith(" ") for line in lines[1:]), (command.callback, lines)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("points note", "known are: memories, notes; did you mean 'notes'?"),
        ("restore notes --store locl", "known are: local, other; did you mean 'local'?"),
        ("restore notes --route replay --embedder wide", "did you mean 'wider'?"),
        ("status --policy x", "No such option: --policy"),
        ("bakup notes", "Did you mean 'backup'?"),
    ],
)
def test_a_word_that_is_nearly_right_is_answered_with_the_right_one(
    protected: Workplace, words: str, says: str
) -> None:
    result = protected.dr(*words.split())
    assert result.code in (1, 2)
    assert says in result.err


def completed(directory: Path, words: str) -> list[str]:
    """Completions that a shell offers for the last of some words."""
    ran = subprocess.run(
        [str(Path(sys.executable).with_name("dr"))],
        env={
            "_DR_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split(" ")) - 1),
            "PATH": "/usr/bin:/bin",
        },
        cwd=directory,
        capture_output=True,
        text=True,
        check=True,
    )
    return ran.stdout.split()


def test_a_shell_completes_commands_and_collections(fresh: Workplace, tmp_path: Path) -> None:
    assert completed(fresh.directory, "dr re") == ["recover", "restore", "replay"]
    assert completed(fresh.directory, "dr points no") == ["notes"]
    (fresh.directory / "policies.yaml").unlink()
    assert completed(fresh.directory, "dr points no") == []
