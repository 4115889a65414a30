"""Results of commands: text on a terminal, JSON for programs, and an exit code."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from dr_pipelines.errors import (
    DrError,
    InvalidRequest,
    NotFound,
    OutcomeUnknown,
    TimedOut,
)
from dr_pipelines.model.display import displayed, displayed_json

if TYPE_CHECKING:  # Rich is imported when something is shown
    from rich.console import Console


class ExitCode(IntEnum):
    """How a command ended."""

    SUCCEEDED = 0
    FAILED = 1
    USAGE = 2
    PARTIAL = 3  # done, but not all of it: something needs a person's attention
    UNKNOWN = 4  # the answer to a commit was lost: read before repeating
    TIMED_OUT = 5  # it took longer than it may: the same command goes on
    INTERRUPTED = 130


class Mistake(InvalidRequest):
    """Ask for something else: the command's own words are wrong."""


@dataclass(frozen=True)
class Answer:
    """`value` is printed with --json, `show` writes the same for people."""

    value: dict[str, Any]
    show: "Callable[[Console], None]"
    code: ExitCode = ExitCode.SUCCEEDED


@contextmanager
def asking() -> Iterator[None]:
    """Context in which an `InvalidRequest` is a mistake in the command's words; raises
    `Mistake`."""
    try:
        yield
    except (NotFound, Mistake):
        raise
    except InvalidRequest as error:
        raise Mistake(str(error)) from error


def give(answer: Answer, *, as_json: bool) -> ExitCode:
    """Print an answer and return its code."""
    if as_json:
        print_json(answer.value)
    else:
        from dr_pipelines.cli.console import output

        answer.show(output())
    return answer.code


def print_json(value: dict[str, Any]) -> None:
    """One JSON document on standard output."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    sys.stdout.write(displayed_json(text) + "\n")


def complain(message: str, *, kind: str, as_json: bool) -> None:
    """Say on standard error what went wrong, and with --json on standard output too."""
    sys.stderr.write(f"{displayed(message)}\n")
    if as_json:
        print_json({"error": message, "kind": kind})


def code_of(error: DrError) -> ExitCode:
    """The exit code of an error."""
    from dr_pipelines.host.extras import ExtraMissing
    from dr_pipelines.project.policy_file import InvalidPolicy

    if isinstance(error, (Mistake, InvalidPolicy, ExtraMissing)):
        return ExitCode.USAGE
    if isinstance(error, OutcomeUnknown):
        return ExitCode.UNKNOWN
    if isinstance(error, TimedOut):
        return ExitCode.TIMED_OUT
    return ExitCode.FAILED
