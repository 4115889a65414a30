"""The order in which collections are recovered."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a collection: its priority, 1 first, and those it depends on."""

    priority: int
    depends_on: tuple[str, ...] = ()


def recovery_order(places: Mapping[str, Place]) -> list[str]:
    """Each collection after those it depends on; of those that may come next, the one of the first
    priority, then by name. Names that are not among them are left out. Raises `ValueError` with
    those that depend on each other in a circle."""
    order, left = list[str](), dict(places)
    while left:
        ready = [
            name for name, place in left.items() if not any(d in left for d in place.depends_on)
        ]
        if not ready:
            raise ValueError(
                f"expected no circle in depends_on, and there is one among: {_named(left)}"
            )
        first = min(ready, key=lambda name: (places[name].priority, name))
        order.append(first)
        del left[first]
    return order


def _named(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
