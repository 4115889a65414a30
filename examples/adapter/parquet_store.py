"""A vector store of Parquet files: a whole adapter, told in docs/adapters/README.md.

`<collection>.parquet` is the newest version of a collection, sorted by id, with its label in the
metadata of the schema. A write makes the whole file anew beside it and renames it over the old one,
so that readers have one version or the other, never a mixture. Every search reads the whole file.
Files that something else wrote are no collections here: they have no label.
"""

import uuid
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dr_pipelines.errors import (
    AlreadyExists,
    Damaged,
    InvalidRequest,
    NotFound,
    Refused,
    Unavailable,
)
from dr_pipelines.model.base import Stored
from dr_pipelines.model.collection import (
    PHYSICAL_NAME,
    CollectionSpec,
    CollectionStatus,
    Metric,
    VectorType,
)
from dr_pipelines.model.compatibility import CompatibilityReport, Note
from dr_pipelines.model.misfit import Misfits
from dr_pipelines.model.query import Hit, Query
from dr_pipelines.model.record import store_schema
from dr_pipelines.protocols import Progress
from dr_pipelines.stores.shared.batches import checked_batch, in_order_of_id
from dr_pipelines.stores.shared.exact import search_exactly
from dr_pipelines.stores.shared.fitting import Native, comes_back, fit_to
from dr_pipelines.stores.shared.misfits import misfits_of, value_problems
from dr_pipelines.stores.shared.pointers import (
    Pointers,
    locked,
    sync_directory,
    sync_file,
)
from dr_pipelines.stores.shared.requests import (
    checked_alias,
    checked_batch_rows,
    checked_columns,
    checked_query,
)

SUFFIX = ".parquet"
CODECS = ("ZSTD", "GZIP", "SNAPPY")
NATIVE = Native(engine="parquet", metrics=frozenset(Metric), dtypes=frozenset(VectorType))


class Label(Stored):
    """The label of a file: its specification, and a token of the records in it."""

    spec: CollectionSpec
    indexed: bool = False
    mark: str = ""


@dataclass(frozen=True, slots=True)
class Version:
    """An open file: it stays readable when a later version takes its name."""

    path: Path
    file: pq.ParquetFile
    label: Label

    @classmethod
    def opened(cls, path: Path) -> "Version":
        with translated(path):
            file = pq.ParquetFile(path, page_checksum_verification=True)
            text = (file.schema_arrow.metadata or {}).get(b"label", b"")
            return cls(path, file, Label.model_validate_json(text))

    def batches(
        self,
        columns: Sequence[str],
        *,
        documents: Sequence[str] | None = None,
        batch_rows: int = 8192,
    ) -> Iterator[pa.RecordBatch]:
        """Records as they lie in the file, which is in order of id."""
        selection = None if documents is None else pa.array(documents, pa.string())
        read = self.file.iter_batches(batch_rows, columns=list({*columns, "document_id"}))
        with translated(self.path):
            for batch in read:
                rows = batch.replace_schema_metadata(None)
                if selection is not None:
                    rows = rows.filter(pc.is_in(rows.column("document_id"), value_set=selection))
                if rows.num_rows:
                    yield rows.select(columns)

    def table(self) -> pa.Table:
        schema = store_schema(self.label.spec)
        return pa.Table.from_batches(self.batches(schema.names), schema)


