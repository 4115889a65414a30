"""One rule for a name that may be an alias, and one deadline."""

import itertools
from collections.abc import Callable

import pytest

from dr_pipelines.errors import Damaged, DrError, NotFound, Unavailable
from dr_pipelines.stores.shared.following import followed


def reading(gone: dict[str, DrError], seen: list[str]) -> Callable[[str], str]:
    def read(physical: str) -> str:
        seen.append(physical)
        if physical in gone:
            raise gone[physical]
        return physical

    return read


def targets(*moves: str | None) -> Callable[[str], str | None]:
    """Targets of an alias, call by call; then the last for ever."""
    left = itertools.chain(moves, itertools.repeat(moves[-1]))
    return lambda _: next(left)


GONE: dict[str, DrError] = {"old": NotFound("no old"), "torn": Damaged("half of torn is gone")}


@pytest.mark.parametrize("old", GONE)
def test_what_an_alias_moved_to_is_read(old: str) -> None:
    assert followed("docs", targets(old, "new"), reading(GONE, [])) == "new"


def test_a_name_that_is_no_alias_is_read_once() -> None:
    seen = list[str]()
    with pytest.raises(NotFound):
        followed("old", targets(None), reading(GONE, seen))
    assert seen == ["old"]


@pytest.mark.parametrize(("target", "tries"), [("old", 3), ("torn", 1)])
def test_an_alias_of_what_is_gone_ends(target: str, tries: int) -> None:
    seen = list[str]()
    with pytest.raises(type(GONE[target])):
        followed("docs", targets(target), reading(GONE, seen))
    assert seen == [target] * tries


def test_a_writer_that_outruns_a_reader_for_ever_is_said() -> None:
    names = itertools.cycle(["old", "older"])
    gone = {**GONE, "older": NotFound("no older")}
    with pytest.raises(Unavailable, match="again and again"):
        followed("docs", lambda _: next(names), reading(gone, []), patience_seconds=0)
