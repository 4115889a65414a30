"""A vector store of Parquet files: a whole adapter, told in docs/adapters/README.md.

`<collection>.parquet` is the newest version of a collection, sorted by id, with its label in the
metadata of the schema. A write makes the whole file anew beside it and renames it over the old one,
so that readers have one version or the other, never a mixture. Every search reads the whole file.
Files that something else wrote are no collections here: they have no label.
"""

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dr_pipelines.errors import AlreadyExists, Damaged, InvalidRequest, NotFound, Unavailable
from dr_pipelines.model.collection import (
    PHYSICAL_NAME,
    CollectionSpec,
    CollectionStatus,
    Metric,
    VectorType,
)
from dr_pipelines.model.compatibility import CompatibilityReport, Note
from dr_pipelines.model.query import Hit
from dr_pipelines.model.record import store_schema
from dr_pipelines.protocols import Listed, Progress
from dr_pipelines.stores.shared.batches import in_order_of_id
from dr_pipelines.stores.shared.driver import Use, absent
from dr_pipelines.stores.shared.driver_store import DriverStore
from dr_pipelines.stores.shared.fitting import Native, fit_to
from dr_pipelines.stores.shared.label import Label, decoded, encoded
from dr_pipelines.stores.shared.misfits import Batch, Problem, value_problems
from dr_pipelines.stores.shared.pointers import Pointers, locked, sync_directory, sync_file
from dr_pipelines.stores.shared.requests import Request

SUFFIX = ".parquet"
CODECS = ("ZSTD", "GZIP", "SNAPPY")
NATIVE = Native(engine="parquet", metrics=frozenset(Metric), dtypes=frozenset(VectorType))


def parquet_store(directory: Path) -> "DriverStore[ParquetDriver]":
    """Collections in a directory on a local disk; safe for any number of processes."""
    return DriverStore(ParquetDriver(directory))


class ParquetDriver:
    """The files of a directory, and aliases beside them."""

    engine: str = f"parquet (pyarrow {pa.__version__})"
    vector_tolerance: float = 0.0

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.aliases: Pointers = Pointers(directory)

    def names(self) -> Iterable[str]:
        return [path.name.removesuffix(SUFFIX) for path in self.directory.glob(f"*{SUFFIX}")]

    def inventory(self) -> tuple[Listed, ...]:
        return tuple(map(Listed, sorted(self.names())))

    def exists(self, name: str) -> bool:
        return name in self.names()

    def warnings(self) -> tuple[str, ...]:
        return ()

    @contextmanager
    def opened(self, name: str, use: Use) -> "Iterator[Version]":
        del use  # every use is of an open file
        if not PHYSICAL_NAME.fullmatch(name) or not self.exists(name):
            raise absent(name, self.names())
        path = self.directory / f"{name}{SUFFIX}"
        with translated(path):
            file = pq.ParquetFile(path, page_checksum_verification=True)
        with file:
            yield Version(self, file, path)

    def change_token(self, name: str) -> str | None:
        with self.opened(name, Use.READ) as version:
            return str(version.label.facts.get("mark"))

    def check(self, batch: Batch, spec: CollectionSpec) -> Iterable[Problem]:
        return value_problems(batch, spec)

    def refuse(self, rows: pa.Table, spec: CollectionSpec) -> None:
        """Nothing that `check` takes."""

    def fit(self, spec: CollectionSpec) -> CompatibilityReport:
        return fit_to(spec, NATIVE)

    def create(self, spec: CollectionSpec) -> None:
        if storage(spec)["compression"] not in CODECS:
            raise InvalidRequest(f"{spec.name!r}: expected a compression of {', '.join(CODECS)}")
        with self.alone():
            if self.exists(spec.name):
                raise AlreadyExists(f"{spec.name!r} is there")
            self.publish(Label(spec=spec), store_schema(spec).empty_table())

    def drop(self, name: str, *, unless_served: Callable[[], None]) -> None:
        with self.alone():
            unless_served()
            if self.exists(name):
                (self.directory / f"{name}{SUFFIX}").unlink()
                sync_directory(self.directory)

    def point(self, alias: str, name: str) -> None:
        with self.alone(), self.opened(name, Use.READ):
            self.aliases.point(alias, name)

    def publish(self, label: Label, rows: pa.Table) -> None:
        """Make this the newest version."""
        path = self.directory / f"{label.spec.name}{SUFFIX}"
        temporary = self.directory / f".{label.spec.name}.{uuid.uuid4().hex}"
        labelled = rows.replace_schema_metadata({"label": encoded(label)})
        try:
            with translated(path):
                pq.write_table(labelled, temporary, write_page_checksum=True, **storage(label.spec))
                sync_file(temporary)  # first the bytes, then the name: also after a power cut
                temporary.replace(path)
                sync_directory(self.directory)
        finally:
            temporary.unlink(missing_ok=True)

    def alone(self) -> AbstractContextManager[None]:
        """Keep others from changing which versions and aliases there are."""
        return locked(self.directory, wait_seconds=30)


