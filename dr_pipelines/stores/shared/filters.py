"""One walk over filters, in the words of any engine.

A filter is two-valued: a comparison with a null is false, and its complement is true. Where an
engine's own `not` leaves out records with nulls, the complement of a conjunction cannot be said of
the whole; so a complement is carried down to the comparisons, and only those have one.
"""

from collections.abc import Sequence
from typing import Protocol, TypeVar, assert_never

from dr_pipelines.model.query import And, Contains, Equals, Filter, In, Not, Or, Range, Scalar

Condition = TypeVar("Condition")
Bounds = Sequence[tuple[str, Scalar]]
"""The bounds of a range, each with its name in `Range`."""
SIGNS = {"gte": ">=", "gt": ">", "lte": "<=", "lt": "<"}
"""What SQL and languages like it call them."""


class Inexpressible(Exception):  # a question that another answers, and no failure
    """An engine has no words for what is asked: every record is read instead."""


class Dialect(Protocol[Condition]):
    """Conditions in an engine's words. A comparison that is not `meant` is its complement, which
    holds for nulls too. Each may raise `Inexpressible`."""

    def all_of(self, conditions: list[Condition]) -> Condition:
        """Where all of them hold; of none: everywhere."""
        ...

    def any_of(self, conditions: list[Condition]) -> Condition:
        """Where one of them holds; of none: nowhere."""
        ...

    def among(self, field: str, values: Sequence[Scalar], *, meant: bool) -> Condition:
        """Where a field has one of some values, at least one of which is given."""
        ...

    def containing(self, field: str, value: str, *, meant: bool) -> Condition:
        """Where a list has a value."""
        ...

    def within(self, field: str, bounds: Bounds, *, meant: bool) -> Condition:
        """Where a field is within all of its bounds, at least one of which is given; NaN is within
        none."""
        ...


def in_words(
    filter: Filter | None,
    dialect: Dialect[Condition],
    *,
    meant: bool = True,
    deepest: int | None = None,
) -> Condition:
    """A checked filter, or its complement, in the words of a dialect; no filter holds everywhere.

    Raises:
        Inexpressible: the dialect lacks a word, or the filter is nested in more than `deepest`
            others.
    """
    if deepest is not None and deepest < 0:
        raise Inexpressible("it is nested too deep")
    below = None if deepest is None else deepest - 1
    match filter:
        case None:
            return dialect.all_of([])
        case Not(inner):
            return in_words(inner, dialect, meant=not meant, deepest=below)
        case And(filters) | Or(filters):
            parts = [in_words(f, dialect, meant=meant, deepest=below) for f in filters]
            join = dialect.all_of if isinstance(filter, And) == meant else dialect.any_of
            return join(parts)
        case In(_, ()):
            return dialect.any_of([]) if meant else dialect.all_of([])
        case Equals(field, value):
            return dialect.among(field, [value], meant=meant)
        case In(field, values):
            return dialect.among(field, values, meant=meant)
        case Contains(field, value):
            return dialect.containing(field, value, meant=meant)
        case Range(field):
            return dialect.within(field, bounds_of(filter), meant=meant)
        case _:
            assert_never(filter)


def bounds_of(range: Range) -> Bounds:
    """The bounds that bind."""
    bounds = {name: getattr(range, name) for name in SIGNS}
    return [(name, value) for name, value in bounds.items() if value is not None]
