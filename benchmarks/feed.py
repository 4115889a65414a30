"""The sample table as a change feed: one day that brings every document, then days that change
some."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks import sample
from dr_pipelines.chunkers.simple import WholeDocumentChunker
from dr_pipelines.embedders.hashing import HashingEmbedder
from dr_pipelines.ingestion.lineage import Lineage
from dr_pipelines.sources.jsonl import JsonlSource

FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)


class SampleFeed:
    """A JSONL feed that grows by days."""

    def __init__(self, path: Path, rows: int) -> None:
        self._path = path
        self._seq = 0
        self._days = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        for start in range(0, rows, sample.BATCH_ROWS):
            self._write(np.arange(start, min(start + sample.BATCH_ROWS, rows)))

    def add_day(self, changed: npt.NDArray[np.int64]) -> str:
        """Another day, with new texts of these documents; its name."""
        self._days += 1
        self._write(changed)
        return f"{self._now:%Y-%m-%d}"

    @property
    def _now(self) -> datetime:
        return FIRST_DAY + timedelta(days=self._days)

    def _write(self, numbers: npt.NDArray[np.int64]) -> None:
        texts = sample.texts(len(numbers), np.random.default_rng([self._days, int(numbers[0])]))
        with self._path.open("a") as file:
            for number, text in zip(numbers.tolist(), texts.to_pylist(), strict=True):
                self._seq += 1
                line = {
                    "seq": self._seq,
                    "ts": f"{self._now:%Y-%m-%dT%H:%M:%SZ}",
                    "op": "upsert",
                    "id": f"document-{number:08d}",
                    "title": "",
                    "text": text,
                    "metadata": {},
                }
                file.write(json.dumps(line) + "\n")


def lineage(path: Path) -> Lineage:
    """From the feed to vectors that cost next to nothing: one chunk a document."""
    return Lineage(
        collection=sample.COLLECTION,
        spec=sample.spec(sample.COLLECTION),
        source=JsonlSource(path),
        chunker=WholeDocumentChunker(title=False),
        embedder=HashingEmbedder(sample.DIMENSION),
        store_name=sample.STORE,
    )