class Version:
    """An open file: it stays what it is when a later version takes its name."""

    def __init__(self, driver: ParquetDriver, file: pq.ParquetFile, path: Path) -> None:
        self._driver, self._file, self._path = driver, file, path
        label = decoded((file.schema_arrow.metadata or {}).get(b"label", b""), of=str(path))
        name = path.name.removesuffix(SUFFIX)  # a copied file has the label of another
        self.contract = label.spec.model_copy(update={"name": name})
        self.label = label.model_copy(update={"spec": self.contract})

    def described(self) -> CollectionSpec:
        spec, first = self.contract, self._file.metadata.row_group(0).column(0)
        section = {**spec.engine.get("parquet", {}), "storage": {"compression": first.compression}}
        if "optimizers" in section:  # a file does not say at which level it was compressed
            section["unreported"] = ["engine.parquet.optimizers"]
        vectors = tuple(vector.model_copy(update={"index": None}) for vector in spec.vectors)
        engine = {**spec.engine, "parquet": section}
        return spec.model_copy(update={"vectors": vectors, "engine": engine})

    def status(self) -> CollectionStatus:
        metadata = self._file.metadata
        size = sum(metadata.row_group(n).total_byte_size for n in range(metadata.num_row_groups))
        indexed = self.label.indexed
        return CollectionStatus(records=metadata.num_rows, indexed=indexed, size_bytes=size)

    def notes(self) -> Iterable[Note]:
        return ()

    def scan(
        self, columns: Sequence[str], *, documents: Sequence[str] | None, batch_rows: int
    ) -> Iterator[pa.RecordBatch]:
        selection = None if documents is None else pa.array(documents, pa.string())
        read = self._file.iter_batches(batch_rows, columns=list({*columns, "document_id"}))
        with translated(self._path):
            for batch in read:
                rows = batch.replace_schema_metadata(None)
                if selection is not None:
                    rows = rows.filter(pc.is_in(rows.column("document_id"), value_set=selection))
                if rows.num_rows:
                    yield rows.select(columns)

    def unordered(self, columns: Sequence[str]) -> Iterable[pa.RecordBatch]:
        return self.scan(columns, documents=None, batch_rows=8192)

    def hits(self, request: Request) -> list[Hit] | None:
        del request  # nothing but reading every record answers here
        return None

    def write(self, rows: pa.Table, *, replaces: Sequence[str]) -> None:
        with self._newest() as newest:
            old = newest.table()
            doomed = pc.or_(
                pc.is_in(old["id"], value_set=rows["id"].combine_chunks()),
                pc.is_in(old["document_id"], value_set=pa.array(replaces, pa.string())),
            )
            whole = in_order_of_id(pa.concat_tables([old.filter(pc.invert(doomed)), rows]))
            marked = newest.label.model_copy(update={"facts": {"mark": uuid.uuid4().hex}})
            self._driver.publish(marked, whole)

    def build(self, progress: Progress | None) -> None:
        """Keywords are ranked by reading every text: there is nothing to build."""

    def relabel(self, label: Label) -> None:
        with self._newest() as newest:
            facts = newest.label.facts
            self._driver.publish(label.model_copy(update={"facts": facts}), newest.table())

    def complete(self, spec: CollectionSpec) -> None:
        """Nothing is left out: a version is published whole."""

    def table(self) -> pa.Table:
        """Every record."""
        schema = store_schema(self.contract)
        return pa.Table.from_batches(self.unordered(schema.names), schema)

    @contextmanager
    def _newest(self) -> "Iterator[Version]":
        with self._driver.alone(), self._driver.opened(self.contract.name, Use.WRITE) as newest:
            yield newest


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
        raise NotFound(f"{path} is gone; read again") from error
    except (pa.ArrowException, OSError, ValueError) as error:
        if getattr(error, "errno", None):  # the system's; Arrow's own have no number
            raise Unavailable(f"{path}: {error}; try again later") from error
        raise Damaged(f"{path} is not a collection, or not whole; restore it") from error
