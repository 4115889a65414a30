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
    for row, found in enumerate(texts):
        rows += [row] * len(found)
        indexes += range(len(found))
        prefixes += [piece.prefix or None for piece in found]
        pieces += [piece.text for piece in found]
    columns = (rows, indexes, prefixes, pieces)
    arrays = [pa.array(c, f.type) for c, f in zip(columns, PIECES, strict=True)]
    return pa.Table.from_arrays(arrays, schema=PIECES)


def title_prefix(title: str | None) -> str:
    """What a title contributes to a prefix."""
    return title + TITLE_END if title and title.strip() else ""
