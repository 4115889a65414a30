"""Recovery points of made-up records, and collections that are restored from them, or nearly."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.model.collection import CollectionSpec, Field, FieldType, Vector, VectorIndex
from dr_pipelines.model.record import record_id, store_schema
from dr_pipelines.model.verdict import Check
from dr_pipelines.proof.probes import Expected, Target, probe
from dr_pipelines.protocols import VectorStore
from dr_pipelines.repository.fold import fold
from dr_pipelines.repository.rows import observed_rows
from dr_pipelines.repository.segments import write_segment
from dr_pipelines.repository.state import State
from tests.repository.builders import manifest, repository

DIMENSION, CLUSTERS = 16, 12
TENANTS = ("acme", "blue", "coral")
PRINCIPALS = ("ada", "bob", "eve")
TEAMS = ("cloud", "data", "edge", "infra")
WORDS = ("river", "mill", "crow", "stone", "lamp", "field", "harbour", "winter")
SPEC = CollectionSpec(
    name="notes",
    vectors=(
        Vector(
            dimension=DIMENSION,
            index=VectorIndex(kind="hnsw", parameters={"m": 16, "ef_construction": 64}),
        ),
    ),
    fields=(
        Field(name="tenant", type=FieldType.STRING, role="tenant"),
        Field(name="principals", type=FieldType.STRINGS, role="principals"),
        Field(name="team", type=FieldType.STRING),
        Field(name="year", type=FieldType.INTEGER),
        Field(name="weight", type=FieldType.NUMBER),
        Field(name="open", type=FieldType.BOOLEAN),
        Field(name="seen", type=FieldType.TIMESTAMP),
        Field(name="note", type=FieldType.STRING, filterable=False),
    ),
)
Damage = Callable[[pa.Table], pa.Table]


def records(count: int = 160, *, seed: int = 1, spec: CollectionSpec = SPEC) -> pa.Table:
    """Records of documents with two chunks each, near one of some directions."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(CLUSTERS, DIMENSION))
    vectors = centres[np.arange(count) % CLUSTERS] + 0.4 * random.normal(size=(count, DIMENSION))
    numbers = range(count)
    documents = [f"d{n // 2:05d}" for n in numbers]
    began = datetime(2026, 1, 1, tzinfo=UTC)
    columns: dict[str, Any] = {
        "id": [record_id(documents[n], n % 2) for n in numbers],
        "document_id": documents,
        "chunk_index": [n % 2 for n in numbers],
        "text": [f"{WORDS[n % 8]} and {WORDS[n // 8 % 8]} of rare{n:05d}" for n in numbers],
        "uri": [None] * count,
        "tenant": [TENANTS[min(n * 4 // count, 2)] for n in numbers],
        "principals": [[PRINCIPALS[n // 2 % 3], PRINCIPALS[n // 6 % 3]] for n in numbers],
        "team": [None if n % 11 == 0 else TEAMS[n // 2 % 4] for n in numbers],
        "year": [None if n % 13 == 0 else 2000 + n % 25 for n in numbers],
        "weight": [None if n % 17 == 0 else n / 8 for n in numbers],
        "open": [None if n % 19 == 0 else n % 3 == 0 for n in numbers],
        "seen": [None if n % 23 == 0 else began + timedelta(days=n % 40) for n in numbers],
        "note": [None] * count,
        "extra": [None] * count,
        "embedding": vectors.astype(np.float32).tolist(),
    }
    schema = store_schema(spec)
    return pa.table({f.name: pa.array(columns[f.name], f.type) for f in schema}, schema=schema)


@contextmanager
def point(
    rows: pa.Table, *, deleting: Sequence[str] = (), spec: CollectionSpec = SPEC
) -> Iterator[State]:
    """The state after records were logged, and then that some of their documents are gone."""
    where = repository()
    logged = [observed_rows(rows, spec=spec)]
    if deleting:
        absent = pa.array(deleting, pa.string())
        logged.append(observed_rows(rows.slice(0, 0), spec=spec, absent=absent))
    segments = [
        write_segment(where, "books", stored, spec=spec, kind="base", entry=entry)
        for entry, stored in enumerate(logged)
    ]
    with fold(where, manifest(segments=segments, spec=spec)) as state:
        yield state


def restored(store: VectorStore, rows: pa.Table, *, spec: CollectionSpec = SPEC) -> Target:
    """A collection of these records, with its index."""
    fitted = store.fit(spec).spec.physical("notes@1")
    store.create(fitted)
    store.write(fitted.name, rows.sort_by("id"))
    store.build_index(fitted.name)
    return Target.of(store, fitted.name)


def replaced(rows: pa.Table, name: str, values: Sequence[Any] | pa.Array) -> pa.Table:
    """With another column."""
    field = rows.schema.field(name)
    column = values if isinstance(values, pa.Array) else pa.array(values, field.type)
    return rows.set_column(rows.column_names.index(name), field, column)


def matrix(rows: pa.Table) -> np.ndarray:
    """The vectors, none of which is null; a copy."""
    values = rows["embedding"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return values.reshape(rows.num_rows, -1).copy()


def with_vectors(rows: pa.Table, vectors: np.ndarray) -> pa.Table:
    """The same records with other vectors."""
    return replaced(rows, "embedding", vectors.astype(np.float32).tolist())


def of_tenant(rows: pa.Table, tenant: str) -> np.ndarray:
    """The places of a tenant's records."""
    mask = pc.equal(rows["tenant"], tenant).combine_chunks()
    return np.flatnonzero(mask.fill_null(False).to_numpy(zero_copy_only=False))


@dataclass(frozen=True)
class Probed:
    """The checks of one run."""

    checks: tuple[Check, ...]

    def ids(self) -> list[str]:
        """Ids of all findings."""
        return [finding.id for check in self.checks for finding in check.every_finding]

    def named(self, name: str) -> Check:
        """The check of that name."""
        return next(check for check in self.checks if check.name == name)


def probed(state: State, target: Target, **options: Any) -> Probed:
    """The checks of a collection against a state."""
    return Probed(probe(Expected(state), target, seed=7, **options))
