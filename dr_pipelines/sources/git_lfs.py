"""Git LFS: a file of a repository that only says where its contents are."""

import hashlib
import os
import re
import shlex
from pathlib import Path
from stat import S_ISREG

from dr_pipelines.errors import Unavailable
from dr_pipelines.sources.changes import Unreadable
from dr_pipelines.sources.git_process import run_git

POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n(?:ext-[^\n]*\n)*"
    rb"oid sha256:([0-9a-f]{64})\nsize (\d{1,18})\n(?:[^\n]*\n)*"
)
POINTER_BYTES = 1024
"""A longer file is no pointer, by the specification of Git LFS."""


def pointed_at(data: bytes, directory: Path, *, limit_bytes: int) -> bytes | None:
    """The file that a pointer stands for, if `git lfs fetch` has brought it; any other file as it
    is; None for more than `limit_bytes`. Raises `Unreadable` for a pointer whose file is not
    here.
    """
    match = POINTER.fullmatch(data) if len(data) <= POINTER_BYTES else None
    if match is None:
        return data
    oid, size = match[1].decode(), int(match[2])
    if size > limit_bytes:
        return None
    content = _stored(directory, oid, size)
    if content is None:
        raise Unreadable(
            f"the file is a Git LFS pointer, and its {size} bytes are not here: run "
            f"`git -C {shlex.quote(str(directory))} lfs fetch --all`, or exclude it"
        )
    return content


def last_brought(directory: Path) -> int:
    """When an object was last put into the clone, in nanoseconds; 0 where none ever was."""
    place = _place(directory)
    looked_at = (place, place.with_name("tmp"), *place.glob("*"), *place.glob("*/*"))
    return max((path.stat().st_mtime_ns for path in looked_at if path.exists()), default=0)


def _place(directory: Path) -> Path:
    common = run_git(directory, "rev-parse", "--git-common-dir").strip()
    return directory / common / "lfs" / "objects"


def _stored(directory: Path, oid: str, size: int) -> bytes | None:
    """The bytes of an object of Git LFS; None where there is none with that hash."""
    path = _place(directory) / oid[:2] / oid[2:4] / oid
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            if not S_ISREG(os.fstat(file.fileno()).st_mode):
                return None  # a pipe would be waited for, a device never ends
            data = file.read(size + 1)
    except (FileNotFoundError, IsADirectoryError):
        return None
    except OSError as error:
        raise Unavailable(f"{path} cannot be read: {error.strerror}") from error
    return data if hashlib.sha256(data).hexdigest() == oid else None
