"""The stored vector of a record that somebody names."""

from collections.abc import Callable, Iterable

import pyarrow as pa
import pyarrow.compute as pc

Read = Callable[[list[str] | None], Iterable[pa.RecordBatch]]
"""Records, as `id` and a vector: those of some documents, or all (None)."""


def stored_vector(record: str, read: Read) -> pa.Scalar | None:
    """The vector of a record, which may be null; None if there is no such record. Everything is
    read only where the record is not of the document that its id says."""
    documents = sorted({record, record.rpartition("#")[0] or record})
    for document_ids in (documents, None):  # a record of others may be of any document
        for batch in read(document_ids):
            matching = batch.filter(pc.equal(batch.column("id"), record))
            if matching.num_rows:
                return matching.column(1)[0]
    return None
