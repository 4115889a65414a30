"""Running the `git` executable: no shell, no settings from the environment, no waiting for ever."""

import os
import select
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from dr_pipelines.errors import InvalidRequest, NotFound, Unavailable

TIMEOUT_SECONDS = 120
READ_BYTES = 1024 * 1024
SETTINGS = ("core.quotepath=false", "core.fsmonitor=false")
"""Names as they are, and nothing is run."""


def git_environment(directory: Path) -> dict[str, str]:
    """The environment without any GIT_ variable; the repository is the directory itself, never one
    around it."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    return inherited | {
        "LC_ALL": "C",
        "GIT_ALLOW_PROTOCOL": "none",  # overrides what the repository's own settings allow
        "GIT_CEILING_DIRECTORIES": str(directory.resolve().parent),
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
    }


def run_git(directory: Path, *arguments: str) -> str:
    """The output of a short command. Raises `NotFound` when git refuses it."""
    with started(directory, *arguments) as process:
        try:
            out, error = process.communicate(timeout=TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired as late:
            raise _too_late(directory, arguments[0]) from late
    if process.returncode:
        raise _refused(directory, arguments[0], _message(error))
    return out.decode("utf-8", "surrogateescape")


@contextmanager
def started(
    directory: Path, *arguments: str, stdin: IO[bytes] | int = subprocess.DEVNULL
) -> Iterator["subprocess.Popen[bytes]"]:
    """A git process, killed at the end if it still runs."""
    settings = [part for setting in SETTINGS for part in ("-c", setting)]
    command = ["git", "-C", str(directory), *settings, *arguments]
    try:
        process = subprocess.Popen(  # noqa: S603 - no shell, and arguments are ours or checked
            command,
            env=git_environment(directory),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if stdin == subprocess.DEVNULL else subprocess.DEVNULL,
        )
    except FileNotFoundError as error:
        raise InvalidRequest(
            "the git executable was not found: install git, or use a JSONL feed"
        ) from error
    with process:
        try:
            yield process
        finally:
            process.kill()


class Output:
    """The output of a process, read with a limit on how long it may be silent."""

    def __init__(self, process: "subprocess.Popen[bytes]", directory: Path, command: str) -> None:
        if process.stdout is None:
            raise InvalidRequest("a process without output cannot be read")
        self._file = process.stdout.fileno()
        self._poll = select.poll()
        self._poll.register(self._file, select.POLLIN | select.POLLHUP)
        self._directory, self._command = directory, command
        self._buffer = bytearray()

    def fields(self, end: bytes) -> Iterator[bytes]:
        """Everything up to each `end` byte, without it."""
        while True:
            at = self._buffer.find(end)
            if at < 0 and not self._more():
                return
            if at >= 0:
                field = bytes(self._buffer[:at])
                del self._buffer[: at + 1]
                yield field

    def exactly(self, size: int) -> bytes:
        """The next `size` bytes."""
        while len(self._buffer) < size:
            if not self._more():
                raise self._ended()
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def _more(self) -> bool:
        if not self._poll.poll(TIMEOUT_SECONDS * 1000):
            raise _too_late(self._directory, self._command)
        chunk = os.read(self._file, READ_BYTES)
        self._buffer += chunk
        return bool(chunk)

    def _ended(self) -> Unavailable:
        return Unavailable(
            f"git {self._command} in {self._directory} ended early: run `git fsck` there"
        )


def _refused(directory: Path, command: str, message: str) -> InvalidRequest:
    if "dubious ownership" not in message:
        return NotFound(f"git {command} in {directory}: {message}")
    return InvalidRequest(
        f"{directory} belongs to another user, so git does not read it. If you trust what is in "
        f"it, run as the user who ingests: git config --global --add safe.directory "
        f"{shlex.quote(str(directory.resolve()))}"
    )


def _too_late(directory: Path, command: str) -> Unavailable:
    return Unavailable(f"git {command} in {directory} was silent for {TIMEOUT_SECONDS} seconds")


def _message(error: bytes) -> str:
    lines = error.decode("utf-8", "replace").strip().splitlines()
    return lines[0].removeprefix("fatal: ") if lines else "failed without a message"
