"""Chroma's calls in one tenant and database, whether it runs in this process or behind HTTP."""

import json
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

import httpx
from chromadb import errors as chroma
from chromadb.api import ServerAPI
from chromadb.config import Settings, System

from dr_pipelines.errors import AlreadyExists
from dr_pipelines.model.collection import PHYSICAL_NAME
from dr_pipelines.stores.chroma.address import Namespace, Remote
from dr_pipelines.stores.chroma.errors import is_taken, translated
from dr_pipelines.stores.chroma.names import is_reserved, to_engine, to_physical
from dr_pipelines.stores.shared.calls import PAUSES_SECONDS, repeated

Model = Any
"""chromadb.types.Collection: id, name, metadata, dimension, serialized_schema …"""
Result = TypeVar("Result")

CONNECT_SECONDS = 10
ANSWER_SECONDS = 300
"""A server answers a write when it is in its log; large ones take seconds."""


@dataclass(frozen=True, slots=True)
class Definition:
    """The definition of a collection: a configuration, or a schema where that holds more."""

    configuration: Mapping[str, Any] | None
    schema: Mapping[str, Any] | None
    metadata: Mapping[str, Any] | None


class Engine(Protocol):
    """A place where Chroma is."""

    @property
    def place(self) -> str:
        """Its name in messages."""
        ...

    @property
    def namespace(self) -> Namespace: ...

    @property
    def parses(self) -> int:
        """How often a number of a record's metadata is parsed on its way in, see `floats`."""
        ...

    @property
    def exclusive(self) -> bool:
        """True if nobody else can write during a session."""
        ...

    def session(self, *, create: bool = False) -> AbstractContextManager["Session"]:
        """Calls, with Chroma's errors translated. Not to be nested, nor held for long. With
        `create`, a place that does not exist yet is made; otherwise it raises `NotFound`."""
        ...


