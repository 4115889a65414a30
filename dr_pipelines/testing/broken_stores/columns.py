"""A column of a batch in another's place: how several of the stores change what they keep."""

from typing import TypeAlias

import pyarrow as pa

Column: TypeAlias = "pa.Array | pa.ChunkedArray"


def with_column(batch: pa.Table, name: str, column: Column) -> pa.Table:
    index = batch.schema.get_field_index(name)
    return batch.set_column(index, batch.schema.field(name), column)
