"""The contract that every embedder must meet.

class TestMyEmbedder(EmbedderContract):
    @pytest.fixture
    def embedder(self) -> Embedder:
        return MyEmbedder()

`tolerance` is how much vectors may differ with what is computed beside them; it does not count for
an embedder that says it is reproducible.
"""

# ruff: noqa: S101 - a suite is made of assertions

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import numpy as np
import pytest

from dr_pipelines.errors import TextTooLong
from dr_pipelines.model.query import FloatArray
from dr_pipelines.protocols import Embedder

TEXTS = (
    "How do I restore yesterday's index?",
    "",
    "Backups are taken at night.",
    "Die Sicherung läuft nachts, auch über Ostern.",
    "バックアップは夜に実行されます。",
    "👩\u200d👩\u200d👧 e\u0301 \u202eright to left\u202c",
    "word " * 200,
    " \n\t ",
    "a",
    "Backups are taken at noon.",
    "Backups are taken at night.",
)


class EmbedderContract:
    """One finite float32 vector a text, in the order of the texts."""

    tolerance = 1e-5

    @pytest.fixture
    def embedder(self) -> Iterator[Embedder]:
        raise NotImplementedError("override the `embedder` fixture")

    def assert_same(self, embedder: Embedder, actual: FloatArray, expected: FloatArray) -> None:
        """Equal to the bit where that is promised."""
        if embedder.reproducible:
            assert actual.tobytes() == expected.tobytes()
        else:
            np.testing.assert_allclose(actual, expected, rtol=0, atol=self.tolerance)

    def test_vectors_are_finite_float32_of_the_dimension(self, embedder: Embedder) -> None:
        vectors = embedder.embed(TEXTS)
        assert vectors.dtype == np.float32
        assert vectors.shape == (len(TEXTS), embedder.provenance.dimension)
        assert np.isfinite(vectors).all()

    def test_no_texts_give_no_vectors(self, embedder: Embedder) -> None:
        vectors = embedder.embed([])
        assert vectors.dtype == np.float32
        assert vectors.shape == (0, embedder.provenance.dimension)

    def test_vectors_are_of_length_one_where_the_provenance_says_so(
        self, embedder: Embedder
    ) -> None:
        if embedder.provenance.normalized:
            norms = np.linalg.norm(embedder.embed(TEXTS).astype(np.float64), axis=1)
            np.testing.assert_allclose(norms, 1.0, atol=1e-5)

    def test_different_texts_have_different_vectors(self, embedder: Embedder) -> None:
        vectors = embedder.embed([TEXTS[0], TEXTS[2], TEXTS[3], "a"])
        assert len({row.tobytes() for row in vectors}) == 4

    def test_similar_texts_are_nearer_than_others(self, embedder: Embedder) -> None:
        night, noon, other = embedder.embed([TEXTS[2], TEXTS[9], TEXTS[0]]).astype(np.float64)
        assert np.linalg.norm(night - noon) < np.linalg.norm(night - other)

    def test_the_same_texts_give_the_same_bits(self, embedder: Embedder) -> None:
        assert embedder.embed(TEXTS).tobytes() == embedder.embed(list(TEXTS)).tobytes()

    def test_each_vector_is_in_its_texts_place(self, embedder: Embedder) -> None:
        forward, backward = embedder.embed(TEXTS), embedder.embed(TEXTS[::-1])
        self.assert_same(embedder, backward[::-1], forward)

    def test_texts_embedded_alone_have_the_same_vectors(self, embedder: Embedder) -> None:
        together = embedder.embed(TEXTS)
        alone = np.concatenate([embedder.embed([text]) for text in TEXTS])
        self.assert_same(embedder, alone, together)

    def test_a_repeated_text_has_the_same_vector(self, embedder: Embedder) -> None:
        vectors = embedder.embed(TEXTS)
        self.assert_same(embedder, vectors[10], vectors[2])

    @pytest.mark.parametrize("words", [10, 100, 1_000, 10_000])
    def test_no_text_loses_its_end(self, embedder: Embedder, words: int) -> None:
        """A text has another vector than its beginning has, or it is refused by its place."""
        _require_whole(embedder, embedder.embed, words)

    @pytest.mark.parametrize("words", [10, 100, 1_000, 10_000])
    def test_no_query_loses_its_end(self, embedder: Embedder, words: int) -> None:
        _require_whole(embedder, embedder.embed_queries, words)

    def test_a_text_that_is_too_long_is_named_by_its_place(self, embedder: Embedder) -> None:
        if embedder.provenance.max_tokens is None:
            return
        with pytest.raises(TextTooLong) as caught:
            embedder.embed(["a", "word " * 100_000, "b"])
        assert list(caught.value.counts) == [1]

    def test_queries_have_finite_vectors_of_the_same_space(self, embedder: Embedder) -> None:
        vectors = embedder.embed_queries(TEXTS[:3])
        assert vectors.dtype == np.float32
        assert vectors.shape == (3, embedder.provenance.dimension)
        assert np.isfinite(vectors).all()
        assert embedder.embed_queries([]).shape == (0, embedder.provenance.dimension)

    def test_queries_and_texts_differ_by_their_prompts_alone(self, embedder: Embedder) -> None:
        texts, queries = embedder.embed(TEXTS[:3]), embedder.embed_queries(TEXTS[:3])
        provenance = embedder.provenance
        if provenance.prompt == provenance.query_prompt:
            self.assert_same(embedder, queries, texts)
        else:
            assert texts.tobytes() != queries.tobytes()

    def test_progress_ends_with_all_texts(self, embedder: Embedder) -> None:
        seen: list[tuple[int, int]] = []
        embedder.embed(TEXTS, progress=lambda done, total: seen.append((done, total)))
        assert seen == sorted(seen)
        assert seen[-1] == (len(TEXTS), len(TEXTS))

    def test_provenance_and_environment_stay_the_same(self, embedder: Embedder) -> None:
        before = (embedder.provenance.fingerprint, embedder.environment.fingerprint)
        embedder.embed(TEXTS[:2])
        assert (embedder.provenance.fingerprint, embedder.environment.fingerprint) == before


def _require_whole(
    embedder: Embedder, embed: Callable[[Sequence[str]], FloatArray], words: int
) -> None:
    texts = ["word " * words, "word " * words + "Nothing is lost."]
    with suppress(TextTooLong):
        short, whole = embed(texts)
        assert short.tobytes() != whole.tobytes(), "the end was cut off"
        return
    with pytest.raises(TextTooLong) as refused:
        embed(texts)
    counts = refused.value.counts
    assert 1 in counts
    assert min(counts.values()) > refused.value.limit == embedder.provenance.max_tokens
