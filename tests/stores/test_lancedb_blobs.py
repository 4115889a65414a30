"""Columns of blobs: their bytes are kept on every route, or the backup says which cannot be."""

from pathlib import Path
from typing import Any

import lance
import numpy as np
import pyarrow as pa
import pytest
from lance.blob import Blob, blob_array, blob_field

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.protocols import NativeFile
from dr_pipelines.stores.lancedb import native, open_store
from dr_pipelines.stores.lancedb.address import open_place
from dr_pipelines.stores.lancedb.store import LanceDriver, lancedb_store
from dr_pipelines.stores.shared.driver_store import DriverStore

INLINE, PACKED, DEDICATED = b"i" * 100, b"p" * 100_000, b"d" * 5_000_000
"""By its size Lance puts a blob into the data file, into a file of many, or into one of its own."""
VALUES = [INLINE, None, b"", PACKED, DEDICATED, b"\0\xff", None]
IDS = [f"r{place}" for place in range(len(VALUES))]
VECTORS = pa.array([[float(n), 1.0] for n in range(len(VALUES))], pa.list_(pa.float32(), 2))
LEGACY = {"lance-encoding:blob": "true"}


def legacy(version: str) -> tuple[pa.Table, dict[str, Any]]:
    schema = pa.schema(
        [
            ("id", pa.string()),
            pa.field("image", pa.large_binary(), metadata=LEGACY),
            ("v", VECTORS.type),
        ]
    )
    table = pa.table([pa.array(IDS), pa.array(VALUES, pa.large_binary()), VECTORS], schema=schema)
    return table, {"data_storage_version": version}


def second() -> tuple[pa.Table, dict[str, Any]]:
    fields = [pa.field("id", pa.string()), blob_field("image", inline_size_threshold=1000)]
    schema = pa.schema([*fields, pa.field("v", VECTORS.type)])
    return pa.table([pa.array(IDS), blob_array(VALUES), VECTORS], schema=schema), {}


def within_a_struct() -> tuple[pa.Table, dict[str, Any]]:
    numbers = pa.array(range(len(VALUES)))
    parts = [blob_field("bytes"), pa.field("number", pa.int64())]
    images = pa.StructArray.from_arrays([blob_array(VALUES), numbers], fields=parts)
    return pa.table({"id": IDS, "image": images, "v": VECTORS}), {}


def within_a_list() -> tuple[pa.Table, dict[str, Any]]:
    offsets = pa.array([0, 2, 2, 3, None, 4, 7, 7], pa.int32())
    images = pa.ListArray.from_arrays(offsets, blob_array(VALUES))
    return pa.table({"id": IDS, "image": images, "v": VECTORS}), {}


TABLES = {
    "legacy 2.0": legacy("2.0"),
    "legacy 2.1": legacy("2.1"),
    "v2": second(),
    "struct": within_a_struct(),
    "list": within_a_list(),
}


@pytest.fixture
def store(tmp_path: Path) -> DriverStore[LanceDriver]:
    return lancedb_store(open_place("lance:tables", base=tmp_path))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "tables"


def payloads(directory: Path, name: str) -> dict[str, Any]:
    """Rows of a table as the engine's own client reads them; it opens every blob."""
    read = lance.dataset(str(directory / f"{name}.lance")).to_table(blob_handling="all_binary")
    return dict(zip(read.column("id").to_pylist(), read.column("image").to_pylist(), strict=True))


@pytest.mark.parametrize("kind", TABLES)
def test_the_bytes_of_blobs_are_records_and_are_written_back_as_blobs(
    store: DriverStore[LanceDriver], directory: Path, kind: str
) -> None:
    table, options = TABLES[kind]
    lance.write_dataset(table, directory / "theirs.lance", **options)
    before = payloads(directory, "theirs")
    store.create(store.describe("theirs").physical("copy"))
    read = pa.Table.from_batches(store.scan("theirs"))
    assert read.nbytes > len(PACKED) + len(DEDICATED)
    for _ in range(2):  # a write that is repeated changes nothing
        store.write("copy", read)
    assert payloads(directory, "copy") == before
    ours = lance.dataset(str(directory / "copy.lance"))
    theirs = lance.dataset(str(directory / "theirs.lance"))
    assert ours.schema.field("image").equals(theirs.schema.field("image"), check_metadata=True)
    described = [f.type for f in ours.to_table(columns=["image"]).schema]
    assert described == [f.type for f in theirs.to_table(columns=["image"]).schema]
    assert pa.Table.from_batches(store.scan("copy")).equals(read)


