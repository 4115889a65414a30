"""The table in which a chunker returns its pieces."""

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

PIECES = pa.schema(
    [
        pa.field("row", pa.int32(), nullable=False),
        pa.field("chunk_index", pa.int32(), nullable=False),
        pa.field("prefix", pa.string()),
        pa.field("text", pa.string(), nullable=False),
    ]
)
TITLE_END = "\n\n"


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a text and what the embedder reads before it."""

    prefix: str
    text: str


def table_of(texts: Iterable[list[Piece]]) -> pa.Table:
    """One row a piece, in order; an empty prefix is null."""
    rows, indexes, prefixes, pieces = list[int](), list[int](), list[str | None](), list[str]()
    for row, chunks in enumerate(texts):
        rows += [row] * len(chunks)
        indexes += range(len(chunks))
        prefixes += [piece.prefix or None for piece in chunks]
        pieces += [piece.text for piece in chunks]
    columns = (rows, indexes, prefixes, pieces)
    arrays = [pa.array(c, f.type) for c, f in zip(columns, PIECES, strict=True)]
    return pa.Table.from_arrays(arrays, schema=PIECES)


def title_prefix(title: str | None) -> str:
    """The prefix of a chunk whose document has this title; empty without a title."""
    return title + TITLE_END if title and title.strip() else ""
