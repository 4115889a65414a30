"""The line that a recovery ends, in words: what was caught up, and what is left behind."""

from collections.abc import Iterator
from typing import Any

from dr_pipelines.model.details import LeftBehind, Mentioned
from dr_pipelines.model.display import displayed_line
from dr_pipelines.model.recovery import Plan, Recovery


def behind_lines(plan: Plan) -> list[str]:
    """One, where a plan that switches would leave something behind."""
    if plan.behind is None:
        return []
    return [
        f"left behind: what log:{plan.behind} has and {plan.point} has not. The log keeps it, and "
        "the restore lists it"
    ]


def line_lines(done: Recovery) -> list[str]:
    """How far a recovery has caught up; everything that it leaves behind, some of it by name."""
    lines = []
    if done.caught_up is not None:
        lines.append(f"caught up with log:{done.caught_up}, and read back again")
    return [*lines, *(left_behind_lines(done.left_behind) if done.left_behind else ())]


def left_behind_lines(behind: LeftBehind) -> Iterator[str]:
    """One for each kind of difference, some of it by name."""
    where = f"log:{behind.first} to log:{behind.last}"
    if behind.problem is not None:
        problem = displayed_line(behind.problem)
        yield f"left behind: whatever {where} brought; it could not be compared: {problem}"
        return
    for words, named in (
        ("documents are not there that the former line has", behind.added),
        ("documents are as they were before", behind.changed),
        ("documents are there again", behind.removed),
        ("parts of the configuration are as they were before", behind.reconfigured),
    ):
        if named.total:
            yield f"left behind of {where}: {named.total:,} {words}: {_names(named)}"


def _names(named: Mentioned) -> str:
    more = named.total - len(named.names)
    listed = ", ".join(displayed_line(name) for name in named.names)
    return f"{listed} and {more:,} more (dr diff names all)" if more else listed


def line_value(done: Recovery) -> dict[str, Any]:
    """For --json."""
    behind = done.left_behind
    return {
        "caught_up": done.caught_up,
        "left_behind": None if behind is None else behind.model_dump(mode="json"),
        "unseen_since": done.unseen_since,
    }


def unseen_step(done: Recovery) -> str:
    """Advice on changes that were made by hand in the collection that was served before."""
    seen = f"after log:{done.unseen_since}" if done.unseen_since else "at any time"
    return (
        f"What was changed by hand {seen} in the collection that was served before is in no "
        "recovery point: look there before it is dropped."
    )
