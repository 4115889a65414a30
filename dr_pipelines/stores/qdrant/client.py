"""Every call to the official client, of a server and of the client's local mode.

What concerns a server was tested against the local mode only, which answers the same calls and
checks the same names and shapes; the lines that only a server runs are those where
`self._local` is false.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from qdrant_client import QdrantClient, models

from dr_pipelines.errors import (
    AlreadyExists,
    InvalidRequest,
    NotFound,
    Unavailable,
)
from dr_pipelines.model.query import FloatArray
from dr_pipelines.protocols import Progress
from dr_pipelines.stores.qdrant.errors import translated
from dr_pipelines.stores.qdrant.variant import (
    PAGE_ROWS,
    Json,
    Page,
    Point,
    Scored,
    State,
    canonical,
    named,
    size_of,
)
from dr_pipelines.stores.shared.calls import repeated

LABEL = "dr_pipelines"
"""Key of a collection's metadata that holds our label."""
WAITS_SECONDS = (0.2, 1.0)
POLL_SECONDS = 0.5
STALLED_SECONDS = 3600.0
"""A server counts a segment when its graph is done, which takes it minutes, not hours."""
COMPONENT_BYTES = {"float16": 2, "uint8": 1}
CONFIGS: dict[str, Any] = {
    "hnsw_config": models.HnswConfigDiff,
    "optimizers_config": models.OptimizersConfigDiff,
    "wal_config": models.WalConfigDiff,
    "payload": models.PayloadStorageParams,
    "id_tracker": models.IdTrackerParams,
}
PLAIN = ("shard_number", "replication_factor", "write_consistency_factor", "on_disk_payload")
FAN_OUT = ("read_fan_out_factor", "read_fan_out_delay_ms")


