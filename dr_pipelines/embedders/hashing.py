"""Vectors from hashed words: no model, no files, the same bits on every machine."""

import hashlib
import re
from collections.abc import Sequence
from zlib import crc32

import numpy as np

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.base import canonical_json
from dr_pipelines.model.collection import MAX_DIMENSION
from dr_pipelines.model.lineage import EmbedderProvenance, Environment
from dr_pipelines.model.query import FloatArray
from dr_pipelines.protocols import Progress

WORDS = re.compile(r"\w+")
SLICE_ROWS = 4096
ALGORITHM = "crc32 of lower-case words, signed, counted, divided by the norm; 1"


class HashingEmbedder:
    """A bag of words in `dimension` buckets: texts that share words have similar vectors.

    Counts are integers, so sums are exact and a vector is bit-identical everywhere. For tests and
    for collections that need no meaning.
    """

    def __init__(self, dimension: int = 64) -> None:
        if not 1 <= dimension <= MAX_DIMENSION:
            raise InvalidRequest(f"dimension is {dimension}: expected 1 to {MAX_DIMENSION}")
        self._dimension = dimension

    @property
    def provenance(self) -> EmbedderProvenance:
        parameters = canonical_json({"algorithm": ALGORITHM, "dimension": self._dimension})
        return EmbedderProvenance(
            name="hashing",
            weights_sha256=hashlib.sha256(parameters).hexdigest(),
            dimension=self._dimension,
            normalized=True,
        )

    @property
    def environment(self) -> Environment:
        """Always the same: nothing here depends on the machine."""
        return Environment(profile="exact")

    @property
    def reproducible(self) -> bool:
        return True

    def embed(self, texts: Sequence[str], *, progress: Progress | None = None) -> FloatArray:
        vectors = np.empty((len(texts), self._dimension), np.float32)
        for start in range(0, len(texts), SLICE_ROWS):
            part = texts[start : start + SLICE_ROWS]
            vectors[start : start + len(part)] = self._embed(part)
            if progress:
                progress(start + len(part), len(texts))
        return vectors

    def prompt_tokens(self) -> int:
        return 0

    def embed_queries(self, texts: Sequence[str]) -> FloatArray:
        return self.embed(texts)

    def _embed(self, texts: Sequence[str]) -> FloatArray:
        words = [WORDS.findall(text.lower()) for text in texts]
        hashes = np.fromiter((crc32(w.encode()) for row in words for w in row), np.int64)
        rows = np.repeat(np.arange(len(texts)), [len(row) for row in words])
        cells = rows * self._dimension + (hashes >> 1) % self._dimension
        signs = np.where(hashes & 1, 1.0, -1.0)
        size = len(texts) * self._dimension
        counts = np.bincount(cells, weights=signs, minlength=size).reshape(-1, self._dimension)
        for row in np.flatnonzero(~counts.any(axis=1)).tolist():  # no words, or they cancel out
            counts[row, crc32(texts[row].encode()) % self._dimension] = 1.0
        norms = np.sqrt((counts * counts).sum(axis=1, keepdims=True))
        unit: FloatArray = (counts / norms).astype(np.float32)
        return unit
