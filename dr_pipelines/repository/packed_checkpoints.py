"""Checkpoints of many days in one object: what compaction makes of small ones.

A checkpoint of one line takes three kilobytes, nearly all of them names of columns. Their rows lie
one after the other in the packed object, and each reference says which are its own.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Literal

import pyarrow as pa

from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.recovery_point import CheckpointRef, Partition
from dr_pipelines.repository.checkpoints import read_chunks, read_documents
from dr_pipelines.repository.codec import encode_table
from dr_pipelines.repository.history import History

SMALL_BYTES = 32 << 10
"""Of a checkpoint that is packed with others."""
PACKED_BYTES = 256 << 10
"""Of the checkpoints in one object, as they were stored: who reads one day reads all of it."""
STAGES: tuple[Literal["documents", "chunks"], ...] = ("documents", "chunks")


def pack_checkpoints(
    history: History, days: Mapping[str, Partition], *, spec: CollectionSpec
) -> dict[str, Partition]:
    """The same coverage with its small checkpoints in few objects, which are stored; what is packed
    already stays as it is. Raises `Damaged` where one cannot be read."""
    moved = dict[CheckpointRef, CheckpointRef]()
    for stage in STAGES:
        for refs in _together(ref for day in days.values() for ref in getattr(day, stage)):
            moved |= _packed(history, refs, stage, spec)
    return {name: _with_moved(day, moved) for name, day in days.items()}


def _together(refs: Iterable[CheckpointRef]) -> Iterator[Sequence[CheckpointRef]]:
    """Small checkpoints that become one object each time, in order; never one alone."""
    waiting, size = list[CheckpointRef](), 0
    for ref in refs:
        if ref.first is not None or ref.size_bytes > SMALL_BYTES:
            continue
        if waiting and size + ref.size_bytes > PACKED_BYTES:
            yield waiting
            waiting, size = [], 0
        waiting.append(ref)
        size += ref.size_bytes
    if len(waiting) > 1:
        yield waiting


def _packed(
    history: History,
    refs: Sequence[CheckpointRef],
    stage: Literal["documents", "chunks"],
    spec: CollectionSpec,
) -> dict[CheckpointRef, CheckpointRef]:
    tables = [_rows(history, ref, spec) for ref in refs]
    name = history.repository.new_name("-")
    key = f"{history.collection}/checkpoints/{stage}/packed/{name}.parquet"
    data = encode_table(pa.concat_tables(tables).combine_chunks())
    stored = history.repository.put(key, data).model_dump(include={"key", "sha256", "size_bytes"})
    firsts = accumulate((table.num_rows for table in tables), initial=0)
    return {
        ref: ref.model_copy(update={**stored, "first": first})
        for ref, first in zip(refs, firsts, strict=False)
    }


def _rows(history: History, ref: CheckpointRef, spec: CollectionSpec) -> pa.Table:
    if ref.stage == "documents":
        return read_documents(history.repository, ref)
    return read_chunks(history.repository, ref, spec=spec)


def _with_moved(day: Partition, moved: Mapping[CheckpointRef, CheckpointRef]) -> Partition:
    update: dict[str, object] = {
        stage: tuple(moved.get(ref, ref) for ref in getattr(day, stage)) for stage in STAGES
    }
    return day.model_copy(update=update)
