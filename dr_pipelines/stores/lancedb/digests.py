"""Ids for rows of a table that has no key: what a row holds, and which of its equals it is."""

import hashlib
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from dr_pipelines.stores.lancedb import values, vectors

NULL = b"\x00"


def digests(rows: pa.RecordBatch) -> pa.Array:
    """For each row SHA-256 (half of it, in hex) of its columns' names and values, in order.

    A step in Python for each value: about 1 µs each, where Arrow has no digest of rows.
    """
    columns = [(name.encode(), _cells(rows.column(name))) for name in rows.schema.names]
    ids = []
    for _ in range(rows.num_rows):
        digest = hashlib.sha256()
        for name, cells in columns:
            cell = next(cells)
            size = b"-" if cell is None else str(len(cell)).encode()
            digest.update(name + NULL + size + NULL + (cell or b""))
        ids.append(digest.hexdigest()[:32])
    return pa.array(ids, pa.string())


def numbered(batch: pa.RecordBatch, seen: dict[str, int]) -> pa.RecordBatch:
    """The batch with the ids of rows that came before numbered: `x`, `x.1`, `x.2` …"""
    ids = batch.column("id").to_pylist()
    names = []
    for digest in ids:
        count = seen.get(digest, 0)
        seen[digest] = count + 1
        names.append(f"{digest}.{count}" if count else digest)
    if names == ids:
        return batch
    for column in ("id", "document_id"):
        place = batch.schema.get_field_index(column)
        if place >= 0:
            batch = batch.set_column(place, batch.schema.field(place), pa.array(names, pa.string()))
    return batch


def _cells(array: pa.Array) -> Iterator[bytes | None]:
    if vectors.component(array.type) is not None and pa.types.is_fixed_size_list(array.type):
        present = array.is_valid().to_pylist()
        values_of = array.flatten().to_numpy(zero_copy_only=False)
        matrix = iter(np.ascontiguousarray(values_of.reshape(-1, array.type.list_size)))
        return (next(matrix).tobytes() if there else None for there in present)
    if pa.types.is_floating(array.type):
        numbers = array.to_numpy(zero_copy_only=False)
        valid = array.is_valid().to_pylist()
        return (n.tobytes() if there else None for n, there in zip(numbers, valid, strict=True))
    texts = values.to_field(array)
    if pa.types.is_list(texts.type):
        return (None if cell is None else repr(cell).encode() for cell in texts.to_pylist())
    return iter(texts.cast(pa.string()).cast(pa.binary()).to_pylist())
