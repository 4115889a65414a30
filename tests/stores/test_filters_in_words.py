"""The walk over filters that the dialects of all engines share."""

from collections.abc import Sequence

import pytest

from dr_pipelines.model.query import And, Contains, Equals, Filter, In, Not, Or, Range, Scalar
from dr_pipelines.stores.shared.filters import Bounds, Inexpressible, in_words


class Words:
    """Conditions as one writes them by hand."""

    def all_of(self, conditions: list[str]) -> str:
        return f"({' & '.join(conditions)})" if conditions else "everywhere"

    def any_of(self, conditions: list[str]) -> str:
        return f"({' | '.join(conditions)})" if conditions else "nowhere"

    def among(self, field: str, values: Sequence[Scalar], *, meant: bool) -> str:
        return f"{'' if meant else '!'}{field}={','.join(map(str, values))}"

    def containing(self, field: str, value: str, *, meant: bool) -> str:
        return f"{'' if meant else '!'}{field}~{value}"

    def within(self, field: str, bounds: Bounds, *, meant: bool) -> str:
        return f"{'' if meant else '!'}{field}:{','.join(f'{n}{v}' for n, v in bounds)}"


ONE, OTHER = Equals("a", 1), Contains("b", "x")
FILTERS: dict[str, Filter | None] = {
    "everywhere": None,
    "a=1": ONE,
    "!a=1": Not(ONE),
    "a=1,2": In("a", (1, 2)),
    "nowhere": In("a", ()),
    "!b~x": Not(OTHER),
    "a:gt0,lte9": Range("a", lte=9, gt=0),
    "!a:gte0": Not(Range("a", gte=0)),
    "(a=1 & !b~x)": And((ONE, Not(OTHER))),
    "(!a=1 | b~x)": Not(And((ONE, Not(OTHER)))),
    "(!a=1 & !b~x)": Not(Or((ONE, OTHER))),
    "(a=1 | (b~x & a=1))": Not(Not(Or((ONE, And((OTHER, ONE)))))),
}


@pytest.mark.parametrize("words", FILTERS)
def test_a_complement_is_carried_down_to_the_comparisons(words: str) -> None:
    assert in_words(FILTERS[words], Words()) == words


@pytest.mark.parametrize(
    ("filter", "words"),
    [
        (In("a", ()), "everywhere"),
        (And(()), "nowhere"),
        (Or(()), "everywhere"),
        (Not(And(())), "everywhere"),
    ],
)
def test_the_complement_of_nothing_is_everything(filter: Filter, words: str) -> None:
    assert in_words(Not(filter), Words()) == words


def test_a_filter_that_is_nested_too_deep_has_no_words() -> None:
    nested: Filter = ONE
    for _ in range(3):
        nested = Not(And((nested,)))
    assert in_words(nested, Words(), deepest=6)
    with pytest.raises(Inexpressible):
        in_words(nested, Words(), deepest=5)
