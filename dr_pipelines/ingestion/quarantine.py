"""Lines of a source that nobody could read, and the decision to let some of them go."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from pydantic import ValidationError

from dr_pipelines.errors import Damaged, InvalidRequest, NotFound
from dr_pipelines.model.accepted import AcceptedLine, AcceptedLines
from dr_pipelines.model.details import AcceptedEvidence
from dr_pipelines.model.recovery_point import Head, Manifest, ObjectRef
from dr_pipelines.model.unread import SHOWN_DIGITS, Quarantined, Unread
from dr_pipelines.repository.history import History, NextEntry, Tip
from dr_pipelines.repository.repository import Repository

DECISION_CHARACTERS = 1000

Names = frozenset[tuple[str, str]]
"""Place and hash of lines."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Lines to let go, by whom and why."""

    lines: tuple[Quarantined, ...]
    reason: str
    by: str


def accepted_lines(repository: Repository, manifest: Manifest | None) -> Names:
    """Lines that were let go, by place and hash. Raises `Damaged`."""
    if manifest is None or manifest.accepted is None:
        return frozenset()
    lines = _accepted(repository, manifest).lines
    return frozenset((line.place, line.sha256) for line in lines)


def open_lines(repository: Repository, manifest: Manifest | None, unread: Unread) -> Unread:
    """Lines of a source that wait for somebody: those whose loss is not accepted."""
    return unread.without(accepted_lines(repository, manifest)) if unread.count else unread


def decide(unread: Unread, names: Sequence[str], *, reason: str, by: str) -> Decision:
    """The decision to accept the loss of lines, each named by its place and the beginning of its
    hash.

    Raises `InvalidRequest` for a name that no line has, or without a reason.
    """
    if not reason.strip() or len(reason) > DECISION_CHARACTERS:
        raise InvalidRequest(f"a reason of 1 to {DECISION_CHARACTERS} characters is expected")
    return Decision(tuple(_named(unread, name) for name in dict.fromkeys(names)), reason, by)


def accept(history: History, decision: Decision) -> Head:
    """Record in the log that lines are let go; the state is unchanged. Raises `NotFound` where
    nothing is logged yet."""
    return history.append("evidence", partial(_entry, decision)).head


def _entry(decision: Decision, tip: Tip) -> NextEntry:
    repository, collection = tip.history.repository, tip.history.collection
    manifest = tip.manifest
    if manifest is None:
        raise NotFound(
            f"{collection}: nothing is ingested yet, so there is no log to write this decision to. "
            f"Run first: dr ingest {collection}"
        )
    at = repository.clock()
    new = [
        AcceptedLine(
            place=line.place,
            sha256=line.sha256,
            unreadable=line.reason,
            reason=decision.reason,
            by=decision.by,
            at=at,
        )
        for line in decision.lines
    ]
    value = AcceptedLines(lines=(*_accepted(repository, manifest).lines, *new))
    key = f"{collection}/evidence/{value.kind}/{repository.new_name('-')}.json"
    listing = repository.put(key, value.canonical())
    detail = AcceptedEvidence(
        listing=listing.key, lines=len(new), reason=decision.reason, by=decision.by
    )
    grown = manifest.model_copy(update={"accepted": listing})
    return NextEntry(detail=detail, manifest=grown, objects=[listing])


def _accepted(repository: Repository, manifest: Manifest) -> AcceptedLines:
    ref: ObjectRef | None = manifest.accepted
    if ref is None:
        return AcceptedLines(lines=())
    value = repository.fetch_json(ref)
    try:
        return AcceptedLines.model_validate(value)
    except ValidationError as error:
        raise Damaged(f"{ref.key}: does not list lines that were let go") from error


def _named(unread: Unread, name: str) -> Quarantined:
    place, _, digits = name.rpartition(":")
    if len(digits) < SHOWN_DIGITS:
        raise InvalidRequest(
            f"{name!r}: expected PLACE:HASH, as `dr ingest` and `dr status` print it"
        )
    for line in unread.lines:
        if line.place == place and line.sha256.startswith(digits.lower()):
            return line
    at = next((q for q in unread.lines if q.place == place), None)
    other = f"; what is there now is {at.name}" if at else ""
    raise InvalidRequest(f"{name!r}: no such line waits for a decision{other}")
