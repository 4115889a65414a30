"""Waiting for indexes: everything written is flushed, indexed and loaded."""

import threading
import time
from typing import Any

from pymilvus.grpc_gen import common_pb2, milvus_pb2

from dr_pipelines.errors import Damaged, Unavailable
from dr_pipelines.protocols import Progress
from dr_pipelines.stores.milvus import errors, loading
from dr_pipelines.stores.milvus.session import Connection
from dr_pipelines.stores.milvus.writing import flush

POLL_SECONDS = 1.0
STALLED_SECONDS = 3600.0
"""A server counts the rows of a segment when its index is done, which may take that long."""


def build(connection: Connection, native: str, *, progress: Progress | None) -> None:
    """Return when the engine says that every index has every record.

    Raises:
        Damaged: the engine failed to build one.
        Unavailable: for `STALLED_SECONDS` it got no further.
    """
    flush(connection, native)
    waiting, seen, since = threading.Event(), (-1, -1), time.monotonic()
    while True:
        indexes = _described(connection, native)
        total = sum(index.total_rows for index in indexes)
        done = sum(index.indexed_rows for index in indexes)
        if progress is not None:
            progress(done, total)
        if all(_finished(index, native) for index in indexes):
            break
        if (done, total) != seen:
            seen, since = (done, total), time.monotonic()
        elif time.monotonic() - since > STALLED_SECONDS:
            raise Unavailable(
                f"{native!r}: indexes stay at {done} of {total} rows for {STALLED_SECONDS:g} s; "
                "see what the server's index nodes do, and build again"
            )
        waiting.wait(POLL_SECONDS)
    if indexes or connection.is_lite:
        loading.load(connection, native)


def _described(connection: Connection, native: str) -> list[Any]:
    try:
        request = milvus_pb2.DescribeIndexRequest(collection_name=native)
        return list(connection.call("DescribeIndex", request, repeat=True).index_descriptions)
    except errors.NoIndex:
        return []


def _finished(index: Any, native: str) -> bool:
    state = common_pb2.IndexState
    if index.state == state.Failed:
        raise Damaged(f"{native!r}: index {index.index_name!r}: {index.index_state_fail_reason}")
    return bool(index.state in (state.Finished, state.IndexStateNone)) and (
        index.pending_index_rows == 0
    )
