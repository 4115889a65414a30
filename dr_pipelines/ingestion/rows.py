"""Rows of a chunks checkpoint from changes, and what must hold of rows before they are kept."""

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.ingestion.fields import declared_and_extra
from dr_pipelines.ingestion.rules import Rule, enforce, require_schema
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.record import (
    CHANGE_SCHEMA,
    DOCUMENT_ROW,
    ORDER_COLUMNS,
    Presence,
    chunk_schema,
    segment_schema,
)
from dr_pipelines.protocols import Chunker

NORM_TOLERANCE = 1e-3
MAX_ID_BYTES = 512
VERSION_KEY = ("document_id", *(c for c in ORDER_COLUMNS if c != "sequence"))
PRESENCES = (Presence.PRESENT, Presence.DELETED, Presence.ABSENT)


def build_chunk_rows(
    changes: pa.Table,
    chunker: Chunker,
    *,
    spec: CollectionSpec,
    epoch: int,
    generation: int,
    provenance_fingerprint: str,
    batch: str,
) -> pa.Table:
    """The document row and the records of each change, in `chunk_schema(spec)`, sorted as a
    segment is. Digests and `sequence` are null: the caller fills them.

    Raises `InvalidRequest` for a metadata value that is not of its field's type.
    """
    fields, extra = declared_and_extra(changes, spec)
    pieces = chunker.split(_one(changes["title"]), _one(changes["text"]))
    owners = pieces["row"].to_numpy()
    counts = np.bincount(owners, minlength=len(changes)).astype(np.int32)
    shared = {
        "document_id": changes["document_id"],
        "epoch": pa.repeat(pa.scalar(epoch, pa.int32()), len(changes)),
        "position": changes["position"],
        "ordinal": changes["ordinal"],
        "edit": pa.repeat(pa.scalar(0, pa.int32()), len(changes)),
        "generation": pa.repeat(pa.scalar(generation, pa.int64()), len(changes)),
        "provenance": pa.repeat(provenance_fingerprint, len(changes)),
        "batch": pa.repeat(batch, len(changes)),
        "updated_at": changes["updated_at"],
        "document_sha256": _sha256(changes["text"]),
    }
    described = {
        "uri": changes["uri"],
        "extra": extra,
        **{field.name: column for field, column in zip(spec.fields, fields, strict=True)},
    }
    document_rows = shared | {
        "chunk_index": pa.repeat(pa.scalar(DOCUMENT_ROW, pa.int32()), len(changes)),
        "presence": pc.if_else(changes["deleted"], Presence.DELETED, Presence.PRESENT),
        "chunk_count": pa.array(counts),
    }
    record_rows = {name: pc.take(c, pieces["row"]) for name, c in (shared | described).items()} | {
        "chunk_index": pieces["chunk_index"],
        "text": pieces["text"],
        "prefix": pieces["prefix"],
    }
    record_rows["id"] = _record_ids(record_rows["document_id"], pieces["chunk_index"])
    schema = chunk_schema(spec)
    rows = pa.concat_tables([_aligned(document_rows, schema), _aligned(record_rows, schema)])
    keys = [(name, "ascending") for name in (*VERSION_KEY, "chunk_index")]
    return rows.sort_by(keys).combine_chunks()


def embedding_inputs(chunks: pa.Table) -> list[str]:
    """The text to embed for each record row, in order: prefix and text."""
    records = chunks.filter(pc.field("chunk_index") != DOCUMENT_ROW)
    prefixes = pc.fill_null(records["prefix"], "")
    inputs: list[str] = pc.binary_join_element_wise(prefixes, records["text"], "").to_pylist()
    return inputs


