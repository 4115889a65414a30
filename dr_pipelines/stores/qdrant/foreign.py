"""The layout of collections that something else made: points keep their ids and payloads.

A record's id is the point's, as text; it is a document of one record. A key of the payload that is
a column is read into it, and is left out of `extra` where the column says all of it; everything
else of the payload is in `extra`, and what is there counts when a point is written. The key of the
point's shard, where the collection has such keys, is in `extra` as `dr-shard-key`.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.base import canonical_json
from dr_pipelines.model.collection import CollectionSpec, FieldType, Vector
from dr_pipelines.model.query import Hit
from dr_pipelines.model.record import store_schema
from dr_pipelines.stores.qdrant import numbers, values
from dr_pipelines.stores.qdrant.schema import native_name, section_of
from dr_pipelines.stores.qdrant.variant import (
    Json,
    Page,
    Point,
    PointId,
    Scored,
    ShardKey,
)
from dr_pipelines.stores.qdrant.vectors import (
    check_sizes,
    found_vectors,
    given_vectors,
    held_vectors,
)
from dr_pipelines.stores.shared.layout import Role, column_roles_of

NUMBER = re.compile("0|[1-9][0-9]{0,19}")
UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
INF = float("inf")
SHARD = "dr-shard-key"


class ForeignRecords:
    """Points of one collection as records."""

    def __init__(self, spec: CollectionSpec, *, parses: int, as_given: bool = False) -> None:
        """`as_given`: the engine keeps vectors of any length."""
        self._spec = spec
        self._as_given = as_given
        self._parses = parses
        self._vectors = {vector.name: vector for vector in spec.vectors}
        self._keys = {
            field.name: (native_name(spec, field.name), field.type) for field in spec.fields
        }
        text = column_roles_of(section_of(spec)).get(Role.TEXT)
        self._texts = {"uri": "uri"} | ({"text": text} if text else {})
        self.shown: tuple[str, ...] = (text,) if text else ()

    def vector_names(self, columns: Sequence[str]) -> list[str]:
        return [native_name(self._spec, column) for column in columns if column in self._vectors]

    def payload_keys(self, columns: Sequence[str]) -> list[str] | None:
        """All that `batch` needs for these columns; None: everything, for `extra` is the rest."""
        if "extra" in columns:
            return None
        keys = {column: key for column, (key, _) in self._keys.items()} | self._texts
        return [keys[column] for column in columns if column in keys]

    def check(self, batch: pa.Table) -> None:
        """Refuse what such a collection cannot hold."""
        name = self._spec.name
        ids = batch.column("id").to_pylist()
        documents = batch.column("document_id").to_pylist()
        chunks = batch.column("chunk_index").to_pylist()
        for key, document, chunk in zip(ids, documents, chunks, strict=True):
            if native_id(key) is None or document != key or chunk != 0:
                raise InvalidRequest(
                    f"batch for {name!r}: record {key!r} (chunk {chunk} of {document!r}): in a "
                    "collection that another program made an id is a number below 2^64 or a UUID, "
                    "and each record is a document of its own"
                )
        for vector in self._spec.vectors if ids else ():
            column = batch.column(vector.name).chunk(0)
            check_sizes(ids, column, vector, name)
            self._sent_vectors(ids, column, vector)
        self._payloads(batch)

    def points(self, batch: pa.Table) -> list[Point]:
        """Checked records as points under their native ids, in order."""
        payloads, texts = self._payloads(batch), batch.column("id").to_pylist()
        vectors: list[Json] = [{} for _ in payloads]
        for column, vector in self._vectors.items():
            if not batch.num_rows:
                break
            rows = self._sent_vectors(texts, batch.column(column).chunk(0), vector)
            name = native_name(self._spec, column)
            for place, row in enumerate(rows):
                if row is not None:
                    vectors[place][name] = row
        ids = [_point_id(text) for text in texts]
        shards = [payload.pop(SHARD, None) for payload in payloads]
        return [Point(*parts) for parts in zip(ids, vectors, payloads, shards, strict=True)]

    def batch(self, page: Page, columns: Sequence[str]) -> pa.RecordBatch:
        schema = store_schema(self._spec)
        arrays = [self._column(column, page, schema.field(column).type) for column in columns]
        return pa.record_batch(arrays, schema=pa.schema([schema.field(c) for c in columns]))

    def hit(self, point: Scored, score: float) -> Hit:
        text = point.payload.get(self._texts.get("text", ""))
        return Hit(str(point.id), str(point.id), score, text if isinstance(text, str) else None)

    def of_documents(self, documents: Sequence[str]) -> Json:
        """The filter that finds the records of these documents."""
        return {"must": [{"has_id": [i for i in map(native_id, documents) if i is not None]}]}

    def superseded(self, batch: pa.Table, documents: Sequence[str]) -> Iterator[Json]:
        written = set(batch.column("id").to_pylist())
        gone = [document for document in documents if document not in written]
        if gone:
            yield self.of_documents(gone)

    def _sent_vectors(self, ids: Sequence[str], column: pa.Array, vector: Vector) -> list[Any]:
        if self._as_given:
            return given_vectors(column, vector, trusting=True)[0]
        return held_vectors(ids, column, vector, self._spec.name)

    def _payloads(self, batch: pa.Table) -> list[Json]:
        ids = batch.column("id").to_pylist()
        extras = batch.column("extra").to_pylist()
        payloads = [
            values.parsed_extra(extra, record, self._spec.name)
            for record, extra in zip(ids, extras, strict=True)
        ]
        for column, (key, kind) in self._keys.items():
            array = batch.column(column).combine_chunks()
            times = kind is FieldType.TIMESTAMP
            _fill(payloads, key, values.times_written(array) if times else array.to_pylist())
            if kind is FieldType.NUMBER:
                self._check_finite(payloads, key, ids)
        for column, key in self._texts.items():
            _fill(payloads, key, batch.column(column).to_pylist())
        return [self._sent(*pair) for pair in zip(ids, payloads, strict=True)]

    def _sent(self, record: str, payload: Json) -> Json:
        try:
            return numbers.sent(payload, parses=self._parses)
        except numbers.Unsendable as number:
            raise InvalidRequest(
                f"batch for {self._spec.name!r}: {number}, in the payload of record {record!r}, is "
                "given back as another number by the engine; restore into the local mode, or into "
                "another engine"
            ) from None

    def _check_finite(self, payloads: Sequence[Json], key: str, ids: Sequence[str]) -> None:
        for record, payload in zip(ids, payloads, strict=True):
            number = payload.get(key)
            if isinstance(number, float) and (number != number or number in (INF, -INF)):
                raise InvalidRequest(
                    f"batch for {self._spec.name!r}: {key!r} of record {record!r} is {number}, "
                    "which a payload of Qdrant cannot hold"
                )

    def _column(self, name: str, page: Page, type: pa.DataType) -> pa.Array:
        if name in self._vectors:
            native = native_name(self._spec, name)
            rows = [vectors.get(native) for vectors in page.vectors]
            return found_vectors(rows, [None] * len(rows), self._vectors[name])
        if name in ("id", "document_id"):
            return pa.array([str(point) for point in page.ids], type)
        if name == "chunk_index":
            return pa.array([0] * len(page.ids), type)
        if name == "extra":
            shards = page.shards or [None] * len(page.ids)
            rest = map(self._extra, page.payloads, shards)
            return pa.array(list(rest), type)
        if name in self._texts:
            key = self._texts[name]
            return pa.array(
                [values.typed(p.get(key), FieldType.STRING) for p in page.payloads], type
            )
        if name in self._keys:
            key, kind = self._keys[name]
            return pa.array([values.typed(p.get(key), kind) for p in page.payloads], type)
        return pa.nulls(len(page.ids), type)

    def _extra(self, payload: Json, shard: ShardKey | None) -> str | None:
        """The part of a payload that no column holds."""
        declared = dict.fromkeys(self._texts.values(), FieldType.STRING)
        declared |= dict(self._keys.values())
        rest = {
            key: value
            for key, value in payload.items()
            if key not in declared or not _is_said(value, declared[key])
        }
        if shard is not None:
            rest[SHARD] = shard
        return canonical_json(rest).decode() if rest else None


def native_id(text: str) -> PointId | None:
    """The id of a point that reads like this, if there can be one."""
    if NUMBER.fullmatch(text):
        return int(text) if int(text) < 2**64 else None
    return text if UUID.fullmatch(text) else None


def _point_id(text: str) -> PointId:
    native = native_id(text)
    if native is None:
        raise InvalidRequest(f"record {text!r}: not the id of a point")
    return native


def _fill(payloads: Sequence[Json], key: str, column: Sequence[Any]) -> None:
    """Fill a key from its column wherever `extra` has no value for it."""
    for payload, value in zip(payloads, column, strict=True):
        if value is not None:
            payload.setdefault(key, value)


def _is_said(value: Any, type: FieldType) -> bool:
    """True if a column of this type gives the value back as it was."""
    parsed = values.typed(value, type)
    if parsed is None:
        return False
    written = values.time_written(parsed) if type is FieldType.TIMESTAMP else parsed
    return values.same_json(written, value)
