"""Collections in the engine's memory: nothing else is read, and a read brings it there first."""

import threading
from collections import defaultdict
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from pymilvus.grpc_gen import common_pb2, milvus_pb2

from dr_pipelines.errors import InvalidRequest, NotFound, Unavailable
from dr_pipelines.stores.milvus import errors
from dr_pipelines.stores.milvus.session import LONG_CALL_SECONDS, Connection

STRONG = common_pb2.ConsistencyLevel.Strong
LOAD_POLLS = 600

_turns: dict[str, threading.RLock] = defaultdict(threading.RLock)


def turn(connection: Connection) -> AbstractContextManager[Any]:
    """One at a time where the engine needs it: while milvus-lite flushes, readers miss records that
    are on their way from memory to a file, and its writers exclude nobody. Other processes and
    other clients of the same milvus-lite server are not kept out by this."""
    return _turns[str(connection.address)] if connection.is_lite else nullcontext()


def load(
    connection: Connection, native: str, *, replicas: int = 0, groups: Sequence[str] = ()
) -> None:
    """Make a collection readable, and wait for it; `groups` names a resource group a replica.

    Raises:
        InvalidRequest: it has a vector without an index, and a server reads no such collection.
    """
    request = milvus_pb2.LoadCollectionRequest(
        collection_name=native, replica_number=replicas, resource_groups=groups
    )
    try:
        connection.call("LoadCollection", request, repeat=True, seconds=LONG_CALL_SECONDS)
    except errors.NoIndex as error:
        raise InvalidRequest(
            f"{native!r} has a vector without an index: Milvus cannot read it; create one"
        ) from error
    waiting = threading.Event()
    for _ in range(LOAD_POLLS):
        state_request = milvus_pb2.GetLoadStateRequest(collection_name=native)
        state = connection.call("GetLoadState", state_request, repeat=True).state
        if state == common_pb2.LoadState.LoadStateLoaded:
            return
        if state == common_pb2.LoadState.LoadStateNotExist:
            raise NotFound(f"{native!r} was dropped while it was being loaded")
        waiting.wait(0.5)
    raise Unavailable(f"{native!r} is still being loaded after {LOAD_POLLS / 2:.0f} s; try later")


def read(connection: Connection, name: str, request: Any) -> Any:
    """A query or search; a collection that is not in memory is loaded first."""
    with turn(connection):
        try:
            return connection.call(name, request, repeat=True)
        except errors.NotLoaded:
            load(connection, request.collection_name)
            return connection.call(name, request, repeat=True)
