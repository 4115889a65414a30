"""Filters as people type them, and what is said of those that are wrong."""

from datetime import UTC, datetime

import pytest

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.collection import (
    CollectionSpec,
    Field,
    FieldType,
    Vector,
)
from dr_pipelines.model.filter_syntax import format_filter, parse_filter
from dr_pipelines.model.query import (
    And,
    Contains,
    Equals,
    Filter,
    In,
    Not,
    Or,
    Range,
)

SPEC = CollectionSpec(
    name="handbook",
    vectors=(Vector(dimension=1),),
    fields=(
        Field(name="product", type=FieldType.STRING),
        Field(name="year", type=FieldType.INTEGER),
        Field(name="weight", type=FieldType.NUMBER),
        Field(name="current", type=FieldType.BOOLEAN),
        Field(name="seen", type=FieldType.TIMESTAMP),
        Field(name="groups", type=FieldType.STRINGS),
        Field(name="not", type=FieldType.STRING),
        Field(name="note", type=FieldType.STRING, filterable=False),
    ),
)
MEANINGS: dict[str, Filter] = {
    'product = "search"': Equals("product", "search"),
    "product='it\\'s \\u00e9\\n'": Equals("product", "it's é\n"),
    "year != -3": Not(Equals("year", -3)),
    "weight >= 2": Range("weight", gte=2.0),
    "weight < 1.5e-3": Range("weight", lt=0.0015),
    "current = true": Equals("current", True),
    'seen > "2026-01-31T13:00:00+01:00"': Range("seen", gt=datetime(2026, 1, 31, 12, tzinfo=UTC)),
    'product in ("a", "b")': In("product", ("a", "b")),
    'groups contains "eng"': Contains("groups", "eng"),
    '`not` = "x"': Equals("not", "x"),
    "true": And(()),
    "false": Or(()),
    "not not year <= 1": Not(Not(Range("year", lte=1))),
    "year = 1 or year = 2 and year = 3": Or(
        (Equals("year", 1), And((Equals("year", 2), Equals("year", 3))))
    ),
    "not year = 1 and year = 2": And((Not(Equals("year", 1)), Equals("year", 2))),
    "not (year = 1 and year = 2)": Not(And((Equals("year", 1), Equals("year", 2)))),
    "(year = 1 or year = 2) and year = 3": And(
        (Or((Equals("year", 1), Equals("year", 2))), Equals("year", 3))
    ),
    'product = "search" and not (groups contains "eng") or year > 2020 and product in ("a")': Or(
        (
            And((Equals("product", "search"), Not(Contains("groups", "eng")))),
            And((Range("year", gt=2020), In("product", ("a",)))),
        )
    ),
}
MISTAKES = {
    "": "position 1: found the end, expected a field, `not` or `(`",
    "year": "position 5: found the end, expected one of = != < <= > >= in contains",
    "year =": "position 7: found the end, expected a whole number within 64 bits",
    "year = and": "position 8: found `and`, expected a whole number within 64 bits",
    "product = search": "position 11: found `search`, expected a string, quoted",
    "year = 1 year = 2": "position 10: found `year`, expected `and`, `or` or the end",
    "(year = 1": "position 10: found the end, expected `)`",
    "year = 1)": "position 9: found `)`, expected `and`, `or` or the end",
    "year in 1": "position 9: found `1`, expected `(`",
    "year in (1 2)": "position 12: found `2`, expected `)`",
    "year ~ 1": "position 6: found `~`",
    'product = "open': "position 11: found an unclosed quote",
    'product = "\\q"': "not \\q",
    "colour = 1": "position 1: collection 'handbook' has no field 'colour'; filterable: product",
    'note = "x"': "position 1: field 'note' of 'handbook' is not filterable",
    'year = "2020"': "position 8: field 'year' is integer: expected a whole number within 64 bits",
    "year = 9223372036854775808": "within 64 bits",
    "current > true": "position 9: field 'current' is boolean: no order; use = or contains",
    'groups = "eng"': "position 8: field 'groups' is list[string]: no =; use contains",
    'product contains "x"': "position 9: field 'product' is string: no contains",
    'seen = "yesterday"': 'an ISO 8601 time like "2026-01-31T12:00:00Z"',
    'seen = "2026-01-31"': "position 8: field 'seen' is timestamp: expected a time with its UTC",
    'product = "\\ud800"': "expected a string",
    "(" * 200 + "year = 1": "no nesting deeper than 100",
    "not " * 2000 + "year = 1": "no nesting deeper than 100",
}


@pytest.mark.parametrize("text", MEANINGS)
def test_a_filter_is_read_as_people_mean_it(text: str) -> None:
    assert parse_filter(text, SPEC) == MEANINGS[text]


@pytest.mark.parametrize("text", MEANINGS)
def test_a_filter_that_is_written_is_read_again(text: str) -> None:
    assert parse_filter(format_filter(MEANINGS[text]), SPEC) == MEANINGS[text]


@pytest.mark.parametrize("text", MISTAKES, ids=lambda text: text[:20])
def test_a_mistake_is_placed_and_explained(text: str) -> None:
    with pytest.raises(InvalidRequest) as error:
        parse_filter(text, SPEC)
    assert MISTAKES[text] in str(error.value)
