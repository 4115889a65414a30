"""Records of collections that something else made: an id, a document, a URI, free metadata.

Each is a document of its own. Its metadata is the column `extra`: canonical JSON, in which whole
numbers and floats differ (`1` and `1.0`); a sparse vector (Chroma Cloud has them) is the object
that Chroma's own protocol has for it. Nothing is added to such a record: clients find what they
wrote.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from chromadb.base_types import SparseVector

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.base import canonical_json
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.record import store_schema
from dr_pipelines.stores.chroma import vectors
from dr_pipelines.stores.chroma.records import Metadata, Rows, embeddings
from dr_pipelines.stores.shared.columns import Mask, whole
from dr_pipelines.stores.shared.floats import sendable

FORBIDDEN_KEYS = ("$", "#", "chroma:")
TYPE = "#type"


class _Unfit(Exception):
    """Why Chroma cannot hold a value."""


def encoded(batch: pa.Table, spec: CollectionSpec, space: str, *, parses: int) -> Rows:
    """A checked batch.

    Raises:
        InvalidRequest: a record is not one of a document of its own, has no vector, or `extra` is
            not metadata that Chroma returns as it is.
    """
    vector = spec.vectors[0]
    rows, valid = vectors.matrix(whole(batch.column(vector.name)))
    ids = batch.column("id").to_pylist()
    for wrong, reason in (
        (~valid, "it has no vector, and every record of this collection needs one"),
        (vectors.beyond(rows, space), "its vector is too long or too short for a cosine space"),
        (_elsewhere(batch), "it is a piece of a document, and here every record is a document"),
    ):
        if wrong.any():
            raise _refused(ids[int(np.argmax(wrong))], spec, reason)
    metadatas = list[Metadata]()
    for key, extra in zip(ids, batch.column("extra").to_pylist(), strict=True):
        try:
            metadatas.append(None if extra is None else _metadata(extra, parses))
        except (_Unfit, ValueError) as error:
            raise _refused(key, spec, f"extra: {error}") from error
    documents, uris = (batch.column(name).to_pylist() for name in ("text", "uri"))
    return Rows(ids, rows, metadatas, documents, uris)


def replacing(part: dict[str, Any], existing: Mapping[str, Any]) -> list[str]:
    """Change the arguments of an upsert so that it leaves nothing of the records that are there:
    keys that go are given as None. Returns the records to delete first, those that lose a document
    or a URI, for which Chroma has no call."""
    places = {key: place for place, key in enumerate(part["ids"])}
    emptied = list[str]()
    for number, key in enumerate(existing["ids"]):
        place = places[key]
        old = existing["metadatas"][number] or {}
        gone = dict.fromkeys(old.keys() - (part["metadatas"][place] or {}).keys())
        if gone:
            part["metadatas"][place] = (part["metadatas"][place] or {}) | gone
        loses = any(
            existing[name][number] is not None and part[name][place] is None
            for name in ("documents", "uris")
        )
        emptied += [key] * loses
    return emptied


def included(columns: Sequence[str], spec: CollectionSpec) -> list[str]:
    """The parts of Chroma's answer that these columns are made of."""
    sources = {
        "metadatas": "extra",
        "documents": "text",
        "uris": "uri",
        "embeddings": spec.vectors[0].name,
    }
    return [part for part, column in sources.items() if column in columns]


def decoded(
    answer: Mapping[str, Any], spec: CollectionSpec, columns: Sequence[str]
) -> pa.RecordBatch:
    """Chroma's answer as records, in its order."""
    full, vector = store_schema(spec), spec.vectors[0]
    ids = answer["ids"]
    makers = {
        "id": lambda: pa.array(ids, pa.string()),
        "document_id": lambda: pa.array(ids, pa.string()),
        "chunk_index": lambda: pa.array(np.zeros(len(ids), np.int32)),
        "text": lambda: pa.array(answer["documents"], pa.string()),
        "uri": lambda: pa.array(answer["uris"], pa.string()),
        "extra": lambda: pa.array([_extra(m) for m in answer["metadatas"]], pa.string()),
        vector.name: lambda: vectors.column(
            embeddings(answer, vector), np.ones(len(ids), bool), vector
        ),
    }
    schema = pa.schema([full.field(name) for name in columns])
    return pa.RecordBatch.from_arrays([makers[name]() for name in columns], schema=schema)


def _extra(metadata: Metadata) -> str | None:
    if not metadata:
        return None
    plain = {k: v.to_dict() if isinstance(v, SparseVector) else v for k, v in metadata.items()}
    return canonical_json(plain).decode()


def _metadata(extra: str, parses: int) -> dict[str, Any]:
    value = json.loads(extra)
    if not isinstance(value, dict) or not value or canonical_json(value).decode() != extra:
        raise _Unfit("expected a JSON object with sorted keys and no spaces, or null for none")
    for key in value:
        if not key or key.startswith(FORBIDDEN_KEYS):
            raise _Unfit(f"Chroma has no metadata key {key!r}")
    return {key: _value(key, item, parses) for key, item in value.items()}


def _value(key: str, value: Any, parses: int) -> Any:
    if isinstance(value, dict) and value.get(TYPE) == "sparse_vector":
        return SparseVector.from_dict(value)
    if not isinstance(value, list):
        return _scalar(key, value, parses)
    if not value or len({type(item) for item in value}) > 1:
        raise _Unfit(f"Chroma has no list {value} ({key}): it is empty, or of several types")
    return [_scalar(key, item, parses) for item in value]


def _scalar(key: str, value: Any, parses: int) -> Any:
    if isinstance(value, bool | str) or (isinstance(value, int) and -(2**63) <= value < 2**63):
        return value
    is_float = isinstance(value, float) and not (value == 0 and math.copysign(1, value) < 0)
    sent = sendable(value, parses=parses) if is_float else None
    if sent is None:
        raise _Unfit(f"Chroma cannot hold {value!r} ({key}) exactly")
    return sent


def _elsewhere(batch: pa.Table) -> Mask:
    ids, documents = (batch.column(name).to_numpy() for name in ("id", "document_id"))
    elsewhere = (ids != documents) | (batch.column("chunk_index").to_numpy() != 0)
    return np.asarray(elsewhere, bool)


def _refused(id: str, spec: CollectionSpec, reason: str) -> InvalidRequest:
    return InvalidRequest(f"batch for {spec.name!r}: record {id!r}: {reason}")