class ClientCollection:
    """A collection behind a client; `where` names it in messages.

    In the local mode it has a directory, and parts of its configuration that are `made_up`: they
    are left out of its state.
    """

    def __init__(
        self,
        client: QdrantClient,
        name: str,
        *,
        where: str,
        made_up: frozenset[str] = frozenset(),
        directory: Path | None = None,
    ) -> None:
        self._client = client
        self._name = name
        self._where = where
        self._made_up = made_up
        self._directory = directory
        self._local = directory is not None
        self._limits: Json | None = None

    def state(self) -> State:
        info = self._call(lambda: self._client.get_collection(self._name))
        config = reported(info)
        if not self._local and config.get("sharding_method") == "custom":
            keys = self._call(lambda: self._client.list_shard_keys(self._name)).shard_keys
            config["shard_keys"] = [key.key for key in keys or []]
        self._limits = in_force(config)
        label = config.get("metadata", {}).pop(LABEL, None)
        real = {k: v for k, v in config.items() if v != {} and k not in self._made_up}
        return State(config=real, label=label)

    def relabel(self, label: str, *, limits: Json | None = None) -> None:
        changed: dict[str, Any] = {"metadata": {LABEL: label}}
        if limits and not self._local:
            changed["strict_mode_config"] = models.StrictModeConfig(**limits)
        self._call(lambda: self._client.update_collection(self._name, **changed))

    def complete(self, config: Json) -> None:
        if self._local:
            return
        there = self.state().config
        for key in config.get("shard_keys", []):
            if key not in there.get("shard_keys", []):
                self._add_shard(key)
        diff = {
            key: config[key] for key in FAN_OUT if key in config and config[key] != there.get(key)
        }
        if diff:
            params = models.CollectionParamsDiff(**diff)
            self._call(lambda: self._client.update_collection(self._name, collection_params=params))
        self.index_payload(config["payload_schema"])

    def _add_shard(self, key: Any) -> None:
        try:
            tried(
                lambda: self._client.create_shard_key(self._name, key), where=self._where, once=True
            )
        except (AlreadyExists, InvalidRequest):  # somebody else was faster, or it cannot be
            if key not in self.state().config.get("shard_keys", []):
                raise

    def index_payload(self, schema: Mapping[str, Json]) -> None:
        if self._local:
            return  # the local mode has none: filters read every payload
        there = self.state().config.get("payload_schema", {})
        for key, parameters in schema.items():
            if key not in there:
                self._call(partial(self._index, key, parameters))

    def _index(self, key: str, parameters: Json) -> None:
        """A type alone, as a user would write it, is reported without parameters."""
        schema: Any = parameters["type"]
        if len(parameters) > 1:
            schema = models.CreateFieldIndex(field_name=key, field_schema=parameters).field_schema
        self._client.create_payload_index(self._name, key, field_schema=schema, wait=True)

    def count(self, filter: Json | None = None) -> int:
        counted = partial(self._client.count, self._name, _filter(filter), exact=True)
        return int(self._call(counted).count)

    def size_bytes(self) -> int:
        """An estimate: a server does not say how large a collection is; its vectors are counted."""
        if self._directory is not None:
            return size_of(self._directory)
        vectors = self.state().config.get("vectors", {})
        row = sum(
            v["size"] * COMPONENT_BYTES.get(v.get("datatype", ""), 4) for v in vectors.values()
        )
        return self.count() * int(row)

    def pages(
        self,
        *,
        vectors: Sequence[str],
        payload: Sequence[str] | None = None,
        filter: Json | None = None,
        limit: int | None = None,
    ) -> Iterator[Page]:
        most = self._most("max_query_limit", PAGE_ROWS)
        offset, left = None, limit
        while left is None or left > 0:
            size = most if left is None else min(left, most)
            records, offset = self._call(
                partial(
                    self._client.scroll,
                    self._name,
                    scroll_filter=_filter(filter),
                    limit=size,
                    offset=offset,
                    with_payload=True if payload is None else list(payload),
                    with_vectors=_selected(vectors),
                )
            )
            if records:
                yield Page(
                    ids=[canonical(r.id) for r in records],
                    payloads=[r.payload or {} for r in records],
                    vectors=[named(r.vector) for r in records],
                    shards=[r.shard_key for r in records],
                )
            left = None if left is None else left - len(records)
            if offset is None:
                return

    def upsert(self, points: Sequence[Point]) -> None:
        of_shards: dict[Any, list[models.PointStruct]] = {}
        for p in points:
            struct = models.PointStruct(id=p.id, vector=_vectors(p.vectors), payload=p.payload)
            of_shards.setdefault(p.shard, []).append(struct)
        for key, structs in of_shards.items():
            most = self._most("upsert_max_batchsize", len(structs))
            for start in range(0, len(structs), most):
                chunk = structs[start : start + most]
                self._call(
                    partial(
                        self._client.upsert, self._name, chunk, wait=True, shard_key_selector=key
                    )
                )

    def delete(self, filter: Json) -> None:
        selector = models.FilterSelector(filter=_filter(filter))
        self._call(lambda: self._client.delete(self._name, selector, wait=True))

    def nearest(
        self,
        vector: FloatArray,
        *,
        using: str,
        payload: Sequence[str],
        filter: Json | None,
        limit: int,
    ) -> list[Scored]:
        answer = self._call(
            lambda: self._client.query_points(
                self._name,
                query=vector.tolist(),
                using=using,
                query_filter=_filter(filter),
                limit=limit,
                with_payload=list(payload),
            )
        )
        return [Scored(canonical(p.id), p.payload or {}, float(p.score)) for p in answer.points]

    def matching(
        self, text: str, *, using: str, payload: Sequence[str], filter: Json | None, limit: int
    ) -> list[Scored]:
        raise NotImplementedError  # the driver does not rank texts

    def optimize(self, progress: Progress | None, *, keep_numbers: bool) -> None:
        """Wait until the server's optimizers have nothing to do; the local mode builds nothing.

        Raises:
            Unavailable: they failed, or nothing changed for `STALLED_SECONDS`.
        """
        del keep_numbers  # how often a server parses a number is not known
        nudged, seen, since = False, None, time.monotonic()
        while not self._local:
            info = self._call(lambda: self._client.get_collection(self._name))
            now = (info.status, info.indexed_vectors_count, info.points_count, info.segments_count)
            if now != seen:
                seen, since = now, time.monotonic()
            elif time.monotonic() - since > STALLED_SECONDS:
                raise Unavailable(
                    f"{self._where}: its optimizers got no further for {STALLED_SECONDS:g} s "
                    f"({info.status.value}); look at the server's log, and try again"
                )
            if progress is not None:
                progress(info.indexed_vectors_count or 0, info.points_count or 0)
            if info.status == models.CollectionStatus.GREEN:
                return
            if info.status == models.CollectionStatus.RED:
                raise Unavailable(f"{self._where}: its optimizers failed: {info.optimizer_status}")
            if info.status == models.CollectionStatus.GREY and not nudged:
                nudged = True  # grey: optimizations wait for an update, since the server restarted
                self._call(self._nudge)
            time.sleep(POLL_SECONDS)

    def _most(self, limit: str, ours: int) -> int:
        """How many a call may ask for or give: ours, or fewer by the server's strict mode."""
        if self._local:
            return ours
        if self._limits is None:
            self.state()
        return max(1, min(ours, int((self._limits or {}).get(limit, ours))))

    def _nudge(self) -> None:
        nothing = models.OptimizersConfigDiff()
        self._client.update_collection(self._name, optimizers_config=nothing)

    def _call(self, call: Callable[[], Any]) -> Any:
        # The local mode divides by lengths that may be infinite; a server does so in silence.
        with np.errstate(all="ignore"):
            return tried(call, where=self._where, local=self._local)


