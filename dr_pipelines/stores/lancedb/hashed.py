"""Data files of a table, hashed: a fragment's rows are in files that Lance never changes, and a
small file beside them says which of its rows are deleted."""

import hashlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.base import canonical_json
from dr_pipelines.model.record import store_schema
from dr_pipelines.protocols import HashedPiece, VectorStore
from dr_pipelines.stores.lancedb.address import LocalPlace
from dr_pipelines.stores.lancedb.errors import translating
from dr_pipelines.stores.lancedb.scans import READ_BYTES
from dr_pipelines.stores.lancedb.schema import Collection
from dr_pipelines.stores.lancedb.store import LanceDriver
from dr_pipelines.stores.shared.driver import Use

DATA = "data"
CHUNK_BYTES = 4 * 2**20
PLACE_BITS = 32
"""Of a row's address the lower half is its place in its fragment."""


def hashed_files_of(store: VectorStore) -> "LanceHashedFiles":
    """The files of a LanceDB store; raises `InvalidRequest` for another one."""
    driver = getattr(store, "driver", None)
    if not isinstance(driver, LanceDriver):
        raise InvalidRequest(f"{store.engine} has no Lance files")
    return LanceHashedFiles(driver)


class LanceHashedFiles:
    """`HashedFiles` of a LanceDB store. In a bucket, where hashing is reading, there is none; nor
    for tables whose ids are digests, whose blobs lie in files of their own, or whose files are
    another table's."""

    def __init__(self, driver: LanceDriver) -> None:
        self._driver = driver

    def pieces(self, name: str) -> Iterator[HashedPiece] | None:
        if not isinstance(self._driver.place, LocalPlace):
            return None
        collection = self._driver.newest(name, Use.SCAN)
        layout = collection.layout
        if layout.key is None or layout.blobs or _is_borrowed(collection):
            return None
        return _pieces(collection)


def _is_borrowed(collection: Collection) -> bool:
    with translating(collection.name):
        files = [f for each in collection.dataset.get_fragments() for f in each.data_files()]
        elsewhere = any(f.base_id is not None or Path(f.path).name != f.path for f in files)
        return elsewhere or bool(collection.dataset.base_paths())


def _pieces(collection: Collection) -> Iterator[HashedPiece]:
    dataset = collection.dataset
    root, schema = Path(dataset.uri) / DATA, dataset.schema.serialize().to_pybytes()
    for fragment in dataset.get_fragments():
        with translating(collection.name):
            files = [
                (_sha256(root / f.path), list(f.fields), list(f.column_indices))
                for f in fragment.data_files()
            ]
            scanner = fragment.scanner(columns=[], with_row_address=True)
            addresses = scanner.to_table()["_rowaddr"].combine_chunks()
        places = pc.bit_wise_and(addresses, pa.scalar(2**PLACE_BITS - 1, pa.uint64()))
        identity = canonical_json([hashlib.sha256(schema).hexdigest(), files])
        yield HashedPiece(
            digest=hashlib.sha256(identity).hexdigest(),
            live=places.cast(pa.uint32()),
            read=partial(_records, collection, fragment),
        )


def _records(collection: Collection, fragment: Any) -> Iterator[pa.RecordBatch]:
    layout = collection.layout
    columns = store_schema(layout.spec).names
    with translating(collection.name):
        scanner = fragment.scanner(columns=layout.columns(columns), batch_size_bytes=READ_BYTES)
        for batch in scanner.to_batches():
            if batch.num_rows:
                rows = layout.read(batch, columns)
                if rows.column("id").null_count:
                    raise InvalidRequest(
                        f"{collection.name!r}: {rows.column('id').null_count} rows have no id; "
                        "give them one"
                    )
                yield rows


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
