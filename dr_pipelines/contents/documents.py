"""Documents of a recovery point or of a store, listed by the hash of their stored text.

Hashes are recomputed from the text that was kept, chunk by chunk; a hash that was written down
somewhere is only ever compared with them.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.errors import Damaged
from dr_pipelines.model.recovery_point import RecoveryPoint
from dr_pipelines.protocols import VectorReader
from dr_pipelines.repository.history import History
from dr_pipelines.repository.record_places import record_places
from dr_pipelines.repository.rows import strings, text_hashes
from dr_pipelines.repository.state import State
from dr_pipelines.repository.texts import in_order_of_documents, with_hashes

EMPTY_SHA256 = hashlib.sha256().digest()


@dataclass(frozen=True, slots=True)
class DocumentVersion:
    """The source's order of changes; `edit` counts edits seen in the store on top of it."""

    epoch: int
    position: int
    ordinal: int
    edit: int

    def __str__(self) -> str:
        ordinal = f".{self.ordinal}" if self.ordinal else ""
        edit = f"+{self.edit}" if self.edit else ""
        return f"{self.epoch}:{self.position}{ordinal}{edit}"


@dataclass(frozen=True, slots=True)
class DocumentRow:
    """A document; `sha256` is that of its stored chunks joined. A store keeps no versions."""

    id: str
    version: DocumentVersion | None
    chunks: int
    sha256: str


class StatesDigest:
    """SHA-256 over the lines `id<TAB>sha256<LF>` of documents, ascending by id."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self.documents = 0

    def through(self, rows: Iterable[DocumentRow]) -> Iterator[DocumentRow]:
        """Pass rows on and count them in."""
        for row in rows:
            self._sha256.update(f"{row.id}\t{row.sha256}\n".encode())
            self.documents += 1
            yield row

    @property
    def value(self) -> str:
        """The digest of what has passed."""
        return self._sha256.hexdigest()


def states_digest(rows: Iterable[DocumentRow]) -> str:
    """The digest of documents that come ascending by id."""
    digest = StatesDigest()
    for _ in digest.through(rows):
        pass
    return digest.value


def stored_documents(history: History, point: RecoveryPoint) -> Iterator[DocumentRow]:
    """Documents at a recovery point, ascending by id, those without chunks included.

    Bounded memory: one segment's text at a time. Raises `Damaged` where a text does not have the
    hash that was noted of it when it was read.
    """
    with history.fold_point(point) as state:
        for batch in with_hashes(state, _hashes(state)):
            yield from _kept_rows(batch, state)


def live_documents(store: VectorReader, name: str) -> Iterator[DocumentRow]:
    """Documents as a live store has them, ascending by id, by scanning it. A document without
    chunks has no record in a store and is not seen."""
    columns = ["id", "document_id", "chunk_index", "text"]
    yield from documents_of(store.scan(name, columns=columns))


def documents_of(records: Iterable[pa.RecordBatch]) -> Iterator[DocumentRow]:
    """Documents of records (`id, document_id, chunk_index, text`) that come in any order, ascending
    by id."""
    yield from _joined(in_order_of_documents(records))


def _hashes(state: State) -> Iterator[pa.Table]:
    """Hashes of the joined texts of the newest documents, each of which lies whole in one place."""
    columns = ["document_id", "chunk_index", "text"]
    for places in record_places(state):
        rows = places.read(columns)
        runs = pc.run_end_encode(strings(rows["document_id"]))
        ends = runs.run_ends.to_numpy().astype(np.int64)
        hashes = text_hashes(rows["text"], ends)
        yield pa.table({"document_id": runs.values, "sha256": hashes})


def _kept_rows(batch: pa.Table, state: State) -> Iterator[DocumentRow]:
    columns = (batch[name].to_pylist() for name in batch.column_names)
    for id_, epoch, position, ordinal, edit, chunks, segment, noted, computed in zip(
        *columns, strict=True
    ):
        sha256 = computed if chunks else EMPTY_SHA256
        if sha256 != noted:
            raise Damaged(
                f"{state.segments[segment].key}: the text kept of document {id_!r} is not the one "
                "that was read. Use another point (dr points) or a copy"
            )
        yield DocumentRow(
            id_, DocumentVersion(epoch, position, ordinal, edit), chunks, sha256.hex()
        )


def _joined(batches: Iterable[pa.RecordBatch]) -> Iterator[DocumentRow]:
    """One row for each run of a document; a text may go on in the next batch."""
    current, chunks, sha256 = None, 0, hashlib.sha256()
    for batch in batches:
        texts = batch.column("text").to_pylist()
        for id_, text in zip(batch.column("document_id").to_pylist(), texts, strict=True):
            if id_ != current:
                if current is not None:
                    yield DocumentRow(current, None, chunks, sha256.hexdigest())
                current, chunks, sha256 = id_, 0, hashlib.sha256()
            chunks += 1
            sha256.update((text or "").encode())
    if current is not None:
        yield DocumentRow(current, None, chunks, sha256.hexdigest())
