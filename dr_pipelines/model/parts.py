"""A part of a collection that is not as it was."""

import json
from dataclasses import dataclass
from typing import Any

MOST_SHOWN = 200


@dataclass(frozen=True, slots=True)
class PartFinding:
    """A part that is not as it was: None where it is not there. `unreported` ones are as they were
    asked for, but nobody could look."""

    part: str
    expected: Any
    found: Any
    consequence: str
    unreported: bool = False


def shown(value: Any, *, collection: str) -> str:
    """A part's value for people: plain values as they are, a definition by its text, anything else
    as `name: value, …`; the placeholder of the table's name is the collection's."""
    text = _shown(value).replace("{table}", collection)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}…"


def _shown(value: Any) -> str:
    if value is None:
        return "not there"
    if isinstance(value, dict):
        if isinstance(value.get("definition"), str):
            return str(value["definition"])
        return ", ".join(f"{name}: {_shown(item)}" for name, item in value.items()) or "empty"
    if isinstance(value, list | tuple):
        return "; ".join(map(_shown, value)) or "empty"
    return value if isinstance(value, str) else json.dumps(value)