@pytest.mark.parametrize("keyed", [True, False])
def test_a_table_of_blobs_without_a_key_comes_back(
    store: DriverStore[LanceDriver], directory: Path, keyed: bool
) -> None:
    table, _ = TABLES["v2"]
    names = ["id", "image", "v"] if keyed else ["label", "image", "v"]
    lance.write_dataset(table.rename_columns(names), directory / "theirs.lance")
    read = pa.Table.from_batches(store.scan("theirs"))
    store.create(store.describe("theirs").physical("copy"))
    store.write("copy", read)
    assert pa.Table.from_batches(store.scan("copy")).equals(read)


def test_another_byte_in_a_blob_is_another_record(
    store: DriverStore[LanceDriver], directory: Path
) -> None:
    table, _ = TABLES["v2"]
    lance.write_dataset(table, directory / "theirs.lance")
    before = pa.Table.from_batches(store.scan("theirs"))
    other = [*VALUES[:4], DEDICATED[:-1] + b"x", *VALUES[5:]]
    changed = table.set_column(1, table.schema.field(1), blob_array(other))
    lance.write_dataset(changed, directory / "theirs.lance", mode="overwrite")
    after = pa.Table.from_batches(store.scan("theirs"))
    same = [a == b for a, b in zip(before.to_pylist(), after.to_pylist(), strict=True)]
    assert same == [place != 4 for place in range(len(VALUES))]


def test_a_blob_that_lies_elsewhere_is_refused_by_name_and_never_opened(
    store: DriverStore[LanceDriver], directory: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"of somebody else")
    images = blob_array([b"own", Blob.from_uri(secret.as_uri())])
    rows = pa.table({"id": ["a", "b"], "image": images, "v": VECTORS[:2]})
    lance.write_dataset(rows, directory / "theirs.lance", allow_external_blob_outside_bases=True)
    secret.unlink()  # to open it would fail otherwise
    with pytest.raises(InvalidRequest, match=r"record 'b'.*'image'.*file://") as refused:
        list(store.scan("theirs"))
    assert "external_blob_mode" in str(refused.value)
    assert [b.column("id").to_pylist() for b in store.scan("theirs", columns=["id"])] == [
        ["a", "b"]
    ]


