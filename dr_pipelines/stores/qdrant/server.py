"""A Qdrant server, and the client's local mode, as drivers. The calls are in `client`."""

import fcntl
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.metadata import version
from pathlib import Path

from qdrant_client import QdrantClient

from dr_pipelines.errors import Damaged, Unavailable
from dr_pipelines.stores.qdrant import client as calls
from dr_pipelines.stores.qdrant.address import ServerAddress
from dr_pipelines.stores.qdrant.errors import translated
from dr_pipelines.stores.qdrant.variant import Json, OpenPoints
from dr_pipelines.stores.shared.driver import absent
from dr_pipelines.stores.shared.pointers import out_of_reach

TIMEOUT_SECONDS = 60
POLL_SECONDS = 0.05
EDGE_ONLY = frozenset(["max_search_threads", "search_pool_core", "wal_enabled"])
LOCAL_SILENT = EDGE_ONLY | {
    "hnsw_config",
    "id_tracker",
    "on_disk_payload",
    "optimizers_config",
    "payload",
    "payload_schema",
    "quantization_config",
    "read_fan_out_delay_ms",
    "read_fan_out_factor",
    "replication_factor",
    "shard_keys",
    "shard_number",
    "sharding_method",
    "strict_mode_config",
    "wal_config",
    "write_consistency_factor",
}
"""The local mode keeps vectors and metadata; of the rest it reports constants, or nothing."""


class ServerVariant:
    """A server, over REST, or over gRPC where the address has a port for it. Thread-safe."""

    variant = "a Qdrant server"
    silent = EDGE_ONLY
    keeps_unit_vectors = True
    keeps_any_vector = False
    exclusive = False
    ranks_texts = False
    parses = 0

    def __init__(self, address: ServerAddress, *, api_key: str | None) -> None:
        self._where = str(address)
        self._client = QdrantClient(
            host=address.host,
            port=address.port,
            https=address.https,
            grpc_port=address.grpc_port or 6334,
            prefer_grpc=address.grpc_port is not None,
            api_key=api_key,
            timeout=TIMEOUT_SECONDS,
            check_compatibility=False,  # it asks the server, and only warns
        )

    @property
    def engine(self) -> str:
        return f"qdrant {calls.version(self._client, where=self._where)}"

    def names(self) -> list[str]:
        return calls.names(self._client, where=self._where)

    def aliases(self) -> dict[str, str]:
        return calls.aliases(self._client, where=self._where)

    def readable_aliases(self) -> dict[str, str]:
        return self.aliases()  # the server gives all of them or none

    def target(self, alias: str) -> str | None:
        return self.aliases().get(alias)

    def point(self, alias: str, name: str) -> None:
        calls.point(self._client, alias, name, where=self._where)

    def create(self, name: str, config: Json, label: str) -> None:
        calls.create(self._client, name, config, label, where=self._of(name))

    def drop(self, name: str, *, unless_served: Callable[[], None]) -> None:
        unless_served()
        calls.drop(self._client, name, where=self._of(name))

    def keeping(self, name: str) -> AbstractContextManager[None]:
        del name  # nothing is opened but a connection, which is there, or all of them at once
        return nullcontext()

    @contextmanager
    def opened(self, name: str) -> Iterator[OpenPoints]:
        yield calls.ClientCollection(self._client, name, where=self._of(name))

    def _of(self, name: str) -> str:
        return f"collection {name!r} in {self._where}"


class LocalVariant:
    """The client's local mode in a directory: opened for one operation and closed after it, so that
    other processes have their turn; who has to wait does so for `wait_seconds` at most."""

    variant = "the local mode of qdrant-client"
    silent = LOCAL_SILENT
    keeps_unit_vectors = False
    keeps_any_vector = True  # its file has what was given, and each operation reads it anew
    exclusive = True
    ranks_texts = False
    parses = 0

    def __init__(self, directory: Path, *, wait_seconds: float) -> None:
        self._directory = directory
        self._wait_seconds = wait_seconds
        self._thread = threading.Lock()

    @property
    def engine(self) -> str:
        return f"qdrant local mode of qdrant-client {version('qdrant-client')}"

    def names(self) -> list[str]:
        return list(self._catalog()["collections"])

    def aliases(self) -> dict[str, str]:
        return dict(self._catalog()["aliases"])

    def readable_aliases(self) -> dict[str, str]:
        return self.aliases()  # the catalogue is readable as a whole or not

    def target(self, alias: str) -> str | None:
        return self.aliases().get(alias)

    def point(self, alias: str, name: str) -> None:
        with self._connected() as client:
            calls.point(client, alias, name, where=self._of(name))

    def create(self, name: str, config: Json, label: str) -> None:
        supported = {key: value for key, value in config.items() if key not in LOCAL_SILENT}
        with self._connected() as client:
            calls.create(client, name, supported, label, where=self._of(name))

    def drop(self, name: str, *, unless_served: Callable[[], None]) -> None:
        if name in self.names():
            with self._connected() as client:
                unless_served()
                calls.drop(client, name, where=self._of(name))

    def keeping(self, name: str) -> AbstractContextManager[None]:
        del name  # nothing is opened but a connection, which is there, or all of them at once
        return nullcontext()

    @contextmanager
    def opened(self, name: str) -> Iterator[OpenPoints]:
        if name not in self.names():
            raise absent(name, self.names())
        with self._connected() as client:
            data = self._directory / "collection" / name
            yield calls.ClientCollection(
                client, name, where=self._of(name), made_up=LOCAL_SILENT, directory=data
            )

    def _catalog(self) -> Json:
        """The client's file of names, replaced as a whole at every change: read without the
        lock, and without loading every point, which opening does."""
        try:
            catalog: Json = json.loads((self._directory / "meta.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {"collections": {}, "aliases": {}}
        except OSError as error:
            raise out_of_reach(self._directory, error) from None
        except ValueError as error:
            raise Damaged(f"{self._directory / 'meta.json'} is unreadable: {error}") from error
        return catalog

    @contextmanager
    def _connected(self) -> Iterator[QdrantClient]:
        deadline = time.monotonic() + self._wait_seconds
        if not self._thread.acquire(timeout=self._wait_seconds):
            raise self._busy()
        try:
            client = self._waited(deadline)
            try:
                yield client
            finally:
                client.close()
        finally:
            self._thread.release()

    def _waited(self, deadline: float) -> QdrantClient:
        while True:
            if _is_locked(self._directory / ".lock"):
                if time.monotonic() >= deadline:
                    raise self._busy()
                time.sleep(POLL_SECONDS)
                continue
            try:
                with translated(f"the Qdrant collections in {self._directory}"):
                    return QdrantClient(
                        path=str(self._directory), force_disable_check_same_thread=True
                    )
            except Unavailable:
                if time.monotonic() >= deadline:
                    raise self._busy() from None
            time.sleep(POLL_SECONDS)

    def _busy(self) -> Unavailable:
        return Unavailable(
            f"{self._directory} was in use for {self._wait_seconds:g} s; try again later"
        )

    def _of(self, name: str) -> str:
        return f"collection {name!r} in {self._directory}"


def _is_locked(path: Path) -> bool:
    """True if another client holds its lock. Checked first: a client loads every point before it
    notices, and then leaves the file open."""
    try:
        with path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
