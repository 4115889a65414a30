"""Lines of a source that somebody let go, as they are listed."""

from typing import Literal

from dr_pipelines.model.base import Stored, Time


class AcceptedLine(Stored):
    """One line: its place and hash, the fault it had (`unreadable`), and who let it go and why."""

    place: str
    sha256: str
    unreadable: str
    reason: str
    by: str
    at: Time


class AcceptedLines(Stored):
    """Every line of a collection's source that was let go so far."""

    kind: Literal["accepted-quarantine"] = "accepted-quarantine"
    lines: tuple[AcceptedLine, ...]
