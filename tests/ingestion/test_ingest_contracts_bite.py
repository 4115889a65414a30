"""The contract suites of ingestion fail what should fail them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dr_pipelines.chunkers.pieces import PIECES
from dr_pipelines.chunkers.simple import CharacterChunker
from dr_pipelines.embedders.hashing import HashingEmbedder
from dr_pipelines.errors import TextTooLong
from dr_pipelines.model.lineage import ChunkerProvenance, EmbedderProvenance
from dr_pipelines.model.query import FloatArray
from dr_pipelines.model.unread import Quarantined
from dr_pipelines.protocols import Progress, SourcePartition
from dr_pipelines.sources.jsonl import JsonlSource
from dr_pipelines.testing.chunker_contract import ChunkerContract
from dr_pipelines.testing.embedder_contract import EmbedderContract
from dr_pipelines.testing.source_contract import SourceContract
from dr_pipelines.testing.suites import failing
from tests.ingestion.feeds import line, written

FEED = [
    b"x",
    *(line(n, f"2026-01-0{n // 2 + 1}T00:00:00Z", id=f"d{n % 3}") for n in range(1, 8)),
    b"y",
]


class SkipsTheFirstOfARange(JsonlSource):
    def changes(self, after: int, through: int) -> Iterator[pa.RecordBatch]:
        return super().changes(after + 1 if after else 0, through)


class ReadsPastTheRange(JsonlSource):
    def changes(self, after: int, through: int) -> Iterator[pa.RecordBatch]:
        return super().changes(after, through + 1)


class OtherColumns(JsonlSource):
    def changes(self, after: int, through: int) -> Iterator[pa.RecordBatch]:
        return (batch.drop_columns("metadata") for batch in super().changes(after, through))


class DayOfTheTime(JsonlSource):
    def changes(self, after: int, through: int) -> Iterator[pa.RecordBatch]:
        for batch in super().changes(after, through):
            table = pa.table(batch)
            at = table.schema.get_field_index("day")
            day = pa.array([row.replace(day=9) for row in table["day"].to_pylist()], pa.date32())
            yield from table.set_column(at, table.schema.field(at), day).to_batches()


class AnchorsTheHead(JsonlSource):
    def anchor(self, position: int) -> str | None:
        return self.partitions()[-1].anchor


class LeavesAGap(JsonlSource):
    def partitions(self) -> list[SourcePartition]:
        partitions = super().partitions()
        return [*partitions[:1], *partitions[2:]]


class StopsBeforeTheHead(JsonlSource):
    def partitions(self) -> list[SourcePartition]:
        return super().partitions()[:-1]


class Miscounts(JsonlSource):
    def partitions(self) -> list[SourcePartition]:
        return [replace(p, changes=p.changes + 1) for p in super().partitions()]


class TimesOfAnotherRange(JsonlSource):
    def first_times(self, after: int, through: int) -> tuple[datetime, datetime] | None:
        return super().first_times(0, through)


class ForgetsTheQuarantine(JsonlSource):
    def quarantined(self, after: int, through: int) -> list[Quarantined]:
        return super().quarantined(after, through) if after == 0 and through > 100 else []


class GlancesAtAClock(JsonlSource):
    change_tokens = 0

    def change_token(self) -> str:
        self.change_tokens += 1
        return str(self.change_tokens)


class Exhausted(JsonlSource):
    """Gives its changes once."""

    read = False

    def changes(self, after: int, through: int) -> Iterator[pa.RecordBatch]:
        changes = iter(()) if self.read else super().changes(after, through)
        self.read = True
        return changes


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        (SkipsTheFirstOfARange, "test_any_range_is_cut_out_of_all_changes"),
        (ReadsPastTheRange, "test_any_range_is_cut_out_of_all_changes"),
        (OtherColumns, "test_changes_are_in_the_schema"),
        (DayOfTheTime, "test_the_day_is_that_of_the_newest_time_so_far"),
        (AnchorsTheHead, "test_anchors_differ_from_position_to_position"),
        (LeavesAGap, "test_partitions_are_contiguous_from_the_start_to_the_head"),
        (StopsBeforeTheHead, "test_partitions_are_contiguous_from_the_start_to_the_head"),
        (Miscounts, "test_a_partition_holds_the_changes_of_its_day"),
        (TimesOfAnotherRange, "test_times_without_rows_are_those_of_the_rows"),
        (ForgetsTheQuarantine, "test_what_is_quarantined_belongs_to_one_partition"),
        (GlancesAtAClock, "test_a_glance_at_an_unchanged_source_is_equal"),
        (Exhausted, "test_reading_twice_gives_the_same"),
    ],
)
def test_a_broken_source_fails(
    tmp_path: Path, broken: Callable[[Path], Any], expected: str
) -> None:
    path = written(tmp_path / "feed.jsonl", FEED)
    assert failing(SourceContract, source=lambda: JsonlSource(path)) == set()
    assert expected in failing(SourceContract, source=lambda: broken(path))


Rows = list[dict[str, Any]]


class Altered(CharacterChunker):
    """Pieces as something else makes of them."""

    def __init__(self, alter: Callable[[Rows], Rows]) -> None:
        super().__init__(100)
        self._alter = alter

    def split(self, titles: pa.Array, texts: pa.Array) -> pa.Table:
        pieces = super().split(titles, texts).to_pylist()
        return pa.Table.from_pylist(self._alter(pieces), schema=PIECES)


class Restless(CharacterChunker):
    """Another size, and another provenance, at every call."""

    calls = 0

    @property
    def provenance(self) -> ChunkerProvenance:
        return ChunkerProvenance(name="restless", settings={"calls": self.calls})

    def split(self, titles: pa.Array, texts: pa.Array) -> pa.Table:
        self.calls += 1
        return CharacterChunker(100 + self.calls).split(titles, texts)


def stripped(rows: Rows) -> Rows:
    return [row | {"text": row["text"].strip()} for row in rows]


def truncated(rows: Rows) -> Rows:
    return [row for row in rows if row["chunk_index"] < 3]


def reversed_pieces(rows: Rows) -> Rows:
    return rows[::-1]


def counted_on(rows: Rows) -> Rows:
    return [row | {"chunk_index": index} for index, row in enumerate(rows)]


def with_an_empty_piece(rows: Rows) -> Rows:
    return [*rows, {"row": 99, "chunk_index": 0, "prefix": None, "text": ""}]


def with_the_neighbour_as_prefix(rows: Rows) -> Rows:
    return [row | {"prefix": rows[0]["text"]} for row in rows]


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: Altered(stripped), "test_joined_pieces_are_the_text"),
        (lambda: Altered(truncated), "test_joined_pieces_are_the_text"),
        (lambda: Altered(reversed_pieces), "test_pieces_are_ordered_by_text_and_counted_from_zero"),
        (lambda: Altered(counted_on), "test_pieces_are_ordered_by_text_and_counted_from_zero"),
        (lambda: Altered(with_an_empty_piece), "test_an_empty_text_has_no_pieces"),
        (lambda: Altered(with_an_empty_piece), "test_no_piece_is_empty"),
        (lambda: Altered(with_the_neighbour_as_prefix), "test_neighbours_do_not_matter"),
        (lambda: Restless(1), "test_the_same_text_gives_the_same_pieces"),
        (lambda: Restless(1), "test_the_provenance_stays_the_same"),
    ],
)
def test_a_broken_chunker_fails(make: Callable[[], Any], expected: str) -> None:
    assert failing(ChunkerContract, chunker=lambda: CharacterChunker(100)) == set()
    assert expected in failing(ChunkerContract, chunker=make)


class Transformed(HashingEmbedder):
    """Vectors as something else makes of them."""

    def __init__(self, transform: Callable[[FloatArray], Any]) -> None:
        super().__init__()
        self._transform = transform

    def embed(self, texts: Sequence[str], *, progress: Progress | None = None) -> FloatArray:
        vectors: FloatArray = self._transform(super().embed(texts, progress=progress))
        return vectors


class Silent(HashingEmbedder):
    def embed(self, texts: Sequence[str], *, progress: Progress | None = None) -> FloatArray:
        return super().embed(texts)


class Cutting(HashingEmbedder):
    """Reads the beginning of a text and says nothing."""

    def embed(self, texts: Sequence[str], *, progress: Progress | None = None) -> FloatArray:
        return super().embed([" ".join(t.split()[:5_000]) for t in texts], progress=progress)


class CuttingQueries(HashingEmbedder):
    def embed_queries(self, texts: Sequence[str]) -> FloatArray:
        return self.embed([text[:10] for text in texts])


class Prompted(HashingEmbedder):
    """Puts something before queries that its provenance does not say."""

    def embed_queries(self, texts: Sequence[str]) -> FloatArray:
        return self.embed(["query: " + text for text in texts])


class Misplacing(HashingEmbedder):
    """Names the wrong text."""

    @property
    def provenance(self) -> EmbedderProvenance:
        return super().provenance.model_copy(update={"max_tokens": 1_000})

    def embed(self, texts: Sequence[str], *, progress: Progress | None = None) -> FloatArray:
        counts = [len(text.split()) for text in texts]
        if max(counts, default=0) > 1_000:
            raise TextTooLong({0: max(counts)}, limit=1_000, model="misplacing")
        return super().embed(texts, progress=progress)


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        (Cutting, "test_no_text_loses_its_end"),
        (CuttingQueries, "test_no_query_loses_its_end"),
        (Prompted, "test_queries_and_texts_differ_by_their_prompts_alone"),
        (Misplacing, "test_a_text_that_is_too_long_is_named_by_its_place"),
    ],
)
def test_an_embedder_that_cuts_or_misleads_fails(broken: Callable[[], Any], expected: str) -> None:
    assert expected in failing(EmbedderContract, embedder=broken)


def with_a_nan(vectors: FloatArray) -> FloatArray:
    vectors[:1, :1] = np.nan
    return vectors


def by_first_component(vectors: FloatArray) -> FloatArray:
    return vectors[np.argsort(vectors[:, 0])]


def moved_by_the_batch(vectors: FloatArray) -> FloatArray:
    return vectors + np.float32(1e-7 * len(vectors))


def last_digits_lost(vectors: FloatArray) -> FloatArray:
    return vectors * np.random.default_rng().uniform(1, 1 + 1e-6, vectors.shape).astype(np.float32)


@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        (lambda v: v.astype(np.float64), "test_vectors_are_finite_float32_of_the_dimension"),
        (lambda v: v[:, :-1], "test_no_texts_give_no_vectors"),
        (with_a_nan, "test_vectors_are_finite_float32_of_the_dimension"),
        (lambda v: v * 2, "test_vectors_are_of_length_one_where_the_provenance_says_so"),
        (by_first_component, "test_each_vector_is_in_its_texts_place"),
        (moved_by_the_batch, "test_texts_embedded_alone_have_the_same_vectors"),
        (last_digits_lost, "test_the_same_texts_give_the_same_bits"),
        (np.ones_like, "test_different_texts_have_different_vectors"),
        (
            lambda v: np.roll(v, 1, axis=1) * np.arange(len(v))[:, None],
            "test_a_repeated_text_has_the_same_vector",
        ),
        (lambda v: v[::-1], "test_similar_texts_are_nearer_than_others"),
    ],
)
def test_a_broken_embedder_fails(transform: Callable[[FloatArray], Any], expected: str) -> None:
    assert failing(EmbedderContract, embedder=HashingEmbedder) == set()
    assert expected in failing(EmbedderContract, embedder=lambda: Transformed(transform))


def test_an_embedder_without_progress_fails() -> None:
    assert failing(EmbedderContract, embedder=Silent) == {"test_progress_ends_with_all_texts"}