def test_a_blob_that_no_record_can_hold_is_refused_by_name(
    store: DriverStore[LanceDriver], directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dr_pipelines.stores.lancedb.blobs.LARGEST_BYTES", len(PACKED))
    lance.write_dataset(TABLES["v2"][0], directory / "theirs.lance")
    with pytest.raises(InvalidRequest, match=r"record 'r4'.*'image'.*5,000,000 bytes"):
        list(store.scan("theirs"))


def test_rows_with_large_blobs_come_a_few_at_a_time(
    store: DriverStore[LanceDriver], directory: Path
) -> None:
    count = 40
    images = [np.random.default_rng(n).bytes(2_000_000) for n in range(count)]
    rows = pa.table(
        {
            "id": [f"{n:03}" for n in reversed(range(count))],
            "image": blob_array(images),
            "v": pa.array([[1.0, 1.0]] * count, VECTORS.type),
        }
    )
    lance.write_dataset(rows, directory / "theirs.lance")
    sizes = [batch.nbytes for batch in store.scan("theirs")]
    assert len(sizes) > 1
    assert max(sizes) < 80 * 2**20


@pytest.mark.parametrize("kind", TABLES)
def test_files_of_blobs_are_among_those_of_a_version(
    store: DriverStore[LanceDriver], directory: Path, tmp_path: Path, kind: str
) -> None:
    table, options = TABLES[kind]
    place = directory / "theirs.lance"
    lance.write_dataset(table, place, **options)
    rest = table.take([3, 4, 5, 6]).set_column(0, "id", pa.array([f"s{n}" for n in range(4)]))
    lance.write_dataset(rest, place, mode="append")
    lance.dataset(str(place)).delete("id = 'r0'")
    files = native.native_files_of(store)
    version = files.native_files("theirs")
    contents_of = {file.path: (place / file.path).read_bytes() for file in version.files}
    before = payloads(directory, "theirs")
    elsewhere = lancedb_store(open_place("lance:elsewhere", base=tmp_path))

    def read(path: str) -> Any:
        import io

        return io.BytesIO(contents_of[path])

    native.native_files_of(elsewhere).restore_native("theirs", version, read=read)
    assert payloads(tmp_path / "elsewhere", "theirs") == before


def test_a_file_of_an_unknown_kind_is_refused(
    store: DriverStore[LanceDriver], directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lance.write_dataset(TABLES["v2"][0], directory / "theirs.lance")
    monkeypatch.setattr(native, "KINDS", native.KINDS - {"transaction file"})
    with pytest.raises(InvalidRequest, match=r"transaction file.*_transactions/"):
        native.native_files_of(store).native_files("theirs")


def test_a_file_beside_a_data_file_is_one_of_its_version(
    store: DriverStore[LanceDriver], directory: Path
) -> None:
    lance.write_dataset(TABLES["v2"][0], directory / "theirs.lance")
    (data,) = (directory / "theirs.lance" / "data").glob("*.lance")
    (data.with_suffix("") / "later.kind").write_bytes(b"12345")
    path = f"data/{data.stem}/later.kind"
    files = native.native_files_of(store).native_files("theirs").files
    assert NativeFile(path, 5) in files
    assert sum(file.path.startswith(f"data/{data.stem}/") for file in files) == 3


def test_a_blob_file_that_is_gone_is_found_by_a_scan(
    store: DriverStore[LanceDriver], directory: Path
) -> None:
    from dr_pipelines.errors import Damaged, NotFound

    lance.write_dataset(TABLES["v2"][0], directory / "theirs.lance")
    for file in (directory / "theirs.lance").glob("data/*/*.blob"):
        file.unlink()
    with pytest.raises((Damaged, NotFound)):
        list(store.scan("theirs"))


def test_the_store_of_a_url_reads_blobs_too(directory: Path) -> None:
    lance.write_dataset(TABLES["v2"][0], directory / "theirs.lance")
    (batch,) = open_store(f"lance:{directory}", base=directory).scan("theirs", batch_rows=100)
    assert batch.num_rows == len(VALUES)


def test_a_blob_in_a_map_is_written_by_no_engine_and_one_of_the_former_kind_is_kept(
    directory: Path,
) -> None:
    """Once Lance writes one, it has to be decided what becomes of it."""
    offsets, keys = pa.array([0, 1], pa.int32()), pa.array(["k"])
    column = pa.MapArray.from_arrays(offsets, keys, blob_array([b"bytes"]))
    vectors = pa.array([[1, 2]], pa.list_(pa.float32(), 2))
    rows = pa.table({"id": ["a"], "v": vectors, "m": column})
    with pytest.raises(OSError, match="Blob v2 encoder"):
        lance.write_dataset(rows, directory / "new.lance", data_storage_version="2.2")

    marked = pa.field("value", pa.large_binary(), metadata=LEGACY)
    column = pa.array([[("k", b"bytes")]], pa.map_(pa.string(), marked))
    rows = pa.table({"id": ["a"], "v": vectors, "m": column})
    lance.write_dataset(rows, directory / "former.lance", data_storage_version="2.2")
    (batch,) = open_store(f"lance:{directory}", base=directory).scan("former")
    assert batch["m"].to_pylist() == ['[["k","Ynl0ZXM="]]']
