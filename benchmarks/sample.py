"""The table that most figures are about: unit vectors of 384 dimensions and texts of 500 bytes."""

import itertools
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from uuid6 import uuid7

from dr_pipelines.backup.result import Snapshot, Terms
from dr_pipelines.backup.snapshot import backup
from dr_pipelines.blobs.local import LocalBlobStore
from dr_pipelines.live.live import Live
from dr_pipelines.model.collection import (
    CollectionSpec,
    Field,
    FieldType,
    Vector,
    VectorIndex,
)
from dr_pipelines.model.record import store_schema
from dr_pipelines.model.recovery_point import Timeline, Writer
from dr_pipelines.protocols import VectorStore
from dr_pipelines.repository.history import History
from dr_pipelines.repository.lease import FileLease
from dr_pipelines.repository.repository import Repository
from dr_pipelines.repository.witness import FileWitness
from dr_pipelines.stores.duckdb.store import duckdb_store

COLLECTION = "sample"
PHYSICAL = "sample@1"
STORE = "default"
DIMENSION = 384
TEXT_BYTES = 500
WORDS = 50_000
WORD_BYTES = 8
BATCH_ROWS = 8_192

WARM = "warm: everything read was written or read in the same run; nothing is dropped from caches"


def spec(name: str = PHYSICAL, *, keyword_index: bool = False) -> CollectionSpec:
    """One vector, no fields."""
    return CollectionSpec(
        name=name, vectors=(Vector(dimension=DIMENSION),), keyword_index=keyword_index
    )


def records(numbers: npt.NDArray[np.int64], *, seed: int = 0) -> pa.Table:
    """Records with these numbers; another seed makes other texts and vectors of them."""
    random = np.random.default_rng([seed, *numbers[:1].tolist()])
    matrix = random.standard_normal((len(numbers), DIMENSION), dtype=np.float32)
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    documents = [f"document-{number:08d}" for number in numbers.tolist()]
    columns = {
        "id": pa.array([f"{document}#000000" for document in documents]),
        "document_id": pa.array(documents),
        "chunk_index": pa.array(np.zeros(len(numbers), np.int32)),
        "text": texts(len(numbers), random),
        "embedding": pa.FixedSizeListArray.from_arrays(pa.array(matrix.reshape(-1)), DIMENSION),
    }
    schema = store_schema(spec())
    for name in ("uri", "extra"):
        columns[name] = pa.nulls(len(numbers), pa.string())
    return pa.table([columns[name] for name in schema.names], schema=schema)


DESCRIBED = (
    Field(name="product", type=FieldType.STRING, role="tenant"),
    Field(name="year", type=FieldType.INTEGER),
    Field(name="weight", type=FieldType.NUMBER),
    Field(name="current", type=FieldType.BOOLEAN),
    Field(name="seen", type=FieldType.TIMESTAMP),
)


def described_spec(name: str = PHYSICAL, *, index: VectorIndex | None = None) -> CollectionSpec:
    """One vector, five fields."""
    vectors = (Vector(dimension=DIMENSION, index=index),)
    return CollectionSpec(name=name, vectors=vectors, fields=DESCRIBED, keyword_index=False)


def described_batches(numbers: npt.NDArray[np.int64], *, seed: int = 0) -> Iterator[pa.Table]:
    """Records with these numbers and five fields, a bounded number at a time."""
    schema = store_schema(described_spec())
    for start in range(0, len(numbers), BATCH_ROWS):
        some = numbers[start : start + BATCH_ROWS]
        batch = records(some, seed=seed)
        more = {
            "product": pa.array([f"product-{n % 7}" for n in some.tolist()]),
            "year": pa.array(2000 + some % 30),
            "weight": pa.array(some / 3.0),
            "current": pa.array(some % 2 == 0),
            "seen": pa.array(some * 10**9).cast(pa.timestamp("us", tz="UTC")),
        }
        columns = [more[n] if n in more else batch.column(n) for n in schema.names]
        yield pa.table(columns, schema=schema)


def texts(count: int, random: np.random.Generator) -> pa.Array:
    """Sentences of made-up words: they compress like text, not like noise or repetition."""
    words = np.array([f"w{n:06d} " for n in range(WORDS)], dtype=f"S{WORD_BYTES}")
    many = -(-TEXT_BYTES // WORD_BYTES)
    drawn = words[random.integers(0, WORDS, (count, many))]
    whole = drawn.view(f"S{many * WORD_BYTES}").reshape(count)
    return pa.array([text[:TEXT_BYTES].decode() for text in whole.tolist()], pa.string())


def batches(rows: int) -> Iterator[pa.Table]:
    """The table, a bounded number of records at a time."""
    for start in range(0, rows, BATCH_ROWS):
        yield records(np.arange(start, min(start + BATCH_ROWS, rows)))


def filled_store(directory: Path, rows: int) -> VectorStore:
    """A store whose collection holds the table; made once for a directory."""
    store = duckdb_store(directory / "store")
    if PHYSICAL not in store.collections():
        store.create(spec())
        for batch in batches(rows):
            store.write(PHYSICAL, batch)
    return store


def new_repository(directory: Path) -> Repository:
    """An empty repository on the local disk."""
    numbers = itertools.count()
    return Repository.create(
        LocalBlobStore(directory / "repository"),
        capabilities={"exclusive_create": True},
        witness=FileWitness(directory / "heads"),
        writer=Writer(id=str(uuid7()), host="benchmark", version="0"),
        clock=lambda: datetime.now(UTC),
        new_id=lambda: f"{os.getpid()}-{next(numbers)}",
    )


def lease(directory: Path) -> FileLease:
    """The lease of a machine."""
    return FileLease(directory / "leases")


def adopted() -> Timeline:
    """The history that a first backup of the store begins."""
    return Timeline(id=1, physical=PHYSICAL, store=STORE)


def backed_up(
    store: VectorStore, repository: Repository, place: Path, *, first: bool = True
) -> Snapshot:
    """A backup of the collection, `first` where no log knows it; it must be equal to the store."""
    taken = backup(
        History(repository, COLLECTION),
        live=Live(store, lease(place), COLLECTION),
        terms=Terms(adopt=adopted() if first else None),
    )
    assert taken.equal
    return taken
