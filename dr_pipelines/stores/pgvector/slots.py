"""Places of a section that have SQL of the server's, and the shape that each must have."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.stores.pgvector import clauses
from dr_pipelines.stores.pgvector.names import placed
from dr_pipelines.stores.pgvector.triggers import function_of

Section = dict[str, Any]
STORAGES = frozenset(["plain", "external", "main", "extended"])
COMPRESSIONS = frozenset(["pglz", "lz4"])
SERIALS = frozenset(["smallint", "integer", "bigint"])
NAME = r'(?:[A-Za-z_][A-Za-z0-9_$]*|"(?:[^"]|"")+")'
COLLATION = re.compile(rf"{NAME}(?:\.{NAME})?")
CASTS = frozenset(["vector", "halfvec"])
OBJECTS = (
    ("constraints", "definition", "clause", "constraint"),
    ("constraints", "using", "clause", "index"),
    ("indexes", "using", "clause", "index"),
    ("statistics", "columns", "elements", "statistics"),
    ("foreign_keys", "definition", "clause", "constraint"),
)
PIECES = {"clause": clauses.pieces_of, "elements": clauses.elements_of}


@dataclass(frozen=True, slots=True)
class Slot:
    """A place in a section that has SQL, and which part of the table it is."""

    holder: Any
    key: Any
    kind: str
    caller: str

    @property
    def text(self) -> str:
        """The SQL that stands there."""
        text = self.holder[self.key]
        if not isinstance(text, str):
            raise InvalidRequest(f"{self.caller}: expected a text, not {text!r}")
        return text


def slots_of(section: Section, table: str, partition: str = "") -> Iterator[Slot]:
    """Every place of a section, and of its partitions, that has SQL of the server's."""
    where = f" of partition {partition}" if partition else ""
    yield from _of_columns(section, where)
    yield from _of_objects(section, table, where)
    parts = section if partition else section.get("partitions", {})
    if "key" in parts and (partition or "partitions" in section):
        yield Slot(parts, "key", "clause", f"partition key{where}")
    for child in parts.get("tables", []):
        name = placed(child["name"], table, taken=False)
        yield Slot(child, "bound", "clause", f"bound of partition {name}")
        yield from slots_of(child, table, name)


def _of_columns(section: Section, where: str) -> Iterator[Slot]:
    for column in section.get("columns", []):
        for kind in ("type", "collation", "storage", "compression"):
            if kind in column:
                yield Slot(column, kind, kind, f"column {column['name']}{where}")
    defaults = section.get("defaults", {})
    for column, text in defaults.items():
        if text is not None:
            yield Slot(defaults, column, "expression", f"default of column {column}{where}")
    for column, how in section.get("generated", {}).items():
        yield Slot(how, "expression", "expression", f"generated column {column}{where}")
    for column, identity in section.get("identity", {}).items():
        yield Slot(identity, "type", "serial", f"sequence of column {column}{where}")
    casts = section.get("quantization", {})
    for vector in casts:
        yield Slot(casts, vector, "cast", f"index of vector {vector}")


def _of_objects(section: Section, table: str, where: str) -> Iterator[Slot]:
    for key, field, kind, what in OBJECTS:
        for part in section.get(key, []):
            if field in part:
                name = placed(part["name"], table, taken=False)
                yield Slot(part, field, kind, f"{what} {name}{where}")
    for trigger in section.get("triggers", []):
        for key in ("condition", "function"):
            if key in trigger:
                yield Slot(trigger, key, key, f"trigger {trigger['name']}{where}")
    for rule in section.get("policies", {}).get("rules", []):
        for key in ("using", "check"):
            if key in rule:
                yield Slot(rule, key, "expression", f"policy {rule['name']}{where}")


def require_shape(slot: Slot) -> None:
    """Raises: InvalidRequest: the text of a place is not what is to be there."""
    choices = {"storage": STORAGES, "compression": COMPRESSIONS, "serial": SERIALS, "cast": CASTS}
    words = choices.get(slot.kind)
    if words is not None and slot.text not in words:
        raise InvalidRequest(f"{slot.caller}: expected one of {sorted(words)}, not {slot.text!r}")
    if slot.kind == "collation" and not COLLATION.fullmatch(slot.text):
        raise InvalidRequest(f"{slot.caller}: {slot.text!r} is not the name of a collation")
    try:
        if slot.kind in PIECES:
            PIECES[slot.kind](slot.text)
        elif slot.kind == "function":
            function_of(slot.holder)
        elif slot.kind in ("condition", "expression", "type"):
            clauses.tree(slot.text)
    except InvalidRequest as error:
        raise InvalidRequest(f"{slot.caller}: {error}") from None
