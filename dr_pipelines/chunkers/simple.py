"""Chunkers that need no model."""

import pyarrow as pa

from dr_pipelines.chunkers.pieces import Piece, table_of, title_prefix
from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.lineage import ChunkerProvenance


class WholeDocumentChunker:
    """One piece a document, however long; the model reads as much of it as it can."""

    def __init__(self, *, title: bool = True) -> None:
        self._title = title

    @property
    def provenance(self) -> ChunkerProvenance:
        return ChunkerProvenance(name="whole-document", settings={"title": self._title})

    def split(self, titles: pa.Array, texts: pa.Array) -> pa.Table:
        pairs = zip(titles.to_pylist(), texts.to_pylist(), strict=True)
        return table_of(
            [Piece(title_prefix(title) if self._title else "", text)] if text else []
            for title, text in pairs
        )


class CharacterChunker:
    """Pieces of `size` characters, without prefixes."""

    def __init__(self, size: int) -> None:
        if size < 1:
            raise InvalidRequest(f"a chunk of {size} characters: expected at least 1")
        self._size = size

    @property
    def provenance(self) -> ChunkerProvenance:
        return ChunkerProvenance(name="characters", settings={"size": self._size})

    def split(self, titles: pa.Array, texts: pa.Array) -> pa.Table:
        del titles  # never part of these pieces
        return table_of(self._pieces(text or "") for text in texts.to_pylist())

    def _pieces(self, text: str) -> list[Piece]:
        starts = range(0, len(text), self._size)
        return [Piece("", text[start : start + self._size]) for start in starts]
