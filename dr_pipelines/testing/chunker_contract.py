"""The contract that every chunker must meet.

class TestMyChunker(ChunkerContract):
    @pytest.fixture
    def chunker(self) -> Chunker:
        return MyChunker()
"""

# ruff: noqa: S101 - a suite is made of assertions

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from dr_pipelines.chunkers.pieces import PIECES
from dr_pipelines.protocols import Chunker

PROSE = "A sentence of some words, and of some more. " * 120
TEXTS: tuple[str | None, ...] = (
    "short",
    "",
    PROSE,
    None,
    "one\n\ntwo\r\n\r\nthree\n\n\n\n" * 60,
    " \n\t ",
    "\n\n\nleading and trailing space   \n\n",
    "x" * 5000,
    "漢字かな交じり文。" * 300,
    "e\u0301\u0323" * 700 + "👩\u200d👩\u200d👧" * 200,
    "\ufeffbyte order mark, \0 null, \x7f and \u2028 separators",
    "[CLS] text with [SEP] markers [MASK]",
)
TITLES: tuple[str | None, ...] = ("Title", None, "", "Zwei Wörter", *["t"] * 7, "long title " * 300)


def split(chunker: Chunker, *pairs: tuple[str | None, str | None]) -> pa.Table:
    """Pieces of (title, text) pairs."""
    titles = pa.array([title for title, _ in pairs], pa.string())
    return chunker.split(titles, pa.array([text for _, text in pairs], pa.large_string()))


class ChunkerContract:
    """Nothing of a text is lost, added or moved, whatever else is cut with it."""

    @pytest.fixture
    def chunker(self) -> Iterator[Chunker]:
        raise NotImplementedError("override the `chunker` fixture")

    def test_pieces_are_in_the_schema(self, chunker: Chunker) -> None:
        assert split(chunker, *zip(TITLES, TEXTS, strict=True)).schema.equals(PIECES)
        assert split(chunker).schema.equals(PIECES)

    @pytest.mark.parametrize("text", TEXTS)
    def test_joined_pieces_are_the_text(self, chunker: Chunker, text: str | None) -> None:
        pieces = split(chunker, ("Title", text))["text"].to_pylist()
        assert "".join(pieces) == (text or "")

    def test_no_piece_is_empty(self, chunker: Chunker) -> None:
        pieces = split(chunker, *zip(TITLES, TEXTS, strict=True))["text"].to_pylist()
        assert all(pieces)
        assert len(pieces) >= sum(bool(text) for text in TEXTS)

    def test_an_empty_text_has_no_pieces(self, chunker: Chunker) -> None:
        assert split(chunker, ("Title", ""), ("Title", None)).num_rows == 0

    def test_pieces_are_ordered_by_text_and_counted_from_zero(self, chunker: Chunker) -> None:
        chunks = split(chunker, *zip(TITLES, TEXTS, strict=True))
        rows = chunks["row"].to_pylist()
        assert rows == sorted(rows)
        indexes = [index for row in sorted(set(rows)) for index in range(rows.count(row))]
        assert chunks["chunk_index"].to_pylist() == indexes

    def test_the_same_text_gives_the_same_pieces(self, chunker: Chunker) -> None:
        pairs = list(zip(TITLES, TEXTS, strict=True))
        assert split(chunker, *pairs).equals(split(chunker, *pairs))

    def test_neighbours_do_not_matter(self, chunker: Chunker) -> None:
        pairs = list(zip(TITLES, TEXTS, strict=True))
        together = split(chunker, *pairs)
        for row, pair in enumerate(pairs):
            alone = split(chunker, pair).drop_columns("row")
            among_others = together.filter(pc.equal(together["row"], row)).drop_columns("row")
            assert among_others.equals(alone)

    def test_the_provenance_stays_the_same(self, chunker: Chunker) -> None:
        before = chunker.provenance.fingerprint
        split(chunker, ("Title", PROSE))
        assert chunker.provenance.fingerprint == before
