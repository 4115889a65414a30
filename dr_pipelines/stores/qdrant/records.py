"""The layout of collections that this package makes.

A point's id is the UUIDv5 of the record's id; the payload has a key for each column that is not
null, under the column's name. Beside them:

- `dr-vectors`: vector → base64 of the float32 that were given, where the engine does not keep them;
- `dr-numbers`: number field → its value as Python's `float.hex`, where JSON does not have it or the
  engine would change it. NaN has no key of its own, so that no filter finds it; an infinity has the
  largest number there is, so that ranges find it; any other has the next number below that comes
  back as it is (see `stores.floats`), and `filters` knows.
"""

import math
import sys
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from dr_pipelines.errors import Damaged
from dr_pipelines.model.base import canonical_json
from dr_pipelines.model.collection import CollectionSpec, FieldType, Vector
from dr_pipelines.model.query import Hit
from dr_pipelines.model.record import store_schema
from dr_pipelines.stores.qdrant import values
from dr_pipelines.stores.qdrant.foreign import native_id
from dr_pipelines.stores.qdrant.variant import (
    Json,
    Page,
    Point,
    PointId,
    Scored,
)
from dr_pipelines.stores.qdrant.vectors import check_sizes, found_vectors, given_vectors
from dr_pipelines.stores.shared.floats import settled

NAMESPACE = uuid.UUID("6f1b2d9e-7a34-5c58-9d0e-2f6f0a7c41b3")
BESIDE_VECTORS = "dr-vectors"
BESIDE_NUMBERS = "dr-numbers"
LARGEST = sys.float_info.max
SHOWN = ("id", "document_id", "text")


