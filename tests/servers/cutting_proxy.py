"""A loopback proxy in front of an S3 server that can lose an answer.

It passes bytes through unchanged, so that signatures stay valid, and follows only the requests:
where one begins, its method, and where its body ends.
"""

import select
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

CHUNK = 65536
IDLE_SECONDS = 30
CONTINUE = b"HTTP/1.1 100"


@dataclass(slots=True)
class _Requests:
    """Follows the requests in a stream of bytes."""

    methods: list[str] = field(default_factory=list)
    head: bytes = b""
    body_left: int = 0

    def feed(self, data: bytes) -> None:
        while data:
            if self.body_left:
                taken = min(self.body_left, len(data))
                self.body_left -= taken
                data = data[taken:]
                continue
            self.head += data
            head, end, data = self.head.partition(b"\r\n\r\n")
            if end:
                self._begin(head)

    def _begin(self, head: bytes) -> None:
        self.head = b""
        lines = head.split(b"\r\n")
        self.methods.append(lines[0].split()[0].decode())
        for line in lines[1:]:
            name, _, value = line.partition(b":")
            if name.strip().lower() == b"content-length":
                self.body_left = int(value)


class CuttingProxy:
    """Serves while it is entered; set `cut_next_put` to have the next PUT done and its answer lost,
    or `cut_next_get_after` to end the next answer to a GET after so many bytes."""

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname or "", parts.port or 80)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._stopping = threading.Event()
        self.cut_next_put = False
        self.cut_next_get_after: int | None = None
        self.pause_seconds = 0.0
        """After each piece of a request: a link on which little fits."""
        self.methods: list[str] = []
        """Methods of all requests that were passed on, in order."""

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._listener.settimeout(0.1)
        self._spawn(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(IDLE_SECONDS)
        self._listener.close()

    def _spawn(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            self._spawn(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._upstream, IDLE_SECONDS) as upstream:
            requests = _Requests()
            while not self._stopping.is_set():
                ready, _, _ = select.select([client, upstream], [], [], 0.1)
                if client in ready and not self._forward(client, upstream, requests):
                    return
                if upstream in ready and not self._answer(upstream, client, requests):
                    return

    def _forward(self, client: socket.socket, upstream: socket.socket, requests: _Requests) -> bool:
        data = _received(client)
        before = len(requests.methods)
        requests.feed(data)
        self.methods += requests.methods[before:]
        if data:
            upstream.sendall(data)
            time.sleep(self.pause_seconds)
        return bool(data)

    def _answer(self, upstream: socket.socket, client: socket.socket, requests: _Requests) -> bool:
        """Pass an answer on, or cut it off; whether the connection goes on."""
        data = _received(upstream)
        method = requests.methods[-1] if requests.methods else ""
        if method == "PUT" and self.cut_next_put and not data.startswith(CONTINUE):
            self.cut_next_put = False
            return False
        if method == "GET" and self.cut_next_get_after is not None:
            client.sendall(data[: self.cut_next_get_after])
            self.cut_next_get_after = None
            return False
        if data:
            client.sendall(data)
        return bool(data)


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(CHUNK)
    except ConnectionError:
        return b""
