"""Runs a command line: parses it, carries it out, and turns what goes wrong into words and a
code."""

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import typer

from dr_pipelines.cli.output import ExitCode, code_of, complain
from dr_pipelines.errors import DrError, in_words
from dr_pipelines.host.allocator import retain_memory
from dr_pipelines.project.extras import missing_extra

REPORT = "This is a defect in dr_pipelines: please report it with what --debug prints"
INTERRUPTED = "interrupted; run the same command again to go on"


def run(arguments: Sequence[str]) -> int:
    """Carry out a command line and return its exit code; never raises."""
    retain_memory(os.environ)
    words = list(arguments)
    as_json, debug = "--json" in words, _debug(words)
    try:
        code = _main()(words, prog_name="dr", standalone_mode=False)
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    except DrError as error:
        return _complained(error, debug=debug, as_json=as_json)
    except typer.TyperException as error:
        complain(_usage(error), kind="Usage", as_json=as_json)
        return ExitCode.USAGE
    except BrokenPipeError:
        _close_output()
        return ExitCode.FAILED
    except Exception as error:  # noqa: BLE001 - the last line of defence: said, not hidden
        missing = missing_extra(error) if isinstance(error, ImportError) else None
        if missing:
            return _complained(missing, debug=debug, as_json=as_json)
        if debug:
            traceback.print_exc()
        message = f"{type(error).__name__}: {error}. {REPORT}"
        complain(message, kind="Defect", as_json=as_json)
        return ExitCode.FAILED
    if code == ExitCode.INTERRUPTED:
        complain(INTERRUPTED, kind="Interrupted", as_json=as_json)
    return int(code or 0)


@cache
def _main() -> Callable[..., Any]:
    """The parser of command lines, which carries them out; made once for a process."""
    from dr_pipelines.cli.app import app

    return typer.main.get_command(app).main


def _complained(error: DrError, *, debug: bool, as_json: bool) -> int:
    if debug:
        traceback.print_exc()
    complain(in_words(error), kind=type(error).__name__, as_json=as_json)
    return code_of(error)


def _debug(words: list[str]) -> bool:
    """True if stack traces are requested; `--debug` may stand anywhere and is removed."""
    requested = "--debug" in words
    if requested:
        words.remove("--debug")
    return requested or os.environ.get("DR_DEBUG") == "1"


def _usage(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    where = context.command_path if context else "dr"
    return f"{where}: {error.format_message()}\nTry: {where} --help"


def _close_output() -> None:
    """Whoever read our output has gone: nothing more can be said there."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
