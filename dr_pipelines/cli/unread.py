"""Unread content of a source, for people and as JSON."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from dr_pipelines.errors import DrError

if TYPE_CHECKING:  # imported by the commands that need them
    from dr_pipelines.model.source_reading import SourceReading
    from dr_pipelines.model.unread import Unread
    from dr_pipelines.project.project import Project

SHOWN = 10


def unread_value(unread: "Unread") -> dict[str, Any]:
    """All of it that is known one by one, and how much there is in all."""
    return {
        "count": unread.count,
        "since": unread.since.isoformat() if unread.since else None,
        "lines": [
            {
                "place": q.place,
                "sha256": q.sha256,
                "reason": q.reason,
                "since": q.since.isoformat() if q.since else None,
                "document": q.document,
            }
            for q in unread.lines
        ],
        "unnamed": unread.unnamed,
        "accepted": unread.accepted,
        "superseded": unread.superseded,
        "duplicates": unread.duplicates,
        "tail_bytes": unread.tail_bytes,
        "tail_since": unread.tail_since.isoformat() if unread.tail_since else None,
        "left_out": unread.left_out,
        "left_out_such_as": [asdict(other) for other in unread.others],
    }


def unread_lines(unread: "Unread") -> list[str]:
    """A line about each kind of it, and its first lines by the names that a decision takes."""
    lines = [*unread.sentences()[:1]] if unread.count else []
    lines += [f"{q.sentence} [{q.name}]" if q.sha256 else q.sentence for q in unread.lines[:SHOWN]]
    if unread.count > SHOWN:
        lines.append(f"and {unread.count - SHOWN} more")
    lines += unread.sentences()[1 if unread.count else 0 :]
    return lines + unread.remarks()


def reading_value(reading: "SourceReading | None") -> dict[str, Any] | None:
    """How much of a source was read, and what was gone by for the rest."""
    return None if reading is None else asdict(reading)


@dataclass(frozen=True)
class SourceLook:
    """Content of a collection's source that no backup can hold; `problem` is the reason if that
    is unknown."""

    unread: "Unread | None" = None
    behind: int = 0
    problem: str | None = None
    refused: str = ""

    @property
    def wanting(self) -> bool:
        """True if somebody has to act on it."""
        return self.problem is not None or bool(self.unread and self.unread.count)

    def lines(self) -> list[str]:
        """Lines for people."""
        lines = unread_lines(self.unread) if self.unread else []
        if self.behind:
            lines.append(f"{self.behind} days of the source are not ingested")
        if self.refused:
            lines.append(f"embedding them was refused: {self.refused}")
        return [*lines, *([f"source: {self.problem}"] if self.problem else [])]

    def value(self) -> dict[str, Any] | None:
        """The same as JSON; None for a collection without a source."""
        if self.problem is not None:
            return {"problem": self.problem}
        if self.unread is None:
            return None
        return {
            "unread": unread_value(self.unread),
            "days_behind": self.behind,
            "refused": self.refused or None,
        }


def look_at_source(project: "Project", collection: str) -> SourceLook:
    """Unread content of a collection's source now; never raises because of the source."""
    if project.collection(collection).policy.source is None:
        return SourceLook()
    try:
        status = project.collection(collection).protection_status()
    except DrError as error:
        return SourceLook(problem=str(error))
    return SourceLook(status.unread, status.behind, refused=status.refused)
