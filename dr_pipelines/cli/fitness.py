"""Fitness of a recovery point for a restore: in words, in facts, as JSON."""

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # imported by the commands that need them
    from datetime import datetime

    from dr_pipelines.model.fitness import Acceptance, Fitness, Part
    from dr_pipelines.model.misfit import Misfit
    from dr_pipelines.model.recovery_point import LogEntry


def fit_phrase(fitness: "Fitness", began: "datetime") -> str:
    """A proof in words, always with whether it can be restored. `began` is the start of proofs."""
    from dr_pipelines.model.fitness import tolerance_text

    equal = f"proven equal to the live store, {tolerance_text(fitness.tolerance)}"
    losses = fitness.losses()
    if losses:
        return f"{equal}, but cannot be restored in full ({_few(losses)})"
    return f"{equal}, fits ({tried(fitness, began)})"


def tried(fitness: "Fitness", now: "datetime") -> str:
    """When it was last tried, or why it was not."""
    from dr_pipelines.cli.console import age

    if fitness.trial is None:
        return f"not tried: {fitness.untried}"
    passed = now - fitness.trial.at
    if fitness.untried:
        return f"not tried: {fitness.untried}; before it was, {age(passed)} ago"
    return f"tried {age(passed)} ago" if passed else "just tried"


def not_finite_phrase(count: int) -> str:
    """The note on vectors with a component that is NaN or infinite."""
    return f"kept as they are, near nothing: {count} vectors with NaN or infinite components"


def fit_lines(
    collection: str, fitness: "Fitness", accepted: "tuple[Acceptance, ...]"
) -> Iterator[str]:
    """A line for each thing that does not come back as it was."""
    from dr_pipelines.model.fitness import unaccepted

    open_losses = unaccepted(fitness, accepted)
    for loss in fitness.losses():
        label = "CANNOT BE RESTORED" if loss in open_losses else "accepted as lost"
        yield f"{label}: {loss.part}: {loss.consequence}"
    for part in fitness.remarks():
        yield f"{part.outcome}: {part.part}: {part.consequence}"
    if open_losses:
        parts = " ".join(f"--accept-loss {shlex.quote(loss.part)}" for loss in open_losses)
        yield f"to accept that: dr backup {collection} {parts} --reason TEXT"


def fit_facts(
    fitness: "Fitness | None", accepted: "tuple[Acceptance, ...]", now: "datetime"
) -> list[tuple[str, str]]:
    """The same for `dr status`: name and value of each line."""
    from dr_pipelines.model.fitness import tolerance_text, unaccepted

    if fitness is None:
        return [("restorable", "not known until the next backup")]
    open_losses = unaccepted(fitness, accepted)
    verdict = f"NOT in full: {_few(open_losses)}" if open_losses else "fits"
    equal = tolerance_text(fitness.tolerance)
    facts = [("restorable", f"{verdict} ({tried(fitness, now)}); equal {equal}")]
    facts += [("lost", f"{loss.part}: {loss.consequence}") for loss in open_losses]
    facts += [(str(part.outcome), f"{part.part}: {part.consequence}") for part in fitness.remarks()]
    facts += [
        (
            "accepted",
            f"{acceptance.part}, by {acceptance.by} {acceptance.at:%Y-%m-%d}: {acceptance.reason}",
        )
        for acceptance in accepted
    ]
    return facts


def fit_word(entry: "LogEntry") -> str:
    """For a list of points: what the snapshot said, nothing for other entries."""
    from dr_pipelines.model.details import SnapshotDetail

    detail = entry.body.detail
    if not isinstance(detail, SnapshotDetail):
        return ""
    if detail.unaccepted.total:
        return "NO"
    return detail.fit if detail.fit in ("fits", "tried") else "accepted"


def fit_summary(
    fitness: "Fitness | None", accepted: "tuple[Acceptance, ...]"
) -> dict[str, Any] | None:
    """The verdict on putting a point back, for a list of points; None before the first snapshot."""
    from dr_pipelines.model.fitness import unaccepted

    if fitness is None:
        return None
    return {
        "verdict": fitness.word,
        "unaccepted": [loss.part for loss in unaccepted(fitness, accepted)],
        "misfits": fitness.misfits,
        "untried": fitness.untried,
    }


def fit_value(
    fitness: "Fitness | None", accepted: "tuple[Acceptance, ...]"
) -> dict[str, Any] | None:
    """All that is known of putting a point back, for --json; None before the first snapshot."""
    summary = fit_summary(fitness, accepted)
    if fitness is None or summary is None:
        return None
    return {
        **summary,
        "losses": [loss.model_dump(mode="json") for loss in fitness.losses()],
        "accepted": [acceptance.model_dump(mode="json") for acceptance in accepted],
        **fitness.model_dump(mode="json"),
    }


def refused_lines(left_out: int, refused: "tuple[Misfit, ...]") -> Iterator[str]:
    """Records that the store's engine would not take when they were applied."""
    if not left_out:
        return
    yield (
        f"safe in the log, but not in the store: its engine refused {left_out} of the records, and "
        "no search finds them:"
    )
    yield from (f"  {misfit}" for misfit in refused)
    if more := left_out - len(refused):
        yield f"  and {more} more"


def _few(parts: "tuple[Part, ...]") -> str:
    names = [part.part for part in parts]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
