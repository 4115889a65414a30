"""How records lie in a table: as this package lays them out, or as whoever made it did."""

from collections.abc import Iterable, Sequence
from typing import Protocol

import pyarrow as pa

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.collection import CollectionSpec, FieldType
from dr_pipelines.model.query import Filter, Scalar
from dr_pipelines.model.record import SPARSE, store_schema
from dr_pipelines.stores.lancedb import vectors
from dr_pipelines.stores.shared.exact import fields_of
from dr_pipelines.stores.shared.misfits import Batch, Problem

LABEL = "dr_pipelines.label"
"""Key of the schema's metadata that holds the label of a collection of ours: it comes and goes with
the table, in one step."""
PRIMARY_KEY = b"lance-schema:unenforced-primary-key"
"""Key of a column's metadata that says that it is the table's key: of two merges by it that insert
the same, Lance lets the second one notice."""
INDEXED = {
    FieldType.STRING: "BTREE",
    FieldType.INTEGER: "BTREE",
    FieldType.NUMBER: "BTREE",
    FieldType.TIMESTAMP: "BTREE",
    FieldType.BOOLEAN: "BITMAP",
    FieldType.STRINGS: "LABEL_LIST",
}
TEXT_INDEX = {
    "base_tokenizer": "simple",
    "lower_case": True,
    "stem": False,
    "remove_stop_words": False,
    "ascii_folding": False,
    "max_token_length": None,
}
"""Terms of the full-text index of our own collections: as near as Lance has them to those of exact
keyword search."""
Entry = dict[str, object]
"""A scalar or full-text index: `name`, `type`, `columns`, and `parameters` where it has some."""


class Records(Protocol):
    """Between `store_schema(spec)` and the columns of a table. `spec` is the contract: its indexes
    and configuration are what was asked for."""

    spec: CollectionSpec
    schema: pa.Schema
    """The table's columns, without our label."""
    key: str | None
    """The column that holds the id; without one, ids are digests of rows."""
    blobs: frozenset[str]
    """The table's columns that have blobs."""

    def columns(self, selected: Sequence[str]) -> list[str]:
        """The table's columns that are needed for some of `store_schema`."""
        ...

    def read(self, rows: pa.RecordBatch, selected: Sequence[str]) -> pa.RecordBatch:
        """Rows of the table, in those columns of `store_schema`."""
        ...

    def problems(self, rows: Batch) -> Iterable[Problem]:
        """Rows of `store_schema` that the table has no place for, whatever their values are."""
        ...

    def written(self, rows: pa.Table) -> pa.Table:
        """Rows of `store_schema` as rows of the table. Raises `InvalidRequest`, naming the record,
        where the table has no place for something."""
        ...

    def column(self, vector: str) -> str:
        """The table's column of a vector."""
        ...

    def understands(self, filter: Filter | None) -> bool:
        """True if the engine's own comparisons agree with the filter."""
        ...

    def key_value(self, id: str) -> Scalar | None:
        """An id as the key column has it; None where it cannot."""
        ...

    @property
    def document(self) -> str | None:
        """The table's column of the document's id."""
        ...

    @property
    def text(self) -> str | None:
        """The table's column of the text."""
        ...

    def indexes(self) -> list[Entry]:
        """Scalar and full-text indexes that `build_index` is to make where nothing else is said."""
        ...


class ManagedRecords:
    """Our own: the columns of `store_schema` under their names."""

    key: str | None = "id"
    document: str | None = "document_id"
    text: str | None = "text"
    blobs: frozenset[str] = frozenset()

    def __init__(self, spec: CollectionSpec) -> None:
        self.spec = spec
        types = {vector.name: vectors.stored_type(vector) for vector in spec.vectors}
        marks = {self.key: {PRIMARY_KEY: b"true"}}
        self.schema = pa.schema(
            [
                f.with_type(types.get(f.name, f.type)).with_metadata(marks.get(f.name))
                for f in store_schema(spec)
            ]
        )
        self._vectors = {vector.name: vector for vector in spec.vectors}
        self._schema = store_schema(spec)

    def columns(self, selected: Sequence[str]) -> list[str]:
        return list(selected)

    def read(self, rows: pa.RecordBatch, selected: Sequence[str]) -> pa.RecordBatch:
        schema = pa.schema([self._schema.field(column) for column in selected])
        arrays = [self._read(rows.column(column), column) for column in selected]
        return pa.RecordBatch.from_arrays(arrays, schema=schema)

    def _read(self, array: pa.Array, column: str) -> pa.Array:
        vector = self._vectors.get(column)
        return (
            array if vector is None or array.type == SPARSE else vectors.from_stored(array, vector)
        )

    def problems(self, rows: Batch) -> Iterable[Problem]:
        del rows  # it has one for everything
        return ()

    def written(self, rows: pa.Table) -> pa.Table:
        arrays = [
            vectors.to_stored(rows.column(field.name).chunk(0), field.type)
            if field.name in self._vectors
            else rows.column(field.name)
            for field in self.schema
        ]
        return pa.table(arrays, schema=self.schema)

    def column(self, vector: str) -> str:
        return vector

    def understands(self, filter: Filter | None) -> bool:
        return plain_filter(filter, frozenset(field.name for field in self.spec.fields))

    def key_value(self, id: str) -> Scalar | None:
        return id

    def indexes(self) -> list[Entry]:
        columns = {"id": "BTREE", "document_id": "BTREE"}
        columns |= {f.name: INDEXED[f.type] for f in self.spec.fields if f.filterable}
        entries: list[Entry] = [
            {"name": f"{column}_idx", "type": kind, "columns": [column]}
            for column, kind in columns.items()
        ]
        if self.spec.keyword_index:
            text = {"name": "text_idx", "type": "INVERTED", "columns": ["text"]}
            entries.append(text | {"parameters": TEXT_INDEX})
        return entries


def refused(rows: pa.Table, row: int, reason: str) -> InvalidRequest:
    """For a record that the table has no place for."""
    return InvalidRequest(f"record {rows.column('id')[row].as_py()!r}: {reason}")


def plain_filter(filter: Filter | None, same: frozenset[str]) -> bool:
    """True if a filter uses only these fields."""
    return all(field in same for field in fields_of(filter))
