"""Values as the texts that `columns.text_of` reads, made of what a plain COPY sends: a query that
casts them would be planned."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.stores.pgvector.catalog import Attribute
from dr_pipelines.stores.pgvector.decoding import Decoder, Fields, numbers, strings

SAME = frozenset(["text", "varchar", "name", "json"])
"""Types of the engine that send the bytes of their text."""
WHOLE = {"int2": ">i2", "int4": ">i4", "int8": ">i8"}
HEX = np.frombuffer(b"0123456789abcdef", np.uint8)
DIGITS = [place for place in range(36) if place not in (8, 13, 18, 23)]
"""Where a UUID has no hyphen."""
MASKS = {"inet": ("/32", "/128"), "cidr": ("/32", "/128")}


def from_bytes(attribute: Attribute) -> Decoder | None:
    """The decoder from a type's own bytes to texts; None if only its output function can."""
    kind = attribute.kind if attribute.plain else ""
    if attribute.category == "e" or kind in SAME:
        return strings
    if kind in WHOLE:
        return _in_decimals(WHOLE[kind])
    return {"jsonb": _documents, "uuid": _uuids}.get(kind)


def from_output(attribute: Attribute) -> Callable[[pa.Array], pa.Array]:
    """The conversion from the text of a type's output function: for a few types a cast to text
    gives another one."""
    kind = attribute.kind if attribute.plain else ""
    if kind == "bool":
        return lambda texts: pc.if_else(pc.equal(texts, "t"), "true", "false")
    if kind == "bpchar" and attribute.modifier >= 0:
        return lambda texts: pc.utf8_rtrim(texts, " ")
    if kind in MASKS:
        return lambda texts: _with_mask(texts, *MASKS[kind])
    return lambda texts: texts


def _in_decimals(kind: str) -> Decoder:
    whole = numbers(kind, pa.int64())
    return lambda fields: whole(fields).cast(pa.string())


def _documents(fields: Fields) -> pa.Array:
    """Of jsonb, which has the number of a version in front."""
    length = np.where(fields.present, fields.length - 1, -1)
    return strings(Fields(fields.data, fields.begin + 1, length))


def _uuids(fields: Fields) -> pa.Array:
    raw = fields.matrix("u1", 16).astype(np.uint8)
    written = np.full((len(raw), 36), ord("-"), np.uint8)
    written[:, DIGITS] = np.stack([HEX[raw >> 4], HEX[raw & 15]], axis=2).reshape(-1, 32)
    ends = np.arange(len(raw) + 1, dtype=np.int32) * 36
    memory = [None, pa.py_buffer(ends), pa.py_buffer(written.tobytes())]
    texts = pa.Array.from_buffers(pa.string(), len(raw), memory)
    return pc.if_else(pa.array(fields.present), texts, pa.scalar(None, pa.string()))


def _with_mask(texts: pa.Array, four: str, six: str) -> pa.Array:
    """An address of one host: its output function leaves out how many bits are the network's."""
    mask = pc.if_else(pc.match_substring(texts, ":"), six, four)
    whole = pc.binary_join_element_wise(texts, mask, "")
    return pc.if_else(pc.match_substring(texts, "/"), texts, whole)
