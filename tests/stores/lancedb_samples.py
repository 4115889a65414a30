"""Clustered vectors with words, and a bucket, for tests of the LanceDB adapter."""

from collections.abc import Iterator
from contextlib import contextmanager

import boto3
import numpy as np
import pyarrow as pa
import pytest

from dr_pipelines.model.collection import (
    CollectionSpec,
    Field,
    FieldType,
    Vector,
    VectorIndex,
)
from dr_pipelines.model.query import FloatArray
from dr_pipelines.model.record import store_schema

DIMENSION = 32
INDEX = VectorIndex(
    kind="ivf_hnsw_sq", parameters={"lists": 3, "m": 12, "ef_construction": 77, "max_level": 5}
)
INDEXED = CollectionSpec(
    name="clustered@1",
    vectors=(Vector(dimension=DIMENSION, index=INDEX),),
    fields=(Field(name="number", type=FieldType.INTEGER),),
)


def clustered(count: int, *, seed: int = 1, clusters: int = 20) -> FloatArray:
    """Points around the same centres, whatever the seed of the points is."""
    centres = np.random.default_rng(0).normal(size=(clusters, DIMENSION))
    random = np.random.default_rng(seed)
    points = centres[random.integers(0, clusters, count)] + random.normal(
        scale=0.4, size=(count, DIMENSION)
    )
    return points.astype(np.float32)


def indexed_rows(count: int, *, first: int = 0) -> pa.Table:
    """Records `document-N#000000` with words and a number."""
    names = [f"document-{number}" for number in range(first, first + count)]
    values = clustered(first + count)[first:]
    columns = {
        "id": pa.array([f"{name}#000000" for name in names], pa.string()),
        "document_id": pa.array(names, pa.string()),
        "chunk_index": pa.array([0] * count, pa.int32()),
        "text": pa.array([f"word {number % 10}" for number in range(count)], pa.string()),
        "number": pa.array(range(first, first + count), pa.int64()),
        "embedding": pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), DIMENSION),
    }
    schema = store_schema(INDEXED)
    return pa.table([columns.get(f.name, pa.nulls(count, f.type)) for f in schema], schema=schema)


@contextmanager
def on_s3(endpoint: str, bucket: str) -> Iterator[str]:
    """The URL of a new bucket; credentials are in the environment, where Lance looks for them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "any")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
        client.create_bucket(Bucket=bucket)
        client.close()
        yield f"lance:s3://{bucket}/tables?endpoint={endpoint}"
