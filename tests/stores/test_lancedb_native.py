"""A version of a table is kept as its files, and comes back with its indexes."""

import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Any

import lance
import numpy as np
import pyarrow as pa
import pytest

from dr_pipelines.errors import (
    AlreadyExists,
    Damaged,
    InvalidRequest,
    NotFound,
)
from dr_pipelines.model.query import Mode, Query
from dr_pipelines.protocols import NativeVersion
from dr_pipelines.stores.lancedb.address import LocalPlace, S3Place, open_place
from dr_pipelines.stores.lancedb.native import LanceNativeFiles, native_files_of
from dr_pipelines.stores.lancedb.store import LanceDriver, lancedb_store
from dr_pipelines.stores.shared.driver_store import DriverStore
from dr_pipelines.testing.store_samples import contents
from tests.stores.lancedb_samples import (
    INDEXED,
    clustered,
    indexed_rows,
    on_s3,
)

NAME = INDEXED.name
COPY = INDEXED.physical("clustered@2", origin="7-1a2b3c4d")


class Kept:
    """A repository of a version's files: a directory, where a file is stored once."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.copied = 0

    def keep(self, files: LanceNativeFiles, name: str) -> NativeVersion:
        version = files.native_files(name)
        for file in version.files:
            path = self.directory / file.path
            if path.exists():
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            with files.open_native(name, file.path) as source, path.open("wb") as target:
                shutil.copyfileobj(source, target)
            self.copied += 1
        return version

    def read(self, path: str) -> AbstractContextManager[IO[bytes]]:
        return (self.directory / path).open("rb")


def answers(store: DriverStore[LanceDriver], name: str) -> list[Any]:
    """Answers of the indexes, and the contents."""
    vectors = [Query(vector=row, exact=False) for row in clustered(5, seed=9)]
    words = Query(mode=Mode.KEYWORD, text="word 7", exact=False)
    hits = [store.search(name, query, limit=10) for query in (*vectors, words)]
    plans = [lance_plan(store, name)]
    return [hits, contents(store, name), store.describe(name).vectors, plans]


def lance_plan(store: DriverStore[LanceDriver], name: str) -> bool:
    """True if the engine uses its index."""
    query = {"column": "embedding", "q": clustered(1, seed=9)[0], "k": 3}
    return "ANN" in store.driver.dataset(name).scanner(nearest=query).explain_plan()


@pytest.fixture
def store(tmp_path: Path) -> DriverStore[LanceDriver]:
    return filled(lancedb_store(open_place("lance:tables", base=tmp_path)))


def filled(store: DriverStore[LanceDriver]) -> DriverStore[LanceDriver]:
    store.create(INDEXED)
    store.write(NAME, indexed_rows(600))
    store.build_index(NAME)
    store.write(NAME, indexed_rows(3), replaces=["document-9"])  # with a deletion, and unindexed
    return store


def test_a_damaged_and_dropped_table_comes_back_with_its_indexes(
    store: DriverStore[LanceDriver], tmp_path: Path
) -> None:
    files, copy = native_files_of(store), Kept(tmp_path / "kept")
    before, version = answers(store, NAME), copy.keep(files, NAME)
    assert before[-1] == [True]
    table = Path(store.driver.dataset(NAME).uri)
    for path in (*table.rglob("*.idx"), *table.rglob("data/*.lance")):
        path.write_bytes(b"damaged" + path.read_bytes()[7:-1])
    with pytest.raises(Damaged):
        answers(store, NAME)
    store.drop(NAME)

    files.restore_native(COPY.name, version, read=copy.read, spec=COPY)

    assert answers(store, COPY.name) == before
    assert store.describe(COPY.name).origin == COPY.origin
    dataset = store.driver.dataset(COPY.name)
    assert [v["version"] for v in dataset.versions()] == [
        int(version.version),
        int(version.version) + 1,  # the label: no index was built
    ]
    store.create(COPY)  # the same: a no-op
    store.write(COPY.name, indexed_rows(5), replaces=["document-8"])
    assert store.status(COPY.name).records == 598


def test_a_second_version_shares_the_files_of_the_first(
    store: DriverStore[LanceDriver], tmp_path: Path
) -> None:
    files, copy = native_files_of(store), Kept(tmp_path / "kept")
    first = copy.keep(files, NAME)
    assert copy.copied == len(first.files)
    copy.copied = 0
    store.write(NAME, indexed_rows(2, first=900))
    second = copy.keep(files, NAME)
    assert copy.copied == 3  # rows, manifest, transaction
    assert len(second.files) == len(first.files) + 1
    for number, version in enumerate((first, second)):
        name = f"clustered@v{number}"
        files.restore_native(name, version, read=copy.read)
        assert store.status(name).records == 599 + 2 * number


def test_a_table_of_users_comes_back_as_it_was(tmp_path: Path) -> None:
    store = lancedb_store(open_place("lance:tables", base=tmp_path))
    rows = pa.table(
        {"n": np.arange(9), "v": pa.array([[n, 2] for n in range(9)], pa.list_(pa.float32(), 2))}
    )
    lance.write_dataset(rows, tmp_path / "tables/theirs.lance")
    files, copy = native_files_of(store), Kept(tmp_path / "kept")
    version = copy.keep(files, "theirs")
    files.restore_native("again", version, read=copy.read)
    again = lance.dataset(tmp_path / "tables/again.lance")
    assert again.to_table().equals(rows)
    assert again.schema.metadata is None
    spec = store.describe("theirs").physical("labelled", origin="1-2b3c4d5e")
    files.restore_native("labelled", version, read=copy.read, spec=spec)
    described = store.describe("labelled")
    assert (described.origin, described.vectors) == (spec.origin, spec.vectors)
    assert store.status("labelled").indexed
    assert contents(store, "labelled") == contents(store, "theirs")


def test_a_restore_that_dies_leaves_nothing_to_be_seen(
    store: DriverStore[LanceDriver], tmp_path: Path
) -> None:
    files, copy = native_files_of(store), Kept(tmp_path / "kept")
    version, before = copy.keep(files, NAME), store.collections()
    for after in range(0, len(version.files), 4):
        with pytest.raises(KeyboardInterrupt):
            files.restore_native(COPY.name, version, read=dying(copy, after), spec=COPY)
        assert store.collections() == before
    files.restore_native(COPY.name, version, read=copy.read, spec=COPY)
    assert answers(store, COPY.name) == answers(store, NAME)
    assert sorted(p.name for p in (tmp_path / "tables").iterdir()) == [
        ".lock",
        "clustered.1.lance",
        "clustered.2.lance",
    ]


def dying(copy: Kept, after: int) -> Any:
    left = [after]

    @contextmanager
    def read(path: str) -> Iterator[IO[bytes]]:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        with copy.read(path) as file:
            yield file

    return read


def test_what_is_no_version_of_a_table_is_refused(
    store: DriverStore[LanceDriver], tmp_path: Path
) -> None:
    files, copy = native_files_of(store), Kept(tmp_path / "kept")
    version = copy.keep(files, NAME)
    with pytest.raises(AlreadyExists, match=NAME):
        files.restore_native(NAME, version, read=copy.read)
    with pytest.raises(InvalidRequest, match="other"):
        files.restore_native("other", version, read=copy.read, spec=COPY)
    elsewhere = NativeVersion("qdrant 1.20", version.version, version.files)
    with pytest.raises(InvalidRequest, match="qdrant"):
        files.restore_native(COPY.name, elsewhere, read=copy.read)
    longest = max(version.files, key=lambda file: file.size_bytes)
    path = copy.directory / longest.path
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(Damaged, match=longest.path):
        files.restore_native(COPY.name, version, read=copy.read)
    for path in ("../x", "/etc/passwd", "data/../../x", "data", "other/x", "data\\..\\x"):  # type: ignore[assignment]
        with pytest.raises(Damaged, match="path"), files.open_native(NAME, path):  # type: ignore[arg-type]
            pass
    with pytest.raises(NotFound, match="cleaned up"), files.open_native(NAME, "data/gone.lance"):
        pass
    assert store.collections() == [NAME]


def test_a_table_that_is_no_collection_keeps_its_name(
    store: DriverStore[LanceDriver], moto_endpoint: str, tmp_path: Path
) -> None:
    files, copy = native_files_of(store), Kept(tmp_path / "kept")
    version = copy.keep(files, NAME)
    orders = pa.table({"id": ["a", "b"]})
    with on_s3(moto_endpoint, "taken") as url:
        there = lancedb_store(open_place(url, base=tmp_path))
        for place in (store.driver.place, there.driver.place):
            uri, options = place.uri("orders"), place.options
            lance.write_dataset(orders, uri, storage_options=options)
            files = LanceNativeFiles(LanceDriver(place))
            with pytest.raises(AlreadyExists, match="orders"):
                files.restore_native("orders", version, read=copy.read)
            assert lance.dataset(uri, storage_options=options).to_table().equals(orders)
            for name in ("../victim", "a/b", "", "x.lance"):
                with pytest.raises(InvalidRequest, match="collection name"):
                    files.restore_native(name, version, read=copy.read)


def test_manifests_that_count_up_are_restored_into_a_bucket(
    moto_endpoint: str, tmp_path: Path
) -> None:
    store = lancedb_store(open_place("lance:tables", base=tmp_path))
    vectors = pa.array([[1, 2]], pa.list_(pa.float32(), 2))
    path = tmp_path / "tables/theirs.lance"
    for number in range(9):  # the label will be in a manifest named 10, which sorts before 9
        row = pa.table({"id": [str(number)], "v": vectors})
        mode = "append" if number else "create"
        lance.write_dataset(row, path, mode=mode, enable_v2_manifest_paths=False)
    assert (path / "_versions/9.manifest").exists()
    copy = Kept(tmp_path / "kept")
    version = copy.keep(native_files_of(store), "theirs")
    spec = store.describe("theirs").physical("labelled", origin="1-2b3c4d5e")
    with on_s3(moto_endpoint, "counting") as url:
        there = lancedb_store(open_place(url, base=tmp_path))
        for name, label in (("plain", None), ("labelled", spec)):
            native_files_of(there).restore_native(name, version, read=copy.read, spec=label)
            assert contents(there, name) == contents(store, "theirs")
        assert there.describe("labelled").origin == spec.origin


def test_a_version_goes_from_a_bucket_to_a_directory_and_back(
    moto_endpoint: str, tmp_path: Path
) -> None:
    with on_s3(moto_endpoint, "native") as url:
        there = filled(lancedb_store(open_place(url, base=tmp_path)))
        here = lancedb_store(open_place("lance:tables", base=tmp_path))
        assert isinstance(there.driver.place, S3Place)
        assert isinstance(here.driver.place, LocalPlace)
        copy = Kept(tmp_path / "kept")
        version = copy.keep(native_files_of(there), NAME)
        before = answers(there, NAME)
        native_files_of(here).restore_native(NAME, version, read=copy.read)
        with pytest.raises(KeyboardInterrupt):
            native_files_of(there).restore_native(COPY.name, version, read=dying(copy, 9))
        assert there.collections() == [NAME]
        native_files_of(there).restore_native(COPY.name, version, read=copy.read, spec=COPY)
        assert answers(here, NAME) == before
        assert answers(there, COPY.name) == before
        assert there.describe(COPY.name).origin == COPY.origin