def check_changes(batch: pa.RecordBatch | pa.Table) -> None:
    """Raises `InvalidRequest` unless these are changes in their order: schema, usable ids, rising
    positions and days, and nothing but its id and time in a deletion."""
    require_schema(batch, CHANGE_SCHEMA, "changes")
    table = pa.table(batch)
    if not len(table):
        return
    deleted, days = table["deleted"], table["day"].cast(pa.int32())
    size = pc.binary_length(table["document_id"])
    later = pc.or_kleene(
        pc.greater(*_neighbours(table["position"])),
        pc.and_kleene(
            pc.equal(*_neighbours(table["position"])), pc.greater(*_neighbours(table["ordinal"]))
        ),
    )
    content = [pc.is_valid(table[name]) for name in ("title", "text", "uri", "metadata")]
    any_content = pc.or_kleene(
        pc.or_kleene(content[0], content[1]), pc.or_kleene(content[2], content[3])
    )
    own_day = table["updated_at"].cast(pa.date32()).cast(pa.int32())
    rules = [
        Rule("document_id", "1 to 512 bytes", _between(size, 1, MAX_ID_BYTES)),
        Rule("position", "an integer from 1", pc.greater_equal(table["position"], 1)),
        Rule("ordinal", "an integer from 0", pc.greater_equal(table["ordinal"], 0)),
        Rule("position", "(position, ordinal) greater than in the row before", _first(later)),
        Rule("day", "no earlier than in the row before", _first(_not_less(days))),
        Rule("day", "no earlier than the day of updated_at", pc.greater_equal(days, own_day)),
        Rule("text", "a text unless deleted", pc.or_kleene(deleted, content[1])),
        Rule("deleted", "no content in a deletion", pc.invert(pc.and_kleene(deleted, any_content))),
    ]
    enforce(rules, table, what="changes", names=("document_id", "position"))


def check_chunks(table: pa.Table, spec: CollectionSpec) -> None:
    """Raises `InvalidRequest` unless these rows are documents and their records, whole."""
    require_schema(table, chunk_schema(spec), "chunk rows")
    if len(table):
        enforce(_row_rules(table), table, what="chunk rows", names=("document_id", "chunk_index"))


def check_embeddings(table: pa.Table, spec: CollectionSpec, *, normalized: bool = True) -> None:
    """Raises `InvalidRequest` unless these rows are documents and their records with a vector
    each: finite and, if `normalized`, of length 1."""
    require_schema(table, segment_schema(spec), "segment rows")
    if not len(table):
        return
    rules = _row_rules(table)
    for vector in spec.vectors:
        rules += _vector_rules(table, vector.name, vector.dimension, normalized=normalized)
    enforce(rules, table, what="segment rows", names=("document_id", "chunk_index"))


def _row_rules(table: pa.Table) -> list[Rule]:
    index, presence, count = table["chunk_index"], table["presence"], table["chunk_count"]
    document = pc.equal(index, DOCUMENT_ROW)
    record = pc.invert(document)
    present = pc.equal(pc.fill_null(presence, ""), Presence.PRESENT)
    counted = pc.if_else(present, pc.greater_equal(count, 0), pc.equal(count, 0))
    expected_id = _record_ids(table["document_id"], index)
    size = pc.binary_length(table["document_id"])
    ascending, contiguous, complete = _version_verdicts(table)
    valid = pc.is_in(presence, value_set=pa.array(PRESENCES))
    return [
        Rule("document_id", "1 to 512 bytes", _between(size, 1, MAX_ID_BYTES)),
        Rule("document_id", "rows in the order of a segment, each once", ascending),
        Rule("chunk_index", "-1 for a document row, then 0, 1, 2 …", contiguous),
        Rule("chunk_count", "as many records as follow the document row", complete),
        Rule("presence", "present, deleted or absent", pc.or_kleene(record, valid)),
        Rule("presence", "null in a record", pc.or_kleene(document, pc.is_null(presence))),
        Rule("chunk_count", "0 or more, 0 unless present", pc.or_kleene(record, counted)),
        Rule(
            "document_sha256",
            "32 bytes unless the document is gone",
            pc.or_kleene(
                pc.and_kleene(document, pc.invert(present)), pc.is_valid(table["document_sha256"])
            ),
        ),
        Rule(
            "id",
            "document_id#chunk_index in a record, null in a document row",
            pc.if_else(document, pc.is_null(table["id"]), pc.equal(table["id"], expected_id)),
        ),
        Rule("text", "a text in a record", pc.or_kleene(document, pc.is_valid(table["text"]))),
    ]


