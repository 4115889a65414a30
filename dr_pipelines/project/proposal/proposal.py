"""A proposed policies file, before it is written."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from dr_pipelines.project.proposal.text import Line, comment

TITLE = "What is kept safe, how, and what may be lost of it. All keys: docs/policies.md"
REPOSITORY = (
    "where recovery points are kept; better elsewhere: s3://BUCKET/PREFIX, or a directory on "
    "another disk"
)
OWNER = "who decides about it; whom to call is `escalation`, by default the owner"


@dataclass(frozen=True, slots=True)
class Proposed:
    """A collection of the file: its lines, and the same for programs."""

    name: str
    lines: tuple[Line, ...]
    value: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something that was looked at and is in no collection, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """A whole file. `unset` is a variable that it needs and nobody has set; `variables` are what
    the file's are taken to be while it is checked."""

    collections: tuple[Proposed, ...]
    left_out: tuple[LeftOut, ...]
    stores: tuple[Line, ...]
    embedders: tuple[Line, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    unset: str | None = None
    notes: tuple[str, ...] = ()

    def lines(self) -> tuple[Line, ...]:
        """Every line of the file, in its order."""
        embedders = [Line(0, "embedders", comment="what makes vectors of texts"), *self.embedders]
        return (
            comment(0, TITLE),
            Line(0, "version", 1, "the version of this file's form"),
            Line(0, "repository", ".dr/repository", REPOSITORY),
            Line(0, "stores", comment="vector stores, by a name of your choice"),
            *self.stores,
            *(embedders if self.embedders else ()),
            Line(0, "collections", comment="by the name that users query"),
            *(line for each in self.collections for line in each.lines),
            *self._said_of_the_rest(),
        )

    def _said_of_the_rest(self) -> tuple[Line, ...]:
        if not self.left_out:
            return ()
        return (
            comment(0, "Not backed up by this file:"),
            *(comment(0, f"- {each.name}: {each.reason}") for each in self.left_out),
        )


@dataclass(frozen=True, slots=True)
class Choices:
    """The user's choices for a collection that is made of a source; None leaves one to the
    proposal. Paths in the file are relative to `base`, where it will be."""

    base: Path
    owner: str
    today: date
    name: str | None = None
    embedder: str | None = None


def objectives(*, rpo: str, rto: str) -> tuple[Line, ...]:
    """Placeholder objectives, for the user to decide."""
    return (
        Line(2, "objectives", comment="what may be lost: a guess, yours to decide"),
        Line(3, "rpo", rpo, "the age that a change may reach before a recovery point covers it"),
        Line(3, "rto", rto, "how long a recovery may take"),
    )