def create(client: QdrantClient, name: str, config: Json, label: str, *, where: str) -> None:
    """Make a collection with its label; what `config` says that the client does not know is left
    out, and so is strict mode, which stands in the way of records: `relabel` brings it. A server
    that keeps no metadata is refused, and what was made there is removed."""
    with translated(where):
        arguments: dict[str, Any] = {key: config[key] for key in PLAIN if key in config}
        arguments |= {key: kind(**config[key]) for key, kind in CONFIGS.items() if key in config}
        if "sharding_method" in config:
            arguments["sharding_method"] = models.ShardingMethod(config["sharding_method"])
        if "quantization_config" in config:
            quantized = {"quantization_config": config["quantization_config"]}
            arguments |= {
                "quantization_config": models.CreateCollection(**quantized).quantization_config
            }
        dense = {key: models.VectorParams(**value) for key, value in config["vectors"].items()}
        sparse = {
            key: models.SparseVectorParams(**value)
            for key, value in config.get("sparse_vectors", {}).items()
        }
        arguments["vectors_config"] = dense[""] if list(dense) == [""] else dense
        arguments["sparse_vectors_config"] = sparse or None
        arguments["metadata"] = config.get("metadata", {}) | {LABEL: label}
    tried(lambda: client.create_collection(name, **arguments), where=where, once=True)
    metadata = tried(lambda: client.get_collection(name), where=where).config.metadata or {}
    if metadata.get(LABEL) != label:
        with suppress(NotFound, Unavailable):
            tried(lambda: client.delete_collection(name), where=where)
        raise InvalidRequest(
            f"{where}: the server keeps no metadata; Qdrant 1.16 or newer is needed"
        )


def point(client: QdrantClient, alias: str, name: str, *, where: str) -> None:
    """Delete and create in one request, which the server applies as one."""
    existing = {a.alias_name for a in tried(client.get_aliases, where=where).aliases}
    changes: list[Any] = []
    if alias in existing:
        gone = models.DeleteAlias(alias_name=alias)
        changes.append(models.DeleteAliasOperation(delete_alias=gone))
    made = models.CreateAlias(collection_name=name, alias_name=alias)
    changes.append(models.CreateAliasOperation(create_alias=made))
    tried(lambda: client.update_collection_aliases(changes), where=where)


def names(client: QdrantClient, *, where: str) -> list[str]:
    return [c.name for c in tried(client.get_collections, where=where).collections]


def aliases(client: QdrantClient, *, where: str) -> dict[str, str]:
    entries = tried(client.get_aliases, where=where).aliases
    return {a.alias_name: a.collection_name for a in entries}


def drop(client: QdrantClient, name: str, *, where: str) -> None:
    with suppress(NotFound):
        tried(lambda: client.delete_collection(name), where=where)


def version(client: QdrantClient, *, where: str) -> str:
    return str(tried(client.info, where=where).version)


def tried(call: Callable[[], Any], *, where: str, local: bool = False, once: bool = False) -> Any:
    """The call's answer; a server that is out of reach is asked again a few times, unless asking
    again could mean something else."""

    def translated_call() -> Any:
        with translated(where):
            return call()

    return repeated(translated_call, on=Unavailable, pauses=() if local or once else WAITS_SECONDS)


def reported(info: Any) -> Json:
    """A collection's configuration as JSON, with the keys that `create` takes."""
    config = info.config.model_dump(mode="json", exclude_none=True)
    params = config.pop("params")
    vectors = params.pop("vectors", {}) or {}
    if "size" in vectors:
        vectors = {"": vectors}
    optimizers = config.pop("optimizer_config", {})
    schema = {
        key: {"type": index.data_type.value}
        | (index.params.model_dump(mode="json", exclude_none=True) if index.params else {})
        for key, index in info.payload_schema.items()
    }
    whole: Json = config | params
    return whole | {
        "vectors": vectors,
        "optimizers_config": optimizers,
        "payload_schema": schema,
    }


def in_force(config: Json) -> Json:
    """The limits of strict mode, where it is switched on."""
    limits: Json = config.get("strict_mode_config", {})
    return limits if limits.get("enabled") else {}


def _filter(filter: Json | None) -> models.Filter | None:
    return None if filter is None else models.Filter(**filter)


def _selected(vectors: Sequence[str]) -> bool | list[str]:
    """The only vector of a collection without names cannot be asked for by its name."""
    return True if "" in vectors else list(vectors) or False


def _vectors(vectors: Json) -> Any:
    """As the client's models want them."""
    named_vectors = {
        name: models.SparseVector(indices=v[0].tolist(), values=v[1].tolist())
        if isinstance(v, tuple)
        else v.tolist()
        for name, v in vectors.items()
    }
    return named_vectors[""] if list(named_vectors) == [""] else named_vectors
