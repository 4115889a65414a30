"""Facts about records in files that never change, kept on this machine by the digest of the files.

A file of this directory holds two Arrow streams: the facts, and a few whole records, the edges of
their values. Its name says the digest of what it is about and that of its own bytes. Whatever is
missing, damaged or of another version is made anew by reading the records: nothing else is lost.
"""

import hashlib
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyarrow import ipc

from dr_pipelines.host.permissions import Access, make_directory

SUFFIX = ".arrow"
CHUNK_BYTES = 4 * 2**20


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry: its file, mapped, and where the second stream begins is where the first ends."""

    path: Path

    def facts(self) -> Iterator[pa.RecordBatch]:
        """The first stream."""
        with pa.memory_map(str(self.path)) as file, ipc.open_stream(file) as reader:
            yield from reader

    def sample(self) -> pa.Table:
        """The second stream."""
        with pa.memory_map(str(self.path)) as file:
            with ipc.open_stream(file) as reader:
                for _ in reader:
                    pass
            with ipc.open_stream(file) as reader:
                return reader.read_all()


class Writing:
    """An entry that is being made. Where it cannot be written there will be none, which costs
    reading the records again and nothing else."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: pa.NativeFile | None = None
        self._writer: ipc.RecordBatchStreamWriter | None = None
        self.failed = False

    def add(self, facts: pa.RecordBatch) -> None:
        """Add to the first stream."""
        if self.failed:
            return
        with self._noted():
            if self._writer is None:
                self._file = pa.OSFile(str(self.path), "wb")
                self._writer = ipc.new_stream(self._file, facts.schema)
            self._writer.write_batch(facts)

    def end(self, sample: pa.Table) -> bool:
        """End the first stream and write the second; True if both are whole."""
        if self.failed or self._writer is None or self._file is None:
            return False
        with self._noted():
            self._writer.close()
            with ipc.new_stream(self._file, sample.schema) as writer:
                writer.write_table(sample)
            self._file.close()
        return not self.failed

    def discard(self) -> None:
        """Remove what is there of it, under its temporary name."""
        with suppress(OSError):
            if self._file is not None:
                self._file.close()
            self.path.unlink(missing_ok=True)

    @contextmanager
    def _noted(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            self.failed = True


class PieceCache:
    """The entries of one collection; `access` says who may look at them."""

    def __init__(self, directory: Path, *, access: Access = Access.PRIVATE) -> None:
        self._directory = directory
        self._access = access

    def entry(self, key: str) -> Entry | None:
        """An entry, if its bytes are those that were written."""
        with suppress(OSError):
            for path in self._directory.glob(f"{key}.*{SUFFIX}"):
                if _sha256(path) == path.name.split(".")[1]:
                    return Entry(path)
                path.unlink(missing_ok=True)
        return None

    def writing(self, key: str) -> Writing:
        """An entry to be made, then to be published or discarded."""
        with suppress(OSError):
            make_directory(self._directory, self._access)
        return Writing(self._directory / f".{key}.{os.getpid()}")

    def publish(self, key: str, entry: Writing, *, sample: pa.Table) -> None:
        """End an entry and give it its name; nothing is there where it could not be written."""
        try:
            if entry.end(sample):
                with suppress(OSError):
                    entry.path.chmod(self._access.file_mode)
                    entry.path.rename(self._directory / f"{key}.{_sha256(entry.path)}{SUFFIX}")
        finally:
            entry.discard()

    def retain(self, keys: Collection[str]) -> None:
        """Remove every other entry: the files that they are about are gone."""
        with suppress(OSError):
            for path in self._directory.iterdir():
                if path.name.split(".")[0] not in keys:
                    path.unlink(missing_ok=True)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
