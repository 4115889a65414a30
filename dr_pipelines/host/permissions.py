"""Who may read what is made on this machine, and where temporary files lie.

Repository, state, stores and temporary files are made for their owner alone (0700, 0600), or for a
group too (2770, 0660) where the policy says so. What exists already keeps its modes, and an
embedded engine's new files take those of its directory: whoever could read the store can still do
so after a restore.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

TEMPORARY = "DR_TEMPORARY"
"""Variable of the environment: the directory of temporary files, for child processes too."""
TEMPORARY_ACCESS = "DR_TEMPORARY_ACCESS"
"""Variable of the environment: who may look into it."""
ABANDONED_SECONDS = 3600


class Access(StrEnum):
    """`private`: only who made it. `group`: the directory's group too."""

    PRIVATE = "private"
    GROUP = "group"

    @property
    def directory_mode(self) -> int:
        return 0o700 if self is Access.PRIVATE else 0o2770

    @property
    def file_mode(self) -> int:
        return 0o600 if self is Access.PRIVATE else 0o660


def make_directory(path: Path, access: Access | None = None) -> None:
    """Make a directory and those above it that are missing, each with the modes of `access`
    whatever the process's umask, or by its umask; one that exists is left alone."""
    if path.is_dir():
        return
    make_directory(path.parent, access)
    with suppress(FileExistsError):
        path.mkdir(0o777 if access is None else 0o700)
        if access is not None:
            path.chmod(access.directory_mode)


def umask_for(stores: Iterable[Path], access: Access = Access.PRIVATE) -> int:
    """The umask under which embedded engines make files as open as the store directories that are
    there, and as `access` says where there is none."""
    modes = [path.stat().st_mode & 0o777 for path in stores if path.is_dir()]
    allowed = access.directory_mode & 0o777
    for mode in modes:
        allowed |= mode
    return 0o777 & ~allowed


def too_open(path: Path, access: Access = Access.PRIVATE) -> str | None:
    """A sentence about a directory that others may look into than `access` says; None where none
    may, or where it does not exist."""
    try:
        mode = path.stat().st_mode & 0o777
    except OSError:
        return None
    if not mode & ~(access.directory_mode & 0o777):
        return None
    who = "anybody on this machine" if mode & 0o007 else "its group"
    way = f"chmod {access.directory_mode & 0o777:o} {path}"
    group = "" if mode & 0o007 or access is Access.GROUP else ", or say access: group"
    return f"{path} can be looked into by {who} (mode {mode:o}). Run: {way}{group}"


def use_temporary_directory(path: Path, access: Access = Access.PRIVATE) -> None:
    """From now on, temporary files of this process and its children lie there."""
    os.environ[TEMPORARY] = str(path)
    os.environ[TEMPORARY_ACCESS] = access


def temporary_parent() -> Path:
    """The directory for temporary files, made where missing; the system's where none was named."""
    named = os.environ.get(TEMPORARY)
    if named is None:
        return Path(tempfile.gettempdir())
    parent = Path(named)
    make_directory(parent, Access(os.environ.get(TEMPORARY_ACCESS, Access.PRIVATE)))
    return parent


def temporary_directory(kind: str) -> "tempfile.TemporaryDirectory[str]":
    """A directory of its own, as a context manager; readable by its owner alone."""
    parent = temporary_parent()
    remove_abandoned(parent)
    return tempfile.TemporaryDirectory(prefix=prefix_of(kind), dir=parent)


def prefix_of(kind: str) -> str:
    """How the name of this process's temporary files of a kind begins."""
    return f"dr-{kind}-{os.getpid()}-"


def remove_abandoned(parent: Path) -> None:
    """Remove directories that processes which are gone have left. Only under a directory of our
    own: in the system's they may be those of other machines' processes."""
    if os.environ.get(TEMPORARY) != str(parent):
        return
    for entry in parent.glob("dr-*-*-*"):
        owner = entry.name.split("-")[2]
        if owner.isdigit() and not _is_alive(int(owner)) and _is_old(entry):
            shutil.rmtree(entry, ignore_errors=True)


def _is_old(path: Path) -> bool:
    """A process of another container has a number that means nothing here: so age counts too."""
    try:
        return time.time() - path.stat().st_mtime > ABANDONED_SECONDS
    except OSError:
        return False


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
