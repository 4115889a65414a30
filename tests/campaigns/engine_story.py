"""A collection with fields of every type and a history of it, for every engine."""

from datetime import timedelta
from typing import Any

from dr_pipelines.model.collection import (
    CollectionSpec,
    Field,
    FieldType,
    Vector,
)
from dr_pipelines.testing.world import DIMENSION, START, ListedSource

SPEC = CollectionSpec(
    name="notes",
    vectors=(Vector(dimension=DIMENSION),),
    fields=(
        Field(name="title", type=FieldType.STRING, filterable=False),
        Field(name="team", type=FieldType.STRING, role="tenant"),
        Field(name="groups", type=FieldType.STRINGS, role="principals"),
        Field(name="year", type=FieldType.INTEGER),
        Field(name="rating", type=FieldType.NUMBER),
        Field(name="draft", type=FieldType.BOOLEAN),
        Field(name="seen", type=FieldType.TIMESTAMP),
    ),
)


def history() -> ListedSource:
    """Edits, deletions and returns, fields of every type, some of them null."""
    source = ListedSource()
    for number in range(24):
        metadata: dict[str, Any] = {
            "title": f"é {number}",
            "team": ("red", "blue", None)[number % 3],
            "groups": [["eng"], ["eng", "ops"], [], None][number % 4],
            "year": None if number == 7 else 2000 + number,
            "rating": number / 16,
            "draft": (True, False, None)[number % 3],
            "seen": (START + timedelta(hours=2 * number)).isoformat(),
            "undeclared": {"deep": [number]},
        }
        source.upsert(
            f"d{number:02d}", f"some words {number} " * (1 + number % 3), at=START, **metadata
        )
    later = START + timedelta(days=1)
    for number in (3, 4, 5):
        source.delete(f"d{number:02d}", at=later)
    source.upsert("d04", "back again", at=later, team="red", year=2004)
    source.upsert("d06", "words that changed", at=later, team="blue", year=2006)
    return source
