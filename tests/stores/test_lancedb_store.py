"""The LanceDB adapter keeps the contract, in a directory and (a minute, so `long`) on S3."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dr_pipelines.model.collection import (
    CollectionSpec,
    Metric,
    Vector,
    VectorIndex,
    VectorKind,
    VectorType,
)
from dr_pipelines.model.query import Query
from dr_pipelines.model.record import store_schema, vector_type
from dr_pipelines.planning.parts import compare_parts
from dr_pipelines.protocols import VectorStore
from dr_pipelines.stores.lancedb import open_store
from dr_pipelines.stores.shared.narrowing import narrowed
from dr_pipelines.testing.store_contract import VectorStoreContract
from dr_pipelines.testing.store_samples import SPEC
from tests.stores.lancedb_samples import on_s3


def indexed(
    name: str, kind: str, dtype: VectorType = VectorType.FLOAT32, **parameters: Any
) -> Vector:
    metric = Metric.HAMMING if dtype is VectorType.BIT else Metric.DOT
    index = VectorIndex(kind=kind, parameters=parameters)
    return Vector(name=name, dimension=32, metric=metric, dtype=dtype, index=index)


COMMON: dict[str, Any] = {"lists": 3, "sample_rate": 128, "max_iterations": 7}
GRAPH: dict[str, Any] = {"m": 12, "ef_construction": 77, "max_level": 5}
PRODUCT: dict[str, Any] = {"sub_vectors": 4, "bits": 4}
KINDS = CollectionSpec(
    name="kinds",
    vectors=(
        indexed("flat", "ivf_flat", **COMMON, target_partition_size=500),
        indexed("bits", "ivf_flat", VectorType.BIT, **COMMON),
        indexed("sq", "ivf_sq", **COMMON),
        indexed("pq", "ivf_pq", VectorType.FLOAT16, **COMMON, **PRODUCT),
        indexed("rq", "ivf_rq", **COMMON, bits=1),
        indexed("graph", "ivf_hnsw_flat", **COMMON, **GRAPH),
        indexed("graph_sq", "ivf_hnsw_sq", **COMMON, **GRAPH),
        indexed("graph_pq", "ivf_hnsw_pq", **COMMON, **GRAPH, **PRODUCT),
        Vector(
            name="several",
            dimension=16,
            kind=VectorKind.MULTI,
            index=VectorIndex(kind="ivf_pq", parameters=COMMON | PRODUCT),
        ),
    ),
)
"""Every kind of vector index, with other parameters than the defaults."""
TEXT = {
    "base_tokenizer": "ngram",
    "min_ngram_length": 2,
    "max_ngram_length": 5,
    "prefix_only": True,
    "language": "French",
    "with_position": True,
    "max_token_length": 30,
    "lower_case": False,
    "stem": False,
    "remove_stop_words": True,
    "custom_stop_words": ["le"],
    "ascii_folding": False,
    "block_size": 256,
    "document_granularity": "row",
}
SECTION = {
    "layout": "managed",
    "indexes": [
        {"name": "by_groups", "type": "LABEL_LIST", "columns": ["groups"]},
        {"name": "by_id", "type": "BTREE", "columns": ["id"]},
        {"name": "by_product", "type": "BITMAP", "columns": ["product"]},
        {"name": "by_product_too", "type": "NGRAM", "columns": ["product"]},
        {"name": "by_seen", "type": "BLOOMFILTER", "columns": ["seen"]},
        {"name": "by_text", "type": "INVERTED", "columns": ["text"], "parameters": TEXT},
        {"name": "by_uri", "type": "FM", "columns": ["uri"]},
        {"name": "by_year", "type": "ZONEMAP", "columns": ["year"]},
    ],
    "storage": {"version": "2.1", "stable_row_ids": True},
    "configuration": {"lance.auto_cleanup.interval": "7", "lance.auto_cleanup.older_than": "9h"},
    "properties": {"owner": "teám"},
    "comments": {"purpose": "tests"},
}
TUNED = (KINDS, SPEC.physical("tuned").model_copy(update={"engine": {"lancedb": SECTION}}))
METRICS = frozenset(f"vectors.{vector.name}.metric" for vector in SPEC.vectors)
UNREPORTED = {
    SPEC.name: METRICS,
    "tuned": METRICS | {"engine.lancedb.indexes"},
    "kinds": frozenset(f"vectors.{v.name}.index.lists" for v in KINDS.vectors if v.index),
}
"""Of a vector without an index the metric; of an index that saw no record the number of lists, and
its own stop words."""


class TestLanceDB(VectorStoreContract):
    engine = "lancedb"
    tuned = TUNED
    unreported = UNREPORTED

    @pytest.fixture
    def store(self, tmp_path: Path) -> VectorStore:
        return open_store("lance:store", base=tmp_path)


@pytest.mark.parametrize("metric", Metric)
@pytest.mark.parametrize("dtype", VectorType)
@pytest.mark.parametrize("kind", [VectorKind.DENSE, VectorKind.MULTI])
def test_a_vector_of_another_engine_is_fitted_and_searched(
    tmp_path: Path, metric: Metric, dtype: VectorType, kind: VectorKind
) -> None:
    index = VectorIndex(kind="hnsw", parameters={"m": 12, "ef_construction": 70, "ef_search": 40})
    vector = Vector(dimension=16, metric=metric, dtype=dtype, kind=kind, index=index)
    store = open_store("lance:store", base=tmp_path)
    fit = store.fit(CollectionSpec(name="fitted", vectors=(vector,), keyword_index=False))
    assert fit.lost == ()
    store.create(fit.spec)
    values = narrowed(np.random.default_rng(1).normal(0, 2, 16 * 40).astype(np.float32), dtype)
    rows = values.reshape(40, 16).tolist()
    several = kind is VectorKind.MULTI
    ids = [f"{number:02d}" for number in range(40)]
    columns = {
        "id": pa.array(ids),
        "document_id": pa.array(ids),
        "chunk_index": pa.array([0] * 40, pa.int32()),
        "embedding": pa.array(
            [[row, row] if several else row for row in rows], vector_type(vector)
        ),
    }
    schema = store_schema(fit.spec)
    batch = [columns.get(f.name, pa.nulls(40, f.type)) for f in schema]
    store.write("fitted", pa.table(batch, schema=schema))
    store.build_index("fitted")
    described = store.describe("fitted")
    compared = compare_parts(fit.spec, described, engine="lancedb")
    assert [c for c in compared if not c.unreported] == []
    parts = {note.part for note in fit.notes}
    if described.vectors[0].index is None:
        assert "vectors.embedding.index" in parts or "vectors.embedding.metric" in parts
    read = pa.Table.from_batches(store.scan("fitted"))
    assert read.column("embedding").to_pylist() == columns["embedding"].to_pylist()
    if several:
        return
    for exact in (True, False):
        query = Query(vector=values.reshape(40, 16)[7], exact=exact)
        hits = store.search("fitted", query, limit=40)
        truth = store.search("fitted", replace(query, exact=True), limit=40)
        assert [hit.score for hit in hits[:1]] == pytest.approx(
            [truth[0].score], abs=1e-3, rel=1e-5
        )


def test_an_index_is_built_and_described_without_a_word_of_the_engine(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from dr_pipelines.model.collection import VectorIndex
from dr_pipelines.stores.lancedb import open_store
from tests.stores.lancedb_samples import INDEXED, indexed_rows
index = VectorIndex(kind="ivf_flat", parameters={"lists": 1})
vector = INDEXED.vectors[0].model_copy(update={"index": index})
store = open_store("lance:store", base=Path(sys.argv[1]))
store.create(INDEXED.model_copy(update={"vectors": (vector,)}))
store.write(INDEXED.name, indexed_rows(300))
store.build_index(INDEXED.name)
assert store.describe(INDEXED.name).vectors[0].index.kind == "ivf_flat"
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture(scope="module")
def bucket(moto_endpoint: str) -> Iterator[str]:
    with on_s3(moto_endpoint, "contract") as url:
        yield url


@pytest.mark.long
class TestLanceDBOnS3(VectorStoreContract):
    engine = "lancedb"
    tuned = TUNED
    unreported = UNREPORTED
    many = 2_000

    @pytest.fixture
    def store(self, bucket: str, tmp_path: Path) -> VectorStore:
        return open_store(bucket.replace("/tables?", f"/{tmp_path.name}?"), base=tmp_path)
