"""The commit protocol as a model, explored to the end; each of its rules is needed.

One writer commits two transactions, another one. A request may be lost, done without an answer,
reported as a conflict with itself, or done later. The steps are those of `Log.append` and
`Log._commit`; `test_log_races` holds the code to the same invariants.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

import pytest

ATTEMPTS = 2
FAULTS = 2


class Rule(StrEnum):
    """A rule that writers obey; without any one of these, a counterexample exists."""

    READ_AFTER_CONFLICT = "a conflict is established by reading: it may be with ourselves"
    READ_AFTER_SILENCE = "a lost answer is established by reading: it may have been done"
    COMPARE_TRANSACTIONS = "an entry that is there is ours only if it holds our transaction"
    EXCLUSIVE = "a create never replaces"
    SAME_NUMBER = "an absent entry is tried again at its number, not at the next"
    UNDO_NOTHING = "what could not be established is left alone"


ALL = frozenset(Rule)


@dataclass(frozen=True)
class Writer:
    """`doing`: idle, drafted (head read), answered (a create was sent) or undoing."""

    left: int
    doing: str = "idle"
    number: int = 0
    attempts: int = 0
    conflict: bool = False


@dataclass(frozen=True)
class World:
    log: tuple[str | None, ...] = ()
    writers: tuple[Writer, ...] = (Writer(2), Writer(1))
    late: frozenset[tuple[int, str]] = frozenset()
    acknowledged: frozenset[str] = frozenset()
    faults: int = FAULTS


def transaction(world: World, who: int) -> str:
    return f"{who}.{world.writers[who].left}"


def wrong_with(world: World) -> str | None:
    there = [entry for entry in world.log if entry]
    if len(there) < len(world.log):
        return "gap"
    if len(set(there)) < len(there):
        return "duplicate"
    return None if world.acknowledged <= set(there) else "lost"


def created(world: World, number: int, entry: str, *, rules: frozenset[Rule]) -> World | None:
    """The world after a create was done; None for a conflict."""
    log = list(world.log) + [None] * (number - len(world.log))
    if log[number - 1] is not None and Rule.EXCLUSIVE in rules:
        return None
    log[number - 1] = entry
    return replace(world, log=tuple(log))


def moved(world: World, who: int, **changes: object) -> World:
    writers = list(world.writers)
    writers[who] = replace(writers[who], **changes)  # type: ignore[arg-type]
    return replace(world, writers=tuple(writers))


def finished(world: World, who: int, *, acknowledge: bool) -> World:
    done = {transaction(world, who)} if acknowledge else set()
    world = replace(world, acknowledged=world.acknowledged | done)
    return moved(world, who, left=world.writers[who].left - 1, doing="idle")


def steps(world: World, rules: frozenset[Rule]) -> Iterator[World]:
    """Every world that may come next."""
    for number, entry in world.late:
        arrived = created(world, number, entry, rules=rules) or world
        yield replace(arrived, late=world.late - {(number, entry)})
    for who, writer in enumerate(world.writers):
        if writer.doing == "idle" and writer.left:
            yield moved(world, who, doing="drafted", number=len(world.log) + 1, attempts=ATTEMPTS)
        elif writer.doing == "drafted":
            yield from answers(world, who, rules)
        elif writer.doing == "answered":
            yield established(world, who, rules)
        elif writer.doing == "undoing":
            yield undone(world, who)


def answers(world: World, who: int, rules: frozenset[Rule]) -> Iterator[World]:
    writer, entry = world.writers[who], transaction(world, who)
    done = created(world, writer.number, entry, rules=rules)
    answered = {"doing": "answered", "attempts": writer.attempts - 1}
    if done is None:
        yield moved(world, who, **answered, conflict=True)
    else:  # a success is read back as well
        yield moved(done, who, **answered, conflict=False)
    if not world.faults:
        return
    unlucky = replace(world, faults=world.faults - 1)
    yield moved(unlucky, who, **answered, conflict=False)
    late = replace(unlucky, late=unlucky.late | {(writer.number, entry)})
    yield moved(late, who, **answered, conflict=False)
    if done is not None:  # and reported as a conflict by a client that tried twice
        yield moved(replace(done, faults=unlucky.faults), who, **answered, conflict=True)


def established(world: World, who: int, rules: frozenset[Rule]) -> World:
    writer = world.writers[who]
    if writer.conflict and Rule.READ_AFTER_CONFLICT not in rules:
        return moved(world, who, doing="idle")
    if not writer.conflict and Rule.READ_AFTER_SILENCE not in rules:
        return finished(world, who, acknowledge=True)
    entry = world.log[writer.number - 1] if writer.number <= len(world.log) else None
    if entry is not None:
        ours = entry == transaction(world, who) or Rule.COMPARE_TRANSACTIONS not in rules
        return finished(world, who, acknowledge=True) if ours else moved(world, who, doing="idle")
    if writer.attempts and Rule.SAME_NUMBER in rules:
        return moved(world, who, doing="drafted")
    if writer.attempts:
        return moved(world, who, doing="drafted", number=writer.number + 1)
    if Rule.UNDO_NOTHING not in rules:
        return moved(world, who, doing="undoing")
    return finished(world, who, acknowledge=False)


def undone(world: World, who: int) -> World:
    """The writer deletes what it takes for its own entry."""
    log = [*world.log]
    del log[world.writers[who].number - 1 :]
    return finished(replace(world, log=tuple(log)), who, acknowledge=False)


def explore(rules: frozenset[Rule]) -> tuple[int, str | None]:
    """How many worlds can be reached, and what goes wrong first in them, if anything."""
    start = World()
    seen, queue = {start}, deque([start])
    while queue:
        world = queue.popleft()
        if problems := wrong_with(world):
            return len(seen), problems
        for following in steps(world, rules):
            if following not in seen:
                seen.add(following)
                queue.append(following)
    return len(seen), None


def test_with_all_rules_nothing_goes_wrong() -> None:
    worlds, wrong = explore(ALL)
    assert wrong is None
    assert worlds > 1000


@pytest.mark.parametrize(
    ("rule", "wrong"),
    [
        (Rule.READ_AFTER_CONFLICT, "duplicate"),
        (Rule.READ_AFTER_SILENCE, "lost"),
        (Rule.COMPARE_TRANSACTIONS, "lost"),
        (Rule.EXCLUSIVE, "lost"),
        (Rule.SAME_NUMBER, "gap"),
        (Rule.UNDO_NOTHING, "lost"),
    ],
    ids=lambda value: value.name if isinstance(value, Rule) else "",
)
def test_without_any_one_rule_something_does(rule: Rule, wrong: str) -> None:
    _, problems = explore(ALL - {rule})
    assert problems == wrong
