"""The files of a LanceDB store, for the contract of files that prove what is in them."""

from pathlib import Path

import lance
import pyarrow as pa
from lance.blob import blob_array, blob_field

from dr_pipelines.protocols import HashedFiles, VectorStore
from dr_pipelines.stores.lancedb.connect import open_store
from dr_pipelines.stores.lancedb.hashed import hashed_files_of
from dr_pipelines.stores.lancedb.names import stored_name
from dr_pipelines.testing.hashed_contract import HashedFilesContract

VECTORS = pa.FixedSizeListArray.from_arrays(pa.array([1.0, 0.0], pa.float32()), 2)


def lance_store(directory: Path) -> VectorStore:
    return open_store(f"lance:{directory / 'store'}", base=directory)


class LanceHashedFilesContract(HashedFilesContract):
    """The contract for the store that `lance_store` opens."""

    def files(self, store: VectorStore) -> HashedFiles:
        return hashed_files_of(store)

    def data_files(self, store: VectorStore, name: str) -> list[Path]:
        dataset = _dataset(store, name)
        files = [f.path for each in dataset.get_fragments() for f in each.data_files()]
        return [Path(dataset.uri) / "data" / path for path in files]

    def others(self, store: VectorStore) -> list[str]:
        root = _root(store)
        keyless = pa.table({"text": ["a"], "vector": VECTORS})
        lance.write_dataset(keyless, root / "keyless.lance")
        fields = [pa.field("id", pa.string()), blob_field("image"), pa.field("v", VECTORS.type)]
        blobs = pa.table([pa.array(["a"]), blob_array([b"b"]), VECTORS], schema=pa.schema(fields))
        lance.write_dataset(blobs, root / "blobs.lance")
        own = pa.table({"id": ["a"], "text": ["a"], "vector": VECTORS})
        lance.write_dataset(own, root / "own.lance").shallow_clone(root / "cloned.lance", 1)
        return ["keyless", "blobs", "cloned"]

    def reinterpret(self, store: VectorStore, name: str) -> None:
        for old, new in (("text", "between"), ("uri", "text"), ("between", "uri")):
            _dataset(store, name).alter_columns({"path": old, "name": new})


def _root(store: VectorStore) -> Path:
    return Path(store.driver.place.directory)  # type: ignore[attr-defined]


def _dataset(store: VectorStore, name: str) -> lance.LanceDataset:
    return lance.dataset(str(_root(store) / f"{stored_name(name)}.lance"))