class ParquetVectorStore:
    """Collections in a directory on a local disk; safe for any number of processes."""

    vector_tolerance = 0.0

    def __init__(self, directory: Path, *, wait_seconds: float = 30) -> None:
        self._directory, self._wait_seconds = directory, wait_seconds
        self._directory.mkdir(parents=True, exist_ok=True)
        self._pointers = Pointers(directory)

    @property
    def engine(self) -> str:
        return f"parquet (pyarrow {pa.__version__})"

    def collections(self) -> list[str]:
        return sorted(path.name.removesuffix(SUFFIX) for path in self._directory.glob(f"*{SUFFIX}"))

    def aliases(self) -> dict[str, str]:
        return self._pointers.all()

    def warnings(self) -> tuple[str, ...]:
        return ()

    def describe(self, name: str) -> CollectionSpec:
        version = self._open(name)
        spec, first = version.label.spec, version.file.metadata.row_group(0).column(0)
        section = {**spec.engine.get("parquet", {}), "storage": {"compression": first.compression}}
        if "optimizers" in section:  # a file does not say at which level it was compressed
            section["unreported"] = ["engine.parquet.optimizers"]
        vectors = tuple(vector.model_copy(update={"index": None}) for vector in spec.vectors)
        engine = {**spec.engine, "parquet": section}
        return spec.model_copy(update={"vectors": vectors, "engine": engine})

    def change_token(self, name: str) -> str | None:
        return self._open(name).label.mark

    def status(self, name: str) -> CollectionStatus:
        version = self._open(name)
        metadata = version.file.metadata
        size = sum(metadata.row_group(n).total_byte_size for n in range(metadata.num_row_groups))
        indexed = version.label.indexed
        return CollectionStatus(records=metadata.num_rows, indexed=indexed, size_bytes=size)

    def scan(
        self,
        name: str,
        *,
        columns: Sequence[str] | None = None,
        documents: Sequence[str] | None = None,
        batch_rows: int = 8192,
    ) -> Iterator[pa.RecordBatch]:
        version = self._open(name)  # now: the state when `scan` was called
        spec, rows = checked_columns(columns, version.label.spec), checked_batch_rows(batch_rows)
        return version.batches(spec, documents=documents, batch_rows=rows)

    def search(self, name: str, query: Query, *, limit: int) -> list[Hit]:
        version = self._open(name)
        label = version.label
        request = checked_query(query, label.spec, limit=limit, indexed=label.indexed)
        return search_exactly(version.batches, request, limit=limit)

    def compatibility(self, name: str) -> tuple[Note, ...]:
        return comes_back(self, name)

    def misfits(self, spec: CollectionSpec, batch: pa.Table | pa.RecordBatch) -> Misfits:
        return misfits_of(batch, value_problems(batch, spec))

    def fit(self, spec: CollectionSpec) -> CompatibilityReport:
        return fit_to(spec, NATIVE)

    def create(self, spec: CollectionSpec) -> None:
        if storage(spec)["compression"] not in CODECS:
            raise InvalidRequest(f"{spec.name!r}: expected a compression of {', '.join(CODECS)}")
        with self._alone():
            if self._pointers.target(spec.name) is not None:
                raise AlreadyExists(f"{spec.name!r} is an alias; choose another name")
            if spec.name not in self.collections():
                self._publish(Label(spec=spec), store_schema(spec).empty_table())
            elif self._open(spec.name).label.spec != spec:
                raise AlreadyExists(f"{spec.name!r} is there with another spec; drop it first")

    def drop(self, name: str) -> None:
        with self._alone():
            serving = [a for a, to in self.aliases().items() if to == self._physical(name)]
            if serving:
                raise Refused(f"{name!r} is served as {serving}; promote another collection first")
            if name in self.collections():
                self._path(name).unlink()
                sync_directory(self._directory)

    def write(self, name: str, batch: pa.Table, *, replaces: Sequence[str] = ()) -> None:
        with self._alone():
            version = self._open(self._physical(name))
            new, old = checked_batch(batch, version.label.spec), version.table()
            doomed = pc.or_(
                pc.is_in(old["id"], value_set=new["id"].combine_chunks()),
                pc.is_in(old["document_id"], value_set=pa.array(replaces, pa.string())),
            )
            rows = in_order_of_id(pa.concat_tables([old.filter(pc.invert(doomed)), new]))
            self._publish(version.label.model_copy(update={"mark": uuid.uuid4().hex}), rows)

    def build_index(self, name: str, *, progress: Progress | None = None) -> None:
        del progress  # keywords are ranked by reading every text: there is nothing to build
        with self._alone():
            version = self._open(self._physical(name))
            self._publish(version.label.model_copy(update={"indexed": True}), version.table())

    def promote(self, name: str, *, alias: str) -> None:
        with self._alone():
            self._open(self._physical(name))
            if checked_alias(alias) in self.collections():
                raise AlreadyExists(f"{alias!r} is a collection; choose another alias")
            self._pointers.point(alias, name)

    def _publish(self, label: Label, rows: pa.Table) -> None:
        path = self._path(label.spec.name)
        temporary = self._directory / f".{label.spec.name}.{uuid.uuid4().hex}"
        labelled = rows.replace_schema_metadata({"label": label.model_dump_json()})
        try:
            with translated(path):
                pq.write_table(labelled, temporary, write_page_checksum=True, **storage(label.spec))
                sync_file(temporary)  # first the bytes, then the name: also after a power cut
                temporary.replace(path)
                sync_directory(self._directory)
        finally:
            temporary.unlink(missing_ok=True)

    def _open(self, name: str) -> Version:
        target = self._pointers.target(name) or name
        try:
            return Version.opened(self._path(target))
        except NotFound:
            if self._pointers.target(name) not in (None, target):
                return self._open(name)  # the alias moved, and what it stood for was dropped
            raise

    def _physical(self, name: str) -> str:
        target = self._pointers.target(name)
        if target is not None:
            raise NotFound(f"{name!r} is an alias; name the collection {target!r}")
        return name

    def _path(self, name: str) -> Path:
        if not PHYSICAL_NAME.fullmatch(name):
            raise NotFound(f"no collection {name!r}: expected {PHYSICAL_NAME.pattern}")
        return self._directory / f"{name}{SUFFIX}"

    def _alone(self) -> AbstractContextManager[None]:
        return locked(self._directory, wait_seconds=self._wait_seconds)


def storage(spec: CollectionSpec) -> dict[str, Any]:
    """How a file is written: by the engine's section, or as usual here."""
    section = spec.engine.get("parquet", {})
    codec = section.get("storage", {}).get("compression", "ZSTD")
    level = section.get("optimizers", {}).get("compression_level")
    return {"compression": codec, "compression_level": level}


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Context in which errors of Arrow and of the file system become errors of the project: here
    and nowhere else."""
    try:
        yield
    except FileNotFoundError as error:
        raise NotFound(f"no collection {path.name.removesuffix(SUFFIX)!r}") from error
    except (pa.ArrowException, OSError, ValueError) as error:
        if getattr(error, "errno", None):  # the system's; Arrow's own have no number
            raise Unavailable(f"{path}: {error}; try again later") from error
        raise Damaged(f"{path} is not a collection, or not whole; restore it") from error
