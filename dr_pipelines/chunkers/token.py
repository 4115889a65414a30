"""Chunks measured in the tokens of the model that will read them."""

import re
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dr_pipelines.chunkers.boundaries import best_cut, inside_sequence
from dr_pipelines.chunkers.pieces import Piece, table_of, title_prefix
from dr_pipelines.embedders.model_files import file_sha256, locate, tokenizer_file
from dr_pipelines.embedders.tokens import Tokens
from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.lineage import ChunkerProvenance

MIN_TOKENS = 32
CHARACTERS_PER_TOKEN = 16
"""A piece has at most this many characters for each token of room: spaces have no tokens, and a
word that is not in the vocabulary has one however long it is."""
ALGORITHM = 1
"""Part of the provenance; a change of where texts are cut changes it."""

Starts = npt.NDArray[np.int64]


class TokenChunker:
    """Pieces that the model can read whole, cut where the text has its own breaks.

    `tokenizer` is a tokenizer.json, a directory with one, or `package:NAME`. `max_tokens` counts
    all that the embedder reads for one piece: special tokens, prefix and piece; it must not exceed
    the model's limit. The prefix is the title (at most a quarter of `max_tokens`) and the last
    `overlap_tokens` of the previous piece. Time and memory are linear in the text.
    """

    def __init__(
        self,
        tokenizer: str | Path,
        *,
        max_tokens: int = 200,
        overlap_tokens: int = 0,
        title: bool = True,
    ) -> None:
        if max_tokens < MIN_TOKENS:
            raise InvalidRequest(f"max_tokens is {max_tokens}: expected at least {MIN_TOKENS}")
        if not 0 <= overlap_tokens <= max_tokens // 2:
            raise InvalidRequest(
                f"overlap_tokens is {overlap_tokens}: expected 0 to {max_tokens // 2}, half of "
                "max_tokens"
            )
        path = Path(tokenizer)
        self._file = tokenizer_file(path if path.is_file() else locate(tokenizer))
        self._max_tokens = max_tokens
        self._overlap = overlap_tokens
        self._title = title

    @cached_property
    def provenance(self) -> ChunkerProvenance:
        settings = {
            "algorithm": ALGORITHM,
            "max_tokens": self._max_tokens,
            "overlap_tokens": self._overlap,
            "title": self._title,
        }
        return ChunkerProvenance(
            name="token", settings=settings, tokenizer_sha256=file_sha256(self._file)
        )

    def split(self, titles: pa.Array, texts: pa.Array) -> pa.Table:
        pairs = zip(titles.to_pylist(), texts.to_pylist(), strict=True)
        return table_of(self._pieces(title or "", text or "") for title, text in pairs)

    @cached_property
    def _tokens(self) -> Tokens:
        return Tokens(self._file)

    def _pieces(self, title: str, text: str) -> list[Piece]:
        if not text:
            return []
        head = self._head(title) if self._title else ""
        starts = self._tokens.starts(text)
        cuts = self._cuts(text, starts, room=self._max_tokens - self._tokens.counts([head])[0])
        while True:
            pieces = self._with_prefixes(text, starts, cuts, head)
            too_long = self._too_long(pieces)
            if not too_long:
                return pieces
            # a cut inside a word made more tokens of it than the whole word had
            edges = [0, *cuts]
            cuts = sorted({*cuts, *(_halved(text, edges[k], edges[k + 1]) for k in too_long)})

    def _head(self, title: str) -> str:
        title = title[: self._max_tokens * CHARACTERS_PER_TOKEN]
        starts = self._tokens.starts(title)
        if len(starts) > self._max_tokens // 4:
            title = title[: starts[self._max_tokens // 4]]
        return title_prefix(title)

    def _cuts(self, text: str, starts: Starts, *, room: int) -> list[int]:
        """The ends of pieces; `room` is for a piece and its overlap."""
        cuts, start = list[int](), 0
        while start < len(text):
            tokens = max(1, room - self._overlap if start else room)
            over = int(np.searchsorted(starts, start)) + tokens
            limit = int(starts[over]) if over < len(starts) else len(text)
            limit = min(max(limit, start + 1), start + self._max_tokens * CHARACTERS_PER_TOKEN)
            start = best_cut(text, start, limit) if limit < len(text) else len(text)
            cuts.append(start)
        return cuts

    def _too_long(self, pieces: Sequence[Piece]) -> list[int]:
        counts = self._tokens.counts([piece.prefix + piece.text for piece in pieces])
        return [
            k
            for k, (count, piece) in enumerate(zip(counts, pieces, strict=True))
            if count > self._max_tokens and len(piece.text) > 1
        ]

    def _with_prefixes(self, text: str, starts: Starts, cuts: list[int], head: str) -> list[Piece]:
        first, pieces = 0, [Piece(head, text[: cuts[0]])]
        for start, end in pairwise(cuts):
            tail = self._tail(text, starts, first, start) if self._overlap else ""
            pieces.append(Piece(head + tail, text[start:end]))
            first = start
        return pieces

    def _tail(self, text: str, starts: Starts, first: int, end: int) -> str:
        """The last tokens of the piece text[first:end], from the start of a word if it has one."""
        token = int(np.searchsorted(starts, end)) - self._overlap
        at = max(int(starts[token]) if token > 0 else 0, first)
        at = max(at, end - self._overlap * CHARACTERS_PER_TOKEN)
        if at > first and not text[at - 1].isspace():
            word = re.compile(r"\s+(?=\S)").search(text, at, end)
            at = word.end() if word else at
        while at < end and inside_sequence(text, at):
            at += 1
        while self._tokens.counts([text[at:end]])[0] - self._tokens.special > self._overlap:
            at += (end - at + 1) // 2
        return text[at:end]


def _halved(text: str, start: int, end: int) -> int:
    """A cut between, near the middle."""
    return best_cut(text, start, max(start + 1, (start + end) // 2))
