"""PostgreSQL with pgvector keeps the contract, in both versions of the server."""

import itertools
from pathlib import Path
from typing import ClassVar

import psycopg
import pytest

from dr_pipelines.model.collection import (
    CollectionSpec,
    Field,
    FieldType,
    Metric,
    Vector,
    VectorIndex,
    VectorType,
)
from dr_pipelines.protocols import VectorStore
from dr_pipelines.stores.pgvector import open_store
from dr_pipelines.testing.store_contract import VectorStoreContract
from dr_pipelines.testing.store_samples import SPEC
from tests.servers.pgvector import Server

NUMBERS = itertools.count()

TUNED = (
    CollectionSpec(
        name="tuned-graphs",
        vectors=(
            Vector(
                dimension=3,
                index=VectorIndex(
                    kind="hnsw", parameters={"m": 7, "ef_construction": 40, "ef_search": 77}
                ),
            ),
            Vector(
                name="half",
                dimension=4,
                metric=Metric.L1,
                dtype=VectorType.FLOAT16,
                index=VectorIndex(kind="hnsw", parameters={"m": 9, "ef_construction": 33}),
            ),
            Vector(
                name="bits",
                dimension=16,
                metric=Metric.JACCARD,
                dtype=VectorType.BIT,
                index=VectorIndex(kind="hnsw", parameters={"m": 5, "ef_construction": 21}),
            ),
            Vector(
                name="long",
                dimension=2_001,
                metric=Metric.L2,
                index=VectorIndex(kind="hnsw", parameters={"m": 4, "ef_construction": 8}),
            ),
            Vector(name="words", dimension=1_000, kind="sparse", metric=Metric.DOT),
        ),
        fields=(Field(name="xmin", type=FieldType.INTEGER), Field(name="t", type=FieldType.STRING)),
        engine={
            "pgvector": {
                "quantization": {"long": "halfvec"},
                "indexes": [
                    {
                        "name": "by_words",
                        "unique": False,
                        "using": "USING gin (to_tsvector('english'::regconfig, text))",
                    },
                    {
                        "name": "{table}_by_t",
                        "unique": False,
                        "using": "USING btree (lower(t), chunk_index DESC) WHERE (t IS NOT NULL)",
                    },
                ],
                "index_names": {"vectors.half.index": "by_half"},
                "storage": {"options": {"fillfactor": "70", "toast.autovacuum_enabled": "false"}},
                "comments": {"table": "kept: 'é'", "columns": {"t": 'a "comment"'}},
                "constraints": [
                    {"name": "positive", "definition": "CHECK ((chunk_index >= 0))"},
                    {"name": "{table}_t_key", "definition": "UNIQUE (t, id)"},
                ],
                "policies": {
                    "enabled": True,
                    "forced": True,
                    "rules": [
                        {
                            "name": "of tenant",
                            "permissive": True,
                            "command": "select",
                            "roles": ["public"],
                            "using": "(t = CURRENT_USER)",
                        }
                    ],
                },
                "grants": [
                    {"role": "public", "privileges": ["SELECT"]},
                    {"role": "public", "privileges": ["UPDATE"], "column": "t"},
                ],
            }
        },
    ),
    CollectionSpec(
        name="tuned-lists",
        vectors=(
            Vector(
                dimension=3,
                metric=Metric.DOT,
                index=VectorIndex(kind="ivf_flat", parameters={"lists": 3, "probes": 2}),
            ),
            Vector(
                name="bits",
                dimension=9,
                metric=Metric.HAMMING,
                dtype=VectorType.BIT,
                index=VectorIndex(kind="ivf_flat", parameters={"lists": 2}),
            ),
        ),
        engine={"pgvector": {"storage": {"unlogged": True}}},
    ),
)

UNREPORTED = {
    SPEC.name: frozenset(f"vectors.{vector.name}.metric" for vector in SPEC.vectors),
    "tuned-graphs": frozenset(["vectors.embedding.index.ef_search", "vectors.words.metric"]),
    "tuned-lists": frozenset(["vectors.embedding.index.probes"]),
}
"""A column has no metric, only an index has one; parameters of searches are those of a session."""


class PgvectorContract(VectorStoreContract):
    engine = "pgvector"
    tuned = TUNED
    unreported = UNREPORTED
    server: ClassVar[str]

    @pytest.fixture
    def store(self, request: pytest.FixtureRequest, tmp_path: Path) -> VectorStore:
        server: Server = request.getfixturevalue(self.server)
        schema = f"tests {next(NUMBERS)}"
        with psycopg.connect(server.conninfo(), autocommit=True) as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
            connection.execute(f'CREATE SCHEMA "{schema}"')
        self.url = server.url(schema=schema.replace(" ", "%20"))
        return open_store(self.url, base=tmp_path)

    def reopened(self, store: VectorStore) -> VectorStore:
        return open_store(self.url, base=Path())


class TestPostgres18(PgvectorContract):
    server = "postgres"


@pytest.mark.long  # the same statements, which the newer server answers in every run
class TestPostgres16(PgvectorContract):
    server = "postgres16"
    many = 2_000
