"""Marks that a reading of a source leaves on this machine: the next one goes on from there."""

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Any

from dr_pipelines import __version__
from dr_pipelines.host.permissions import Access, make_directory
from dr_pipelines.model.source_reading import NO_MARKS

FORMAT = 1
HEADER_BYTES = 1024
OTHER = "its marks are of another version or other settings"
DAMAGED = "its marks are damaged"


class Trust(StrEnum):
    """By what marks are believed: signs that cost nothing are enough to look, and not to commit."""

    SIGNS = "signs"
    PROOF = "proof"


@dataclass(frozen=True, slots=True)
class Loaded:
    """Marks as they were kept, or the reason why there are none. `contradicted` names the last
    reading that found others not to hold, where one did."""

    value: dict[str, Any] | None = None
    why_not: str = ""
    contradicted: str = ""

    @property
    def other(self) -> bool:
        """True if there are marks, which are of something else."""
        return self.why_not == OTHER


@dataclass(frozen=True, slots=True)
class MarksFile:
    """Marks of one source, on this machine; `trust` is what those who use it may go by.

    They are for the version, the settings and the values that they were made with, and have a
    digest. `root` is the machine's directory: nothing is kept while it is not there.
    """

    path: Path
    root: Path
    trust: Trust = Trust.PROOF
    access: Access = Access.PRIVATE

    def load(self, of: str) -> Loaded:
        """The marks that were kept of `of`."""
        try:
            head, _, body = self.path.read_bytes().partition(b"\n")
        except FileNotFoundError:
            return Loaded(why_not=NO_MARKS)
        except OSError as error:
            return Loaded(why_not=f"its marks cannot be read ({error.strerror})")
        try:
            header = json.loads(head)
            if header["made_by"] != _made_by(of):
                return Loaded(why_not=OTHER)
            if header["sha256"] != sha256(body).hexdigest():
                return Loaded(why_not=DAMAGED)
            value = json.loads(body)
        except (ValueError, KeyError, TypeError):
            return Loaded(why_not=DAMAGED)
        if not isinstance(value, dict):
            return Loaded(why_not=DAMAGED)
        return Loaded(value, contradicted=str(header["contradicted"]))

    def contradicted(self) -> str:
        """The name of the last reading that found marks not to hold; empty where none did."""
        try:
            with self.path.open("rb") as file:
                return str(json.loads(file.readline(HEADER_BYTES))["contradicted"])
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def keep(self, of: str, value: dict[str, Any], *, contradicted: str = "") -> str:
        """Replace them; the reason where that is not possible."""
        if not self.root.is_dir():
            return ""  # nothing is made on a machine before the first entry
        body = json.dumps(value, separators=(",", ":")).encode()
        header = {
            "made_by": _made_by(of),
            "sha256": sha256(body).hexdigest(),
            "contradicted": contradicted,
        }
        new = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        try:
            make_directory(self.path.parent, self.access)
            new.write_bytes(json.dumps(header).encode() + b"\n" + body)
            new.chmod(self.access.file_mode)
            new.replace(self.path)
        except OSError as error:
            with suppress(OSError):
                new.unlink(missing_ok=True)
            return f"{self.path}: {error.strerror}"
        return ""


@dataclass(frozen=True, slots=True)
class SourceMarks:
    """Everything that is kept of a collection's source: of its feed, and of its baseline."""

    feed: MarksFile
    baseline: MarksFile

    @classmethod
    def at(cls, root: Path, name: str, *, trust: Trust, access: Access) -> "SourceMarks":
        """Under the directory of a machine, by a name that is a file's."""
        feed, baseline = (
            MarksFile(root / "marks" / f"{name}.{part}", root, trust, access)
            for part in ("feed", "baseline")
        )
        return cls(feed, baseline)


def _made_by(of: str) -> str:
    return sha256(f"{FORMAT}\0{__version__}\0{of}".encode()).hexdigest()
