"""Values of tables that others made: another engine keeps them as something else, from which they
are made again on the way back."""

import re
from collections.abc import Iterator
from typing import Any

from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.compatibility import Note, Outcome

SAME = frozenset(
    [
        "bigint",
        "boolean",
        "character varying",
        "character varying[]",
        "double precision",
        "integer",
        "name",
        "real",
        "smallint",
        "text",
        "text[]",
        "timestamp with time zone",
    ]
)
"""PostgreSQL's types whose values a field has, in the same order."""
SIZE = re.compile(r"\(\d+(?:,-?\d+)?\)")
PRIMARY = re.compile(r"PRIMARY KEY \((?P<columns>.+?)\)")


def values_elsewhere(spec: CollectionSpec) -> Iterator[Note]:
    """Notes on a table's values and key in another engine."""
    section = spec.engine.get("pgvector", {})
    if section.get("layout") == "table":
        yield from _columns(spec, section)
    if (key := _key(section)) is not None:
        yield Note("ids", Outcome.APPROXIMATED, f"{key} in pgvector: texts here, in bytewise order")


def _columns(spec: CollectionSpec, section: dict[str, Any]) -> Iterator[Note]:
    fields = {field.name for field in spec.fields}
    for column in section.get("columns", []):
        name, declared = column.get("as", column["name"]), column["type"]
        if name in fields and SIZE.sub("", declared) not in SAME:
            consequence = f"{declared} in pgvector: a text here, compared and ordered as one"
            yield Note(f"fields.{name}", Outcome.APPROXIMATED, consequence)


def _key(section: dict[str, Any]) -> str | None:
    """The type of a key that is no text; None of any other."""
    types = {column["name"]: column["type"] for column in section.get("columns", [])}
    for constraint in section.get("constraints", []):
        match = PRIMARY.match(constraint.get("definition", ""))
        if match is None:
            continue
        declared = types.get(match["columns"].strip('"'))
        if declared is None:
            return "a key of several columns" if ", " in match["columns"] else None
        return None if SIZE.sub("", declared) in ("text", "character varying") else declared
    return None
