"""Rows of a segment in memory, as they are stored: without vectors, and those beside them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.record import DOCUMENT_ROW, narrow_schema, segment_schema, vector_schema
from dr_pipelines.repository.codec import require_schema
from dr_pipelines.repository.take_rows import Numbers, order_of, spread, take_rows


@dataclass(frozen=True, slots=True)
class SegmentRows:
    """Sorted rows in `narrow_schema`, and in `vector_schema` the vectors of their records, in
    order. Joining the two copies every vector, so what can do without does not."""

    narrow: pa.Table
    vectors: pa.Table

    @classmethod
    def of(cls, rows: pa.Table, spec: CollectionSpec) -> Self:
        """Those of sorted rows in `segment_schema`."""
        require_schema(rows, segment_schema(spec), what="segment")
        vectors, _ = records_of(rows, vector_schema(spec).names)
        return cls(rows.select(narrow_schema(spec).names), vectors)

    @classmethod
    def joined_up(cls, parts: "Sequence[SegmentRows]") -> "SegmentRows":
        """Rows of several, one behind the other."""
        tables = [[part.narrow for part in parts], [part.vectors for part in parts]]
        return cls(*map(pa.concat_tables, tables))

    @property
    def num_rows(self) -> int:
        """Of documents and records."""
        return int(self.narrow.num_rows)

    def taken(self, numbers: Numbers) -> "SegmentRows":
        """The rows with these numbers, in this order."""
        is_record = record_rows(self.narrow)
        places = np.cumsum(is_record, dtype=np.int64)[numbers] - 1
        vectors = take_rows(self.vectors, places[is_record[numbers]])
        return SegmentRows(take_rows(self.narrow, numbers), vectors)

    def in_order(self, names: Sequence[str]) -> "SegmentRows":
        """The rows ascending by these columns, earlier ones first."""
        order = order_of(self.narrow, names)
        return self if order is None else self.taken(order)

    def cut(self, count: int) -> "tuple[SegmentRows, SegmentRows]":
        """The first rows, so many, and the others; nothing is copied."""
        records = int(np.count_nonzero(record_rows(self.narrow.slice(0, count))))
        return (
            SegmentRows(self.narrow.slice(0, count), self.vectors.slice(0, records)),
            SegmentRows(self.narrow.slice(count), self.vectors.slice(records)),
        )

    def joined(self, columns: Sequence[str]) -> pa.Table:
        """Some columns of both, row by row; document rows have no vectors."""
        rows, is_record = self.narrow, record_rows(self.narrow)
        for name in columns:
            if name in self.vectors.column_names:
                column = spread(self.vectors[name], is_record)
                rows = rows.append_column(self.vectors.schema.field(name), column)
        return rows.select(list(columns))


def record_rows(rows: pa.Table) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """For each row, true if it is a record."""
    is_record: np.ndarray[tuple[int], np.dtype[np.bool_]] = pc.not_equal(
        rows["chunk_index"], DOCUMENT_ROW
    ).to_numpy()
    return is_record


def records_of(rows: pa.Table, names: Sequence[str]) -> tuple[pa.Table, pa.Array]:
    """Some columns of the record rows, and for every row its place among them: null where it is a
    document row."""
    is_record = record_rows(rows)
    numbers: Numbers = np.flatnonzero(is_record)
    places = pa.array(np.cumsum(is_record, dtype=np.int64) - 1, mask=~is_record)
    return take_rows(rows.select(names), numbers), places
