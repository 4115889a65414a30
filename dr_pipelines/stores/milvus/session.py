"""Calls to a Milvus: one channel, errors translated, reads repeated when an answer is lost."""

import base64
import threading
import weakref
from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

import grpc
from pymilvus.grpc_gen import milvus_pb2, milvus_pb2_grpc

from dr_pipelines.errors import Unavailable
from dr_pipelines.stores.milvus import errors, lite
from dr_pipelines.stores.milvus.address import Address
from dr_pipelines.stores.shared.calls import PAUSES_SECONDS, repeated

OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.enable_retries", 0),  # a repeated call is decided here
    ("grpc.initial_reconnect_backoff_ms", 100),  # a server that is back is found at once
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 250),
)
CALL_SECONDS = 120.0
LONG_CALL_SECONDS = 3600.0
"""For calls in which milvus-lite builds indexes before it answers."""


class Connection:
    """The Milvus at an address; connects with the first call. Safe for any number of threads."""

    def __init__(self, address: Address, *, wait_seconds: float) -> None:
        self.address = address
        self._wait_seconds = wait_seconds
        self._opening = threading.Lock()
        self._opened: Any = None

    @cached_property
    def version(self) -> str:
        """As the engine says it: `2.6.4`, or `milvus_lite-3.2.2`."""
        answer = self.call("GetVersion", milvus_pb2.GetVersionRequest(), repeat=True)
        return str(answer.version)

    @property
    def is_lite(self) -> bool:
        """True if milvus-lite answers, which lacks some of a server's functions."""
        return self.version.startswith("milvus_lite")

    def call(
        self, name: str, request: Any, *, repeat: bool = False, seconds: float = CALL_SECONDS
    ) -> Any:
        """Milvus' answer, which says of itself that all is well.

        `repeat` says that the call may be made again when no answer came: it reads, or making it
        twice is making it once. Raises what `errors` makes of Milvus' errors.
        """
        pauses = PAUSES_SECONDS if repeat else ()
        call = partial(self._called, name, request, seconds)
        return repeated(call, on=Unavailable, but=(errors.NotLoaded,), pauses=pauses)

    def _called(self, name: str, request: Any, seconds: float) -> Any:
        method = self._method(name)
        try:
            answer = method(request, timeout=seconds, metadata=self._metadata)
        except grpc.RpcError as error:
            raise errors.of_call(error, self.address) from error
        status = getattr(answer, "status", answer)
        if errors.is_failure(status):  # in no variable: a store that is let go is closed at once
            raise errors.of_status(status, self.address)
        return answer

    def _method(self, name: str) -> Callable[..., Any]:
        with self._opening:
            if self._opened is None:
                self._opened = milvus_pb2_grpc.MilvusServiceStub(self._channel())
        method: Callable[..., Any] = getattr(self._opened, name)
        return method

    def _channel(self) -> Any:
        address = self.address
        if address.path is not None:
            target = lite.acquire(address.path, wait_seconds=self._wait_seconds)
        else:
            target = f"{address.host}:{address.port}"
        if address.secure:
            channel = grpc.secure_channel(target, grpc.ssl_channel_credentials(), OPTIONS)
        else:
            channel = grpc.insecure_channel(target, OPTIONS)
        end = weakref.finalize(self, _end, channel, address)
        end.atexit = False  # milvus-lite stops its servers itself when the process ends
        return channel

    @cached_property
    def _metadata(self) -> tuple[tuple[str, str], ...]:
        pairs = []
        if self.address.database:
            pairs.append(("dbname", self.address.database))
        if self.address.token:
            encoded = base64.b64encode(self.address.token.encode()).decode()
            pairs.append(("authorization", encoded))
        return tuple(pairs)


def _end(channel: Any, address: Address) -> None:
    """In a thread of its own: garbage may be collected wherever a lock is held."""
    threading.Thread(target=_closed, args=(channel, address), daemon=True).start()


def _closed(channel: Any, address: Address) -> None:
    channel.close()
    if address.path is not None:
        lite.release(address.path)