def _version_verdicts(table: pa.Table) -> tuple[pa.Array, pa.Array, pa.Array]:
    """Per row: whether it comes after the one before, continues its version without a gap, and (a
    document row) has as many records as it says."""
    same = np.ones(max(len(table) - 1, 0), bool)
    greater = np.zeros(len(same), bool)
    for name in (*VERSION_KEY, "chunk_index"):
        now, before = _neighbours(table[name])
        if name == "chunk_index":
            steps = np.where(same, pc.subtract(now, before).to_numpy() == 1, True)
            begins = np.append(True, ~same)
        greater |= same & pc.greater(now, before).to_numpy(zero_copy_only=False)
        same &= pc.equal(now, before).to_numpy(zero_copy_only=False)
    index = table["chunk_index"].to_numpy()
    contiguous = np.append(True, steps) & (~begins | (index == DOCUMENT_ROW))
    version = np.cumsum(begins) - 1
    records = np.bincount(version, weights=index >= 0)[version]
    stated = pc.fill_null(table["chunk_count"], -1).to_numpy()
    complete = (index != DOCUMENT_ROW) | (stated == records)
    return pa.array(np.append(True, greater)), pa.array(contiguous), pa.array(complete)


def _vector_rules(table: pa.Table, name: str, dimension: int, *, normalized: bool) -> list[Rule]:
    document = pc.equal(table["chunk_index"], DOCUMENT_ROW)
    vectors = _one(table[name])
    here = np.asarray(pc.is_valid(vectors))
    components = pc.fill_null(pc.list_flatten(vectors), float("nan")).to_numpy()
    squares = np.zeros(len(table))
    squares[here] = np.square(components.reshape(-1, dimension), dtype=np.float64).sum(axis=1)
    finite, norms = np.isfinite(squares), np.sqrt(squares)
    rules = [
        Rule(
            name,
            "a vector in a record, none in a document row",
            pc.not_equal(document, pc.is_valid(table[name])),
        ),
        Rule(name, "finite components", pa.array(finite)),
    ]
    if normalized:
        unit = ~here | ~finite | (np.abs(norms - 1) <= NORM_TOLERANCE)
        rules.append(Rule(name, f"length 1 ± {NORM_TOLERANCE}", pa.array(unit)))
    return rules


def _record_ids(documents: pa.ChunkedArray, index: pa.ChunkedArray) -> pa.ChunkedArray:
    """`model.record.record_id` of columns."""
    number = pc.utf8_lpad(index.cast(pa.string()), 6, "0")
    return pc.binary_join_element_wise(documents, number, "#")


def _sha256(texts: pa.ChunkedArray) -> pa.Array:
    digests = [
        None if t is None else hashlib.sha256(t.encode()).digest() for t in texts.to_pylist()
    ]
    return pa.array(digests, pa.binary(32))


def _aligned(columns: dict[str, pa.Array], schema: pa.Schema) -> pa.Table:
    rows = len(columns["document_id"])
    arrays = [
        columns[f.name].cast(f.type) if f.name in columns else pa.nulls(rows, f.type)
        for f in schema
    ]
    return pa.table(arrays, schema=schema)


def _one(column: pa.ChunkedArray) -> pa.Array:
    """A column in one piece."""
    whole = column.combine_chunks()
    return whole.chunk(0) if isinstance(whole, pa.ChunkedArray) else whole


def _neighbours(column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
    """Every value but the first, and the one before it."""
    return column.slice(1), column.slice(0, len(column) - 1)


def _first(rest: pa.ChunkedArray) -> pa.Array:
    """Verdicts on neighbours, with the first row, which has none before it."""
    return pa.concat_arrays([pa.array([True]), *rest.chunks])


def _not_less(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.greater_equal(*_neighbours(column))


def _between(values: pa.ChunkedArray, low: int, high: int) -> pa.ChunkedArray:
    return pc.and_kleene(pc.greater_equal(values, low), pc.less_equal(values, high))