class ManagedRecords:
    """Records of one collection as points."""

    def __init__(self, spec: CollectionSpec, *, trusting: bool) -> None:
        self._spec = spec
        self._trusting = trusting
        self._vectors = {vector.name: vector for vector in spec.vectors}
        self._numbers = [f.name for f in spec.fields if f.type is FieldType.NUMBER]
        self._times = {f.name for f in spec.fields if f.type is FieldType.TIMESTAMP}

    shown = SHOWN

    def vector_names(self, columns: Sequence[str]) -> list[str]:
        return [column for column in columns if column in self._vectors]

    def payload_keys(self, columns: Sequence[str]) -> list[str] | None:
        """All that `batch` needs for these columns; None: everything, as `extra` of a stray."""
        if "extra" in columns:
            return None
        keys = [column for column in columns if column not in self._vectors]
        beside = [BESIDE_VECTORS] if len(keys) < len(columns) else []
        beside += [BESIDE_NUMBERS] if set(keys) & set(self._numbers) else []
        return list(dict.fromkeys(["id", "document_id", *keys, *beside]))

    def check(self, batch: pa.Table) -> None:
        """Refuse what cannot be kept."""
        ids = batch.column("id").to_pylist()
        for vector in self._spec.vectors:
            check_sizes(ids, batch.column(vector.name).chunk(0), vector, self._spec.name)

    def points(self, batch: pa.Table) -> list[Point]:
        """A point for each record. The clients take one object for each, with a dict of its
        payload: about 60 µs a record with 384 components."""
        payloads = self._payloads(batch)
        vectors: list[Json] = [{} for _ in payloads]
        for name, vector in self._vectors.items():
            if not batch.num_rows:
                break
            rows, beside = given_vectors(
                batch.column(name).chunk(0), vector, trusting=self._trusting
            )
            for place, row in enumerate(rows):
                if row is not None:
                    vectors[place][name] = row
            for place, text in beside.items():
                payloads[place].setdefault(BESIDE_VECTORS, {})[name] = text
        ids = [point_id(payload["id"]) for payload in payloads]
        return [Point(*parts) for parts in zip(ids, vectors, payloads, strict=True)]

    def batch(self, page: Page, columns: Sequence[str]) -> pa.RecordBatch:
        """The records of points, in these columns. A point that something else put here becomes a
        document of one record, with its payload in `extra`."""
        schema = store_schema(self._spec)
        payloads = [
            payload
            if "id" in payload and "document_id" in payload
            else _stray(page.ids[place], payload)
            for place, payload in enumerate(page.payloads)
        ]
        try:
            arrays = [
                self._vector_column(self._vectors[column], page, payloads)
                if column in self._vectors
                else self._column(column, payloads, schema.field(column).type)
                for column in columns
            ]
        except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError, ValueError) as error:
            raise Damaged(
                f"{self._spec.name!r}: a point holds what this tool does not write ({error}); "
                "restore the collection from a recovery point"
            ) from error
        return pa.record_batch(arrays, schema=pa.schema([schema.field(c) for c in columns]))

    def hit(self, point: Scored, score: float) -> Hit:
        payload = point.payload
        key = str(payload.get("id", point.id))
        return Hit(key, str(payload.get("document_id", key)), score, payload.get("text"))

    def of_documents(self, documents: Sequence[str]) -> Json:
        """The filter that finds the records of these documents."""
        strays = _natives(documents)
        match = {"key": "document_id", "match": {"any": list(documents)}}
        return {"should": [match, *([{"has_id": strays}] if strays else [])]}

    def superseded(self, batch: pa.Table, documents: Sequence[str]) -> Iterator[Json]:
        """Filters of what must go after a batch was written: other records of these documents, and
        points of something else that have the ids of records."""
        ids = batch.column("id").to_pylist()
        strays = _natives(ids)
        if not strays and not documents:
            return
        condition = {"must_not": [{"has_id": [point_id(record) for record in ids]}]} if ids else {}
        if strays:
            yield {"must": [{"has_id": strays}]} | condition
        if documents:
            yield {"must": [self.of_documents(documents)]} | condition

    def _payloads(self, batch: pa.Table) -> list[Json]:
        names = [name for name in batch.column_names if name not in self._vectors]
        columns = [
            values.times_written(batch.column(name).combine_chunks())
            if name in self._times
            else batch.column(name).to_pylist()
            for name in names
        ]
        payloads = [
            {name: value for name, value in zip(names, row, strict=True) if value is not None}
            for row in zip(*columns, strict=True)
        ]
        for name in self._numbers:
            for payload in payloads:
                if name in payload:
                    _set_beside(payload, name)
        return payloads

    def _vector_column(self, vector: Vector, page: Page, payloads: Sequence[Json]) -> pa.Array:
        beside = [payload.get(BESIDE_VECTORS, {}).get(vector.name) for payload in payloads]
        return found_vectors([v.get(vector.name) for v in page.vectors], beside, vector)

    def _column(self, name: str, payloads: Sequence[Json], type: pa.DataType) -> pa.Array:
        items: list[Any] = [payload.get(name) for payload in payloads]
        if name in self._times:
            return values.times_read(items)
        if name in self._numbers:
            for place, payload in enumerate(payloads):
                bits = payload.get(BESIDE_NUMBERS, {}).get(name)
                items[place] = items[place] if bits is None else float.fromhex(bits)
        return pa.array(items, type)


def point_id(record: str) -> str:
    """The id of a record's point."""
    return str(uuid.uuid5(NAMESPACE, record))


def _natives(records: Sequence[str]) -> list[PointId]:
    """Ids of points that read like these ids of records."""
    return [native for native in map(native_id, records) if native is not None]


def _set_beside(payload: Json, name: str) -> None:
    number = payload[name]
    near = settled(max(-LARGEST, min(LARGEST, number)))
    if near == number:
        return
    payload.setdefault(BESIDE_NUMBERS, {})[name] = number.hex()
    if math.isnan(number):
        del payload[name]
    else:
        payload[name] = near


def _stray(id: PointId, payload: Json) -> Json:
    return {
        "id": str(id),
        "document_id": str(id),
        "chunk_index": 0,
        "extra": canonical_json(payload).decode(),
    }