class Session:
    """Chroma's calls that this adapter needs, through `ServerAPI`, which its embedded engine and
    its HTTP client implement: unlike `Client`, it neither loads nor calls embedding functions."""

    def __init__(
        self, api: ServerAPI, namespace: Namespace, *, pauses: Sequence[float] = ()
    ) -> None:
        self._api: Any = api
        self._pauses = pauses
        self._where = {"tenant": namespace.tenant, "database": namespace.database}

    def version(self) -> str:
        return str(self._call(self._api.get_version))

    def max_batch_rows(self) -> int:
        return int(self._call(self._api.get_max_batch_size))

    def collections(self) -> list[Model]:
        """All of them; none where the tenant or the database is not there."""
        return list(self._call(self._api.list_collections, **self._where))

    def find(self, name: str) -> Model | None:
        try:
            return self._call(self._api.get_collection, name, **self._where)
        except chroma.NotFoundError:
            return None

    def named(self, physical: str) -> Model | None:
        """The collection of that physical name."""
        model = self.find(to_engine(physical)) if PHYSICAL_NAME.fullmatch(physical) else None
        if model is not None:
            return model
        others = (m for m in self.collections() if not is_reserved(m.name))
        return next((m for m in others if to_physical(m.name) == physical), None)

    def make_namespace(self) -> None:
        """Create the tenant and the database where they are missing."""
        tenant, database = self._where["tenant"], self._where["database"]
        self._make(lambda: self._api.create_tenant(tenant))
        self._make(lambda: self._api.create_database(database, tenant))

    def create(self, name: str, definition: Definition) -> None:
        """Raises `AlreadyExists` where there is one of that name.

        Goes past `ServerAPI.create_collection`, whose only way to say which embedding function a
        collection has is an instance of it: its name and configuration are data here.
        """
        try:
            self._create(name, definition)
        except chroma.ChromaError as error:
            if not is_taken(error):
                raise
            raise AlreadyExists(f"Chroma has a collection {name!r} already") from error

    def _create(self, name: str, definition: Definition) -> None:
        parts = (definition.configuration, definition.schema, definition.metadata)
        if hasattr(self._api, "bindings"):
            texts = (json.dumps(part) if part else None for part in parts[:2])
            metadata = dict(parts[2]) if parts[2] else None
            self._call(
                self._api.bindings.create_collection,
                *(name, *texts, metadata, False, *self._where.values()),
            )
            return
        path = "/tenants/{tenant}/databases/{database}/collections".format(**self._where)
        names = ("configuration", "schema", "metadata")
        body = {"name": name, "get_or_create": False, **dict(zip(names, parts, strict=True))}
        self._call(self._api._make_request, "post", path, json=body)

    def set_metadata(self, model: Model, metadata: Mapping[str, Any]) -> None:
        """Replace all of a collection's metadata, in one step."""
        self._call(self._api._modify, model.id, new_metadata=dict(metadata), **self._where)

    def drop(self, name: str) -> None:
        try:
            self._call(self._api.delete_collection, name, **self._where)
        except chroma.NotFoundError:
            return

    def count(self, model: Model) -> int:
        return int(self._call(self._api._count, model.id, **self._where))

    def get(self, model: Model, *, include: Sequence[str] = (), **options: Any) -> dict[str, Any]:
        """Records by `ids` or `where`, in no particular order."""
        arguments = {"include": list(include), **options, **self._where}
        return dict(self._call(self._api._get, model.id, **arguments))

    def query(self, model: Model, vector: Any, *, limit: int, **options: Any) -> dict[str, Any]:
        arguments = {"n_results": limit, **options, **self._where}
        return dict(self._call(self._api._query, model.id, [vector], **arguments))

    def upsert(self, model: Model, **columns: Any) -> None:
        """Merges: a metadata key that is not given stays, one that is None goes; a document or URI
        that is None stays."""
        self._call(self._api._upsert, collection_id=model.id, **columns, **self._where)

    def update(self, model: Model, **columns: Any) -> None:
        """As `upsert`, of records that are there; embeddings need not be given."""
        self._call(self._api._update, collection_id=model.id, **columns, **self._where)

    def delete(self, model: Model, ids: Sequence[str]) -> None:
        self._call(self._api._delete, model.id, ids=list(ids), **self._where)

    def _make(self, create: Callable[[], object]) -> None:
        try:
            self._call(create)
        except chroma.ChromaError as error:
            if not is_taken(error):
                raise

    def _call(self, operation: Callable[..., Result], *args: Any, **options: Any) -> Result:
        return repeated(
            partial(operation, *args, **options),
            on=httpx.TransportError,
            but=(httpx.TimeoutException,),
            pauses=self._pauses,
        )


class RemoteEngine:
    """A Chroma server. Connects with the first call; safe for threads, as its HTTP client is."""

    parses = 2
    exclusive = False

    def __init__(self, remote: Remote, *, token: str | None) -> None:
        self._remote = remote
        self._token = token
        self._session: Session | None = None

    @property
    def place(self) -> str:
        return f"Chroma at {self._remote.host}:{self._remote.port}"

    @property
    def namespace(self) -> Namespace:
        return self._remote.namespace

    @contextmanager
    def session(self, *, create: bool = False) -> Iterator[Session]:
        with translated(self.place):
            if self._session is None:
                self._session = Session(self._connected(), self.namespace, pauses=PAUSES_SECONDS)
            if create:
                self._session.make_namespace()
            yield self._session

    def _connected(self) -> ServerAPI:
        # servers behind a proxy look for the first header, Chroma's own for the second
        token = self._token
        headers = {"Authorization": f"Bearer {token}", "X-Chroma-Token": token} if token else {}
        api: Any = started(
            chroma_api_impl="chromadb.api.fastapi.FastAPI",
            chroma_server_host=self._remote.host,
            chroma_server_http_port=self._remote.port,
            chroma_server_ssl_enabled=self._remote.ssl,
            chroma_server_headers=headers,
        ).instance(ServerAPI)
        api._session.timeout = httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS)  # None before
        weakref.finalize(self, api._session.close)  # connections go with the store
        connected: ServerAPI = api
        return connected


def started(**settings: Any) -> System:
    """A running system of Chroma's components, without telemetry and without reading `.env`."""
    system = System(Settings(_env_file=None, anonymized_telemetry=False, **settings))
    system.instance(ServerAPI)
    system.start()
    return system
