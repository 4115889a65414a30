"""How records lie in a Milvus collection: what reading, writing and searching need to know.

Two layouts: managed, of collections that this package makes for any specification, and foreign, of
those that something else made (and of their copies).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import pyarrow as pa

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.collection import CollectionSpec, Vector
from dr_pipelines.stores.milvus.column import INTEGERS, Column

LISTED_AT_ONCE = 2_000
"""How many values one condition lists."""
SMALLEST = -(2**63)
Parts = dict[str, pa.Table]
"""Rows by partition; an empty name is the engine's choice."""


class RecordLayout(Protocol):
    """`columns` are the engine's; `key` is the primary one; `ordered` says whether its order is the
    bytewise order of ids."""

    spec: CollectionSpec
    columns: tuple[Column, ...]
    key: Column
    ordered: bool
    document_column: str
    text_column: str | None

    def needed(self, selected: Sequence[str]) -> list[Column]:
        """The engine's columns from which those of a record are made."""
        ...

    def to_records(
        self,
        arrays: Mapping[str, pa.Array],
        count: int,
        selected: Sequence[str],
        *,
        partition: str,
    ) -> pa.RecordBatch:
        """Records of an answer's columns, in the order and with the columns asked for."""
        ...

    def to_parts(self, rows: pa.Table) -> Parts:
        """Checked rows in the engine's columns. Raises `InvalidRequest` for what it cannot hold,
        by the record's id."""
        ...

    def column_of(self, name: str) -> str:
        """The engine's column of a declared field or vector."""
        ...

    def present(self, vector: Vector) -> str | None:
        """The condition under which a record has this vector; None where every answer has it."""
        ...


def literal(column: Column, value: str | int) -> str:
    """An id as expressions have it."""
    return str(int(value)) if column.type in INTEGERS else quoted(str(value))


def among(column: Column, values: Iterable[str | int]) -> str:
    """The condition that a column has one of these ids."""
    if column.type not in INTEGERS:
        return f"{column.name} in [{', '.join(literal(column, value) for value in values)}]"
    numbers = [int(value) for value in values]
    listed = f"{column.name} in [{', '.join(str(n) for n in numbers if n != SMALLEST)}]"
    if SMALLEST not in numbers:
        return listed
    # servers read a sign and a number, which alone is too large
    return f"({listed} or {column.name} < {SMALLEST + 1})"


def above(column: Column, value: str | int) -> str:
    """The condition that a column has a higher id."""
    if value == SMALLEST:
        return f"{column.name} >= {SMALLEST + 1}"
    return f"{column.name} > {literal(column, value)}"


def quoted(text: str) -> str:
    """A text as expressions have it. Only these escapes mean the same to servers and milvus-lite;
    every other character stands for itself."""
    for sign, escape in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        text = text.replace(sign, escape)
    return f'"{text}"'


def key_of(layout: RecordLayout, record_id: str) -> str | int:
    """An id in the engine's own type. Raises `InvalidRequest` where it has none."""
    if layout.key.type not in INTEGERS:
        return record_id
    try:
        if str(int(record_id)) == record_id and SMALLEST <= int(record_id) < 2**63:
            return int(record_id)
    except ValueError:
        pass
    raise InvalidRequest(
        f"record {record_id!r} of {layout.spec.name!r}: its ids are whole numbers of 64 bits"
    )


def named(columns: Sequence[Column], name: str) -> Column:
    """The column of that name, which is there."""
    return next(column for column in columns if column.name == name)
