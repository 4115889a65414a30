"""The protocol of candidates as a model, explored to the end; each of its clauses is needed.

A line of history is served and goes on: it is ingested into. Two recoveries build beside it, each
on a machine of its own: one from the newest point, the other from before what must not come back,
or the first one again. A process may be killed anywhere and the same command started again, and
anybody may close a candidate by name. Appending is atomic here (`test_commit_protocol` explores
that): an entry is decided upon at the head that it follows. A write to a store is one step with the
look at the log before it: what a displaced process still sends is not in this model.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

import pytest


class Rule(StrEnum):
    """A clause of rule 12 of docs/format.md; without any one of these, a counterexample exists."""

    BESIDE = "until it is switched to, a candidate leaves the state of the served line as it is"
    BOUND = "a commit for a line that is closed fails"
    AT_HEAD = "what is caught up or listed is so at the head that the switch follows"
    LISTED = "what the served line has and the candidate has not is listed by the switch"
    SAME_LINE = "a candidate of a line that is not current any more is not switched to"
    OPEN = "one that was closed is neither caught up nor switched to"
    BEGINNING = "who goes on with a candidate begins it anew, and only the last beginning counts"
    PROVEN = "the position of a candidate says what was read back before"
    ONE_CREATE = "the entry that makes it current is the one that ends the candidate"
    END_FIRST = "a candidate is closed in the log before its collection is dropped"
    NEW_NAME = "a name that was closed is not begun again"


ALL = frozenset(Rule)
BAD = "bad"
"""What one recovery goes back behind; it stands in the log from the beginning."""
Contents = frozenset[str]


@dataclass(frozen=True)
class Line:
    """A line of history: its contents, and the collection in which it is served."""

    has: Contents
    physical: str


@dataclass(frozen=True)
class Recoverer:
    """A command that is run until it has ended. `base` are the contents of its point; one that
    `follows` catches up and opens a candidate. A process that is killed forgets the rest."""

    physical: str
    base: Contents
    follows: bool
    kills: int
    doing: str = "idle"
    line: int = 0
    began: int = 0
    proven: Contents | None = None
    missing: Contents = frozenset()


NEWEST = Recoverer("b", frozenset({"old", BAD}), follows=True, kills=2)
BEFORE = Recoverer("c", frozenset({"old"}), follows=False, kills=0)
CASES = ((NEWEST, BEFORE), (replace(NEWEST, kills=1), replace(NEWEST, kills=0)))


@dataclass(frozen=True)
class Candidate:
    """Open: the entry that began it last, the line that it follows, what was proven of it."""

    name: str
    began: int
    line: int
    position: Contents | None = None


@dataclass(frozen=True)
class World:
    """`log` counts entries; `bound` is the line that the writer of the served one works for."""

    recoverers: tuple[Recoverer, ...]
    log: int = 1
    lines: tuple[Line, ...] = (Line(NEWEST.base, "a"),)
    current: int = 0
    open: tuple[Candidate, ...] = ()
    closed: frozenset[tuple[str, int]] = frozenset()
    stores: tuple[tuple[str, Contents], ...] = (("a", NEWEST.base),)
    bound: int = 0
    to_ingest: tuple[str, ...] = ("new", "newer")
    dropping: tuple[str, ...] = ()
    closings: int = 1
    wrong: str | None = None

    @property
    def served(self) -> Line:
        return self.lines[self.current]

    def contents(self, physical: str) -> Contents | None:
        return dict(self.stores).get(physical)

    def candidate(self, name: str) -> Candidate | None:
        return next((each for each in self.open if each.name == name), None)


def wrong_with(world: World) -> str | None:
    if world.wrong:
        return world.wrong
    return "dropped" if world.contents(world.served.physical) is None else None


def stored(world: World, physical: str, holds: Contents | None) -> World:
    stores = {**dict(world.stores), physical: holds}
    there = tuple(sorted((name, has) for name, has in stores.items() if has is not None))
    return replace(world, stores=there)


def moved(world: World, who: int, **changes: object) -> World:
    every = list(world.recoverers)
    every[who] = replace(every[who], **changes)  # type: ignore[arg-type]
    return replace(world, recoverers=tuple(every))


def opened(world: World, candidate: Candidate) -> World:
    others = tuple(each for each in world.open if each.name != candidate.name)
    return replace(world, open=(*others, candidate), log=world.log + 1)


def ended(world: World, name: str, *, closed: bool) -> World:
    remaining = tuple(each for each in world.open if each.name != name)
    gone = {(name, each.began) for each in world.open if each.name == name and closed}
    return replace(world, open=remaining, closed=world.closed | gone)


def steps(world: World, rules: frozenset[Rule]) -> Iterator[World]:
    """Every world that may come next."""
    yield from ingested(world, rules)
    yield from closings(world, rules)
    for who, each in enumerate(world.recoverers):
        if each.doing == "done":
            continue
        yield STEPS[each.doing](world, who, rules)
        if each.kills and each.doing != "idle":
            started = CASES[0][0] if each.follows else CASES[0][1]
            yield moved(world, who, **{**vars(started), "kills": each.kills - 1})


def ingested(world: World, rules: frozenset[Rule]) -> Iterator[World]:
    """The writer of the served line appends, and its store follows; one of a closed line is told
    so, and starts anew."""
    if not world.to_ingest:
        return
    if world.bound != world.current and Rule.BOUND in rules:
        yield replace(world, bound=world.current)
        return
    new, *later = world.to_ingest
    line = world.lines[world.bound]
    grown = replace(line, has=line.has | {new})
    lines = tuple(grown if n == world.bound else each for n, each in enumerate(world.lines))
    wrong = None if world.bound == world.current else "two lines"
    appended = replace(world, lines=lines, to_ingest=tuple(later), wrong=wrong, log=world.log + 1)
    yield stored(appended, line.physical, grown.has)


def begin(world: World, who: int, rules: frozenset[Rule]) -> World:
    """Only who catches up opens a candidate; one that is open is begun anew."""
    me = world.recoverers[who]
    built = me.physical in {line.physical for line in world.lines}
    closed = me.physical in {name for name, _ in world.closed}
    if built or (closed and Rule.NEW_NAME in rules):
        return moved(world, who, doing="done")
    if not me.follows:
        return moved(world, who, doing="build", line=world.current)
    there, number = world.candidate(me.physical), world.log + 1
    line, position = (there.line, there.position) if there else (world.current, None)
    begun = opened(world, Candidate(me.physical, number, line, position))
    if position is not None:  # allowed, though the steps of the code read it back again
        return moved(begun, who, doing="switch", line=line, began=number, proven=position)
    if Rule.BESIDE not in rules:  # the newest manifest is the candidate's, and so it is current
        lines = (*world.lines, Line(me.base, me.physical))
        begun = replace(begun, lines=lines, current=len(world.lines), wrong="unproven serves")
    return moved(begun, who, doing="build", began=number, line=line)


def stopped(world: World, me: Recoverer, rules: frozenset[Rule]) -> bool:
    """True if the log ends this run by now."""
    if me.line != world.current and Rule.SAME_LINE in rules:
        return True
    if not me.follows:
        return False
    there = world.candidate(me.physical)
    if there is None:
        return (me.physical, me.began) not in world.closed or Rule.OPEN in rules
    return there.began != me.began and Rule.BEGINNING in rules


def build(world: World, who: int, rules: frozenset[Rule]) -> World:
    """Half of it, for now."""
    me = world.recoverers[who]
    if stopped(world, me, rules):
        return moved(world, who, doing="done")
    return moved(stored(world, me.physical, frozenset()), who, doing="catch-up")


def catch_up(world: World, who: int, rules: frozenset[Rule]) -> World:
    """Write what the point has, or the line that is followed has by now; read it back; say so."""
    me = world.recoverers[who]
    if stopped(world, me, rules):
        return moved(world, who, doing="done")
    whole = world.lines[me.line].has if me.follows else me.base
    missing = world.served.has - whole
    if me.doing == "catch-up" and Rule.PROVEN not in rules:
        return moved(positioned(world, me, whole), who, doing="write")
    written = positioned(stored(world, me.physical, whole), me, whole)
    return moved(written, who, doing="switch", proven=whole, missing=missing)


def positioned(world: World, me: Recoverer, whole: Contents) -> World:
    there = world.candidate(me.physical)
    return world if there is None else opened(world, replace(there, position=whole))


def switch(world: World, who: int, rules: frozenset[Rule]) -> World:
    """Make it current in one create, decided at the head."""
    me = world.recoverers[who]
    if stopped(world, me, rules):
        return moved(world, who, doing="done")
    proven = me.proven or frozenset()
    if world.served.has - proven - me.missing and Rule.AT_HEAD in rules:
        return moved(world, who, doing="catch-up")
    lines = (*world.lines, Line(proven, me.physical))
    done = replace(world, log=world.log + 1, lines=lines, current=len(world.lines))
    done = replace(done, wrong=wrong_switch(world, me, rules))
    if Rule.ONE_CREATE in rules:
        return moved(ended(done, me.physical, closed=False), who, doing="done")
    return moved(done, who, doing="end")


def wrong_switch(world: World, me: Recoverer, rules: frozenset[Rule]) -> str | None:
    proven = me.proven or frozenset()
    listed = me.missing if Rule.LISTED in rules else frozenset[str]()
    if world.served.has - proven - listed:
        return "vanished"
    if BAD in proven - world.served.has:
        return "came back"
    if (me.physical, me.began) in world.closed:
        return "abandoned serves"
    return "unproven serves" if world.contents(me.physical) != me.proven else None


def end(world: World, who: int, rules: frozenset[Rule]) -> World:
    return moved(ended(world, world.recoverers[who].physical, closed=False), who, doing="done")


STEPS = {
    "idle": begin,
    "build": build,
    "catch-up": catch_up,
    "write": catch_up,
    "switch": switch,
    "end": end,
}


def closings(world: World, rules: frozenset[Rule]) -> Iterator[World]:
    """Somebody closes a candidate by name and drops its collection."""
    first = Rule.END_FIRST in rules
    for name in world.dropping:
        begun = replace(world, dropping=tuple(each for each in world.dropping if each != name))
        yield stored(begun, name, None) if first else ended(begun, name, closed=True)
    for name in (each.name for each in world.open if world.closings):
        begun = replace(world, closings=world.closings - 1, dropping=(*world.dropping, name))
        yield ended(begun, name, closed=True) if first else stored(begun, name, None)


def explore(rules: frozenset[Rule], *, until: str | None = None) -> tuple[int, set[str]]:
    """How many worlds can be reached, and what is wrong with any of them; `until` that is found."""
    queue = deque(World(case) for case in CASES)
    seen, wrong = set(queue), set[str]()
    while queue and until not in wrong:
        world = queue.popleft()
        if problem := wrong_with(world):
            wrong.add(problem)
            continue
        for following in steps(world, rules):
            if following not in seen:
                seen.add(following)
                queue.append(following)
    return len(seen), wrong


def test_with_all_clauses_nothing_goes_wrong() -> None:
    worlds, wrong = explore(ALL)
    assert wrong == set()
    assert worlds > 1000


WITHOUT = {
    Rule.BESIDE: "unproven serves",
    Rule.BOUND: "two lines",
    Rule.AT_HEAD: "vanished",
    Rule.LISTED: "vanished",
    Rule.SAME_LINE: "came back",
    Rule.OPEN: "abandoned serves",
    Rule.BEGINNING: "unproven serves",
    Rule.PROVEN: "unproven serves",
    Rule.ONE_CREATE: "dropped",
    Rule.END_FIRST: "unproven serves",
    Rule.NEW_NAME: "dropped",
}


@pytest.mark.parametrize("rule", Rule, ids=lambda rule: rule.name)
def test_without_any_one_clause_something_does(rule: Rule) -> None:
    _, wrong = explore(ALL - {rule}, until=WITHOUT[rule])
    assert WITHOUT[rule] in wrong
