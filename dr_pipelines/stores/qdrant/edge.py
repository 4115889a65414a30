"""The Rust engine in this process: one shard in a directory for each collection.

The engine has neither collections nor aliases: a collection's name is that of its directory,
aliases are files beside the collections, and the label is one within the shard's directory.
"""

import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import qdrant_edge as edge

from dr_pipelines.errors import (
    AlreadyExists,
    Damaged,
    InvalidRequest,
)
from dr_pipelines.host.permissions import make_directory
from dr_pipelines.model.query import FloatArray
from dr_pipelines.protocols import Progress
from dr_pipelines.stores.qdrant import edge_values as values
from dr_pipelines.stores.qdrant import numbers
from dr_pipelines.stores.qdrant.edge_errors import vendor
from dr_pipelines.stores.qdrant.edge_pages import page_of
from dr_pipelines.stores.qdrant.edge_shards import Shards
from dr_pipelines.stores.qdrant.variant import (
    PAGE_ROWS,
    Json,
    OpenPoints,
    Page,
    Point,
    PointId,
    Scored,
    State,
    canonical,
    size_of,
)
from dr_pipelines.stores.shared.driver import absent
from dr_pipelines.stores.shared.label import MAX_BYTES
from dr_pipelines.stores.shared.pointers import (
    Pointers,
    entries,
    locked,
    sync_directory,
)

LABEL = "dr_collection.json"
CONFIG = "edge_config.json"
SEGMENTS = "segments"
SILENT = frozenset(
    [
        "metadata",
        "optimizers_config.flush_interval_sec",
        "optimizers_config.max_optimization_threads",
        "optimizers_config.memmap_threshold",
        "read_fan_out_delay_ms",
        "read_fan_out_factor",
        "replication_factor",
        "shard_keys",
        "shard_number",
        "sharding_method",
        "strict_mode_config",
        "wal_config",
        "write_consistency_factor",
    ]
)


class EdgeVariant:
    """Collections below a directory on a local disk. Safe for any number of threads and processes
    that come this way; who has to wait does so for `wait_seconds` at most."""

    variant = "Qdrant Edge"
    silent = SILENT
    keeps_unit_vectors = True
    keeps_any_vector = False
    exclusive = True
    ranks_texts = True
    parses = 1

    def __init__(self, directory: Path, *, wait_seconds: float) -> None:
        self._directory = directory
        self._wait_seconds = wait_seconds
        self._pointers = Pointers(directory)
        self._shards = Shards(directory, wait_seconds=wait_seconds)

    @property
    def engine(self) -> str:
        return f"qdrant edge {version('qdrant-edge-py')}"

    def names(self) -> list[str]:
        if (self._directory / CONFIG).exists():
            raise InvalidRequest(
                f"{self._directory} is a shard itself; name the directory that holds it"
            )
        visible = [name for name in entries(self._directory) if not name.startswith(".")]
        return [name for name in visible if _is_shard(self._directory / name)]

    def aliases(self) -> dict[str, str]:
        return self._pointers.all()

    def readable_aliases(self) -> dict[str, str]:
        return self._pointers.readable()

    def target(self, alias: str) -> str | None:
        return self._pointers.target(alias)

    def point(self, alias: str, name: str) -> None:
        with locked(self._directory, wait_seconds=self._wait_seconds):
            if not _is_shard(self._directory / name):
                raise absent(name, self.names())
            self._pointers.point(alias, name)

    def create(self, name: str, config: Json, label: str) -> None:
        """Beside, then under its name in one step: a collection without its label is never seen."""
        make_directory(self._directory)
        temporary = self._directory / f".{name}.{uuid.uuid4().hex}"
        try:
            temporary.mkdir()
            with vendor(self._shards.where(name), by_caller=True):
                shard = edge.EdgeShard.create(str(temporary), values.edge_config(config))
            try:
                opened = EdgeCollection(shard, temporary, self._shards.where(name))
                opened.relabel(label)
                opened.index_payload(config.get("payload_schema", {}))
                opened.finish()
            finally:
                shard.close()
            with locked(self._directory, wait_seconds=self._wait_seconds):
                if (self._directory / name).exists():
                    raise AlreadyExists(f"{self._shards.where(name)} exists")
                temporary.rename(self._directory / name)
                sync_directory(self._directory)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def drop(self, name: str, *, unless_served: Callable[[], None]) -> None:
        """Out of sight in one step, then away."""
        if not _is_shard(self._directory / name):
            return
        gone = self._directory / f".{name}.{uuid.uuid4().hex}"
        with self._shards.closed(name), locked(self._directory, wait_seconds=self._wait_seconds):
            unless_served()
            (self._directory / name).rename(gone)
            sync_directory(self._directory)
        shutil.rmtree(gone, ignore_errors=True)

    def keeping(self, name: str) -> AbstractContextManager[None]:
        return self._shards.keeping(name)

    @contextmanager
    def opened(self, name: str) -> Iterator[OpenPoints]:
        if name not in self.names():
            raise absent(name, self.names())
        with self._shards.opened(name) as shard:
            opened = EdgeCollection(shard, self._directory / name, self._shards.where(name))
            yield opened
            opened.finish()


