"""A table of LanceDB with blobs is backed up, lost and comes back with every byte."""

import shutil
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pyarrow as pa
import pytest
from lance.blob import blob_array

from tests.cli.workplace import POLICIES, Workplace

IMAGES = [b"", None, *(np.random.default_rng(n).bytes(10 ** (n + 2)) for n in range(5))]
"""Among them some that lie in the data file, in a file of many, and in a file of their own."""


def images(table: Path) -> dict[str, Any]:
    table_read = lance.dataset(str(table)).to_table(blob_handling="all_binary")
    return dict(
        zip(
            table_read.column("id").to_pylist(), table_read.column("image").to_pylist(), strict=True
        )
    )


@pytest.mark.parametrize("route", ["load", "native"])
def test_a_table_with_blobs_comes_back_with_every_byte(fresh: Workplace, route: str) -> None:
    policies = POLICIES.replace("duckdb:stores", "lance:stores")
    (fresh.directory / "policies.yaml").write_text(policies)
    table = fresh.directory / "stores" / "memories.lance"
    ids = [f"m{n}" for n in range(len(IMAGES))]
    vectors = pa.array([[float(n)] * 8 for n in range(len(IMAGES))], pa.list_(pa.float32(), 8))
    rows = pa.table({"id": ids, "image": blob_array(IMAGES), "vector": vectors})
    lance.write_dataset(rows, table)
    before = images(table)
    assert list(table.glob("data/*/*.blob"))
    words = ["--native"] if route == "native" else []
    done = fresh.dr("backup", "memories", "--json", *words)
    assert (done.json["records"], done.json["equal"]) == (len(IMAGES), True), done.err
    shutil.rmtree(table)
    back = fresh.dr("restore", "memories", "--into", "memories", "--route", route, "--json")
    assert back.code == 0, back.err
    assert images(table) == before
    again = fresh.dr("backup", "memories", "--json")
    assert (again.code, again.json["equal"]) == (0, True)
