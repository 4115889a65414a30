"""Counting and locating the tokens of texts of any size."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dr_pipelines.errors import InvalidRequest

BLOCK_CHARACTERS = 8192
"""Tokenizers take more than linear time and memory for long texts, so they see blocks of this."""


class Tokens:
    """A fast tokenizer, without the truncation and padding that its file asks for."""

    def __init__(self, path: Path) -> None:
        from tokenizers import Tokenizer

        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # what the library raises, for want of a class of its own
            raise InvalidRequest(f"{path} is not a fast tokenizer: {error}") from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.special = int(self._tokenizer.num_special_tokens_to_add(False))

    def starts(self, text: str) -> npt.NDArray[np.int64]:
        """Where each token starts, ascending; no special tokens."""
        starts = [np.zeros(0, np.int64)]
        for first, block in _blocks(text):
            offsets = self._tokenizer.encode(block, add_special_tokens=False).offsets
            starts.append(np.fromiter((start for start, _ in offsets), np.int64) + first)
        return np.maximum.accumulate(np.concatenate(starts))

    def counts(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has, special tokens included."""
        return [len(self._tokenizer.encode(text)) for text in texts]


def _blocks(text: str) -> Iterator[tuple[int, str]]:
    start = 0
    while start < len(text):
        end = _block_end(text, start)
        yield start, text[start:end]
        start = end


def _block_end(text: str, start: int) -> int:
    end = start + BLOCK_CHARACTERS
    if end >= len(text):
        return len(text)
    spaces = (at for at in range(end, start + BLOCK_CHARACTERS // 2, -1) if text[at].isspace())
    return next(spaces, end)