class EdgeCollection:
    """An open shard. Updates are logged by the engine before they are applied, so that after a kill
    each of them is whole or not there; `finish` makes them durable."""

    def __init__(self, shard: Any, path: Path, where: str) -> None:
        self._shard = shard
        self._path = path
        self._where = where
        self._changed = False

    def finish(self) -> None:
        if self._changed:
            with vendor(self._where):
                self._shard.flush()

    def state(self) -> State:
        with vendor(self._where):
            schema = self._shard.info().payload_schema
        try:
            config = json.loads((self._path / CONFIG).read_text(encoding="utf-8"))
            text = self._label()
        except (OSError, ValueError) as error:
            raise Damaged(f"{self._where}: {error}; restore it from a recovery point") from error
        reported = values.reported(config)
        reported["payload_schema"] = {key: values.index_reported(i) for key, i in schema.items()}
        return State(config={k: v for k, v in reported.items() if v != {}}, label=text)

    def _label(self) -> str | None:
        """As much of it as shows that it is too long."""
        try:
            with (self._path / LABEL).open("rb") as file:
                return file.read(MAX_BYTES + 1).decode()
        except FileNotFoundError:
            return None

    def relabel(self, label: str, *, limits: Json | None = None) -> None:
        del limits  # there is no strict mode
        temporary = self._path / f".{LABEL}"
        with temporary.open("w", encoding="utf-8") as file:
            file.write(label)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path / LABEL)
        sync_directory(self._path)

    def complete(self, config: Json) -> None:
        self.index_payload(config["payload_schema"])

    def index_payload(self, schema: Mapping[str, Json]) -> None:
        with vendor(self._where, by_caller=True):
            there = self._shard.info().payload_schema
            for key, parameters in schema.items():
                if key not in there:
                    made = values.edge_index(parameters)
                    self._update(edge.UpdateOperation.create_field_index(key, made))

    def count(self, filter: Json | None = None) -> int:
        with vendor(self._where):
            return int(self._shard.count(edge.CountRequest(exact=True, filter=_filter(filter))))

    def size_bytes(self) -> int:
        return size_of(self._path)

    def pages(
        self,
        *,
        vectors: Sequence[str],
        payload: Sequence[str] | None = None,
        filter: Json | None = None,
        limit: int | None = None,
    ) -> Iterator[Page]:
        condition = _filter(filter)
        offset, left = None, limit
        while left is None or left > 0:
            with vendor(self._where):
                records, offset = self._shard.scroll(
                    edge.ScrollRequest(
                        offset=offset,
                        limit=PAGE_ROWS if left is None else min(left, PAGE_ROWS),
                        filter=condition,
                        with_payload=True if payload is None else list(payload),
                        with_vector=list(vectors) or False,
                    )
                )
                page = page_of(records)
            if records:
                yield page
            left = None if left is None else left - len(records)
            if offset is None:
                return

    def upsert(self, points: Sequence[Point]) -> None:
        with vendor(self._where, by_caller=True):
            converted = [edge.Point(p.id, _vectors(p.vectors), p.payload) for p in points]
            self._update(edge.UpdateOperation.upsert_points(converted))

    def delete(self, filter: Json) -> None:
        with vendor(self._where):
            self._update(edge.UpdateOperation.delete_points_by_filter(_filter(filter)))

    def nearest(
        self,
        vector: FloatArray,
        *,
        using: str,
        payload: Sequence[str],
        filter: Json | None,
        limit: int,
    ) -> list[Scored]:
        query = edge.Query.Nearest(vector.tolist(), using=using)
        return self._answers(query, payload=payload, filter=filter, limit=limit)

    def matching(
        self, text: str, *, using: str, payload: Sequence[str], filter: Json | None, limit: int
    ) -> list[Scored]:
        query = edge.TextQuery(using, text)
        return self._answers(query, payload=payload, filter=filter, limit=limit)

    def optimize(self, progress: Progress | None, *, keep_numbers: bool) -> None:
        del progress  # one call, which says nothing while it runs
        unsteady = self._unsteady() if keep_numbers else {}
        with vendor(self._where):
            optimized = bool(self._shard.optimize())
        self._changed |= optimized
        if optimized and unsteady:
            self._restore_payloads(unsteady)

    def _unsteady(self) -> dict[PointId, Json]:
        """Payloads that read otherwise after they were written anew."""
        return {
            point: payload
            for page in self.pages(vectors=[])
            for point, payload in zip(page.ids, page.payloads, strict=True)
            if not numbers.is_steady(payload)
        }

    def _restore_payloads(self, before: Mapping[PointId, Json]) -> None:
        """Send again what reads otherwise now. Such a point leaves its segment, and is searched
        without the graph until the next optimization."""
        ids = list(before)
        for start in range(0, len(ids), PAGE_ROWS):
            page = ids[start : start + PAGE_ROWS]
            for current in self.pages(vectors=[], filter={"must": [{"has_id": page}]}):
                for point, payload in zip(current.ids, current.payloads, strict=True):
                    if payload != before[point]:
                        sent = numbers.sent(before[point], parses=EdgeVariant.parses)
                        with vendor(self._where, by_caller=True):
                            self._update(edge.UpdateOperation.overwrite_payload([point], sent))

    def _answers(
        self, query: Any, *, payload: Sequence[str], filter: Json | None, limit: int
    ) -> list[Scored]:
        with vendor(self._where, by_caller=True):
            answer = self._shard.query(
                edge.QueryRequest(
                    limit=limit, query=query, filter=_filter(filter), with_payload=list(payload)
                )
            )
            return [Scored(canonical(p.id), p.payload or {}, float(p.score)) for p in answer]

    def _update(self, operation: Any) -> None:
        self._changed = True
        self._shard.update(operation)


def _filter(filter: Json | None) -> Any:
    return None if filter is None else values.edge_filter(filter)


def _vectors(vectors: Json) -> Any:
    """As lists: the binding takes a list of 384 floats in half the time of a NumPy row (14 µs)."""
    named_vectors = {
        name: edge.SparseVector(v[0].tolist(), v[1].tolist())
        if isinstance(v, tuple)
        else v.tolist()
        for name, v in vectors.items()
    }
    return named_vectors[""] if list(named_vectors) == [""] else named_vectors


def _is_shard(path: Path) -> bool:
    return (path / CONFIG).is_file() or (path / SEGMENTS).is_dir()
