"""Rows come through memory that is used again; what was made of them stays as it was."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dr_pipelines.model.collection import CollectionSpec, Field, FieldType, Vector, VectorType
from dr_pipelines.model.record import store_schema
from dr_pipelines.protocols import VectorStore
from dr_pipelines.stores.pgvector import open_store, streams
from tests.servers.pgvector import Server

SPEC = CollectionSpec(
    name="streamed",
    vectors=(
        Vector(dimension=5),
        Vector(name="half", dimension=3, dtype=VectorType.FLOAT16),
        Vector(name="bits", dimension=12, dtype=VectorType.BIT),
        Vector(name="several", dimension=2, kind="multi"),
        Vector(name="words", dimension=900, kind="sparse"),
        Vector(name="long", dimension=16_001),
    ),
    fields=tuple(Field(name=kind.name.lower(), type=kind) for kind in FieldType),
)
ROWS = 60


@pytest.fixture
def store(postgres: Server) -> VectorStore:
    return open_store(postgres.url(postgres.create_database()), base=Path())


def _rows(*, longest: int = 0) -> pa.Table:
    """No two rows are alike in any column; one has a text of `longest` characters."""
    schema, numbers = store_schema(SPEC), np.arange(ROWS)
    words = [f"word {n}" for n in numbers.tolist()]
    texts = ["text " * (1 + n % 7) + str(n) for n in numbers.tolist()]
    texts[ROWS // 2] += "x" * longest
    bits = (numbers[:, None] >> np.arange(12)) & 1
    sparse = [{"indices": [n, n + 1 + n % 5], "values": [n + 0.5, 1.5]} for n in numbers.tolist()]
    several = [[[n, m] for m in range(1 + n % 3)] for n in numbers.tolist()]
    columns: dict[str, Any] = {
        "id": [f"{n:04d}" for n in numbers.tolist()],
        "document_id": words,
        "chunk_index": numbers,
        "text": texts,
        "uri": words,
        "extra": [f'{{"n": {n}}}' for n in numbers.tolist()],
        "string": texts,
        "strings": [[f"{n}", f"{m}"] for n, m in enumerate(words)],
        "integer": numbers,
        "number": numbers / 7,
        "boolean": numbers % 3 == 0,
        "timestamp": numbers * 10**12,
        "embedding": (numbers[:, None] + np.arange(5) / 8).tolist(),
        "half": (numbers[:, None] + np.arange(3) / 8).tolist(),
        "bits": bits.tolist(),
        "several": several,
        "words": sparse,
        "long": (numbers[:, None] + np.zeros(16_001)).tolist(),
    }
    return pa.table([pa.array(columns[f.name]).cast(f.type) for f in schema], schema=schema)


@pytest.mark.parametrize("longest", [0, 100_000], ids=["short", "one-long"])
@pytest.mark.parametrize("piece_bytes", [1, 200_000, 2**23])
def test_batches_that_are_kept_are_not_overwritten_by_later_ones(
    store: VectorStore, monkeypatch: pytest.MonkeyPatch, piece_bytes: int, longest: int
) -> None:
    rows = _rows(longest=longest)
    store.create(SPEC)
    store.write(SPEC.name, rows)
    monkeypatch.setattr(streams, "PIECE_BYTES", piece_bytes)
    monkeypatch.setattr(streams, "MOST_HELD", 4 * piece_bytes)
    for batch_rows in (7, 8192):
        scanned = pa.Table.from_batches(store.scan(SPEC.name, batch_rows=batch_rows))
        assert scanned.sort_by("id").equals(rows)
