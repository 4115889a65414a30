"""Vectors of queries without PyTorch, for models of which every part is known here.

The library is 5 s of imports, a query 20 ms of work. So a small BERT is computed with NumPy; what
is not exactly of that kind goes the long way. Vectors of texts that are kept are never made here.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from dr_pipelines.embedders.bert import Bert, total, weight_names
from dr_pipelines.embedders.model_card import ModelCard
from dr_pipelines.embedders.model_files import read_json
from dr_pipelines.errors import TextTooLong
from dr_pipelines.model.query import FloatArray

MAX_LAYERS = 12
CONFIG: dict[str, Any] = {
    "model_type": "bert",
    "architectures": ["BertModel"],
    "hidden_act": "gelu",
}
SAID: dict[str, Any] = {
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
}
"""What these keys must say where they are there."""
LAYOUTS: tuple[dict[str, Any], ...] = (
    {"do_lower_case": False},
    {
        "transformer_task": "feature-extraction",
        "module_output_name": "token_embeddings",
        "modality_config": {
            "text": {"method": "forward", "method_output_name": "last_hidden_state"}
        },
    },
)
SPECIAL = {"unk_token": "[UNK]", "sep_token": "[SEP]", "cls_token": "[CLS]"}
SINGLE = ["[CLS]", "A", "[SEP]"]


class LightQueries:
    """Queries of one model, computed with NumPy; make it with `light_queries`."""

    def __init__(self, card: ModelCard) -> None:
        self._card = card
        self._config = read_json(card.directory / "config.json")

    def embed_queries(self, texts: Sequence[str]) -> FloatArray:
        """float32[len(texts), dimension]; raises `TextTooLong` as an `Embedder` does."""
        provenance = self._card.provenance
        tokens = [self._tokenizer.encode(provenance.query_prompt + text).ids for text in texts]
        limit = provenance.max_tokens or math.inf
        over = {place: len(ids) for place, ids in enumerate(tokens) if len(ids) > limit}
        if over and provenance.max_tokens is not None:
            raise TextTooLong(over, limit=provenance.max_tokens, model=provenance.name)
        vectors = np.empty((len(texts), provenance.dimension), np.float32)
        for place, ids in enumerate(tokens):
            vectors[place] = self._vector(ids)
        return vectors

    def _vector(self, ids: list[int]) -> FloatArray:
        with self._weights() as rows:
            parts = [rows("word", ids), rows("position", range(len(ids))), rows("token_type", [0])]
        states = self._bert.forward(total(parts))
        pooled: FloatArray = states.mean(axis=0)
        if self._card.modules[-1][0] == "Normalize":
            pooled = _unit(pooled)
        leading = pooled[: self._card.provenance.dimension]
        return _unit(leading) if self._card.reading.normalize else leading

    @contextmanager
    def _weights(self) -> Iterator[Any]:
        from safetensors import safe_open

        with safe_open(self._card.directory / "model.safetensors", framework="numpy") as file:

            def rows(kind: str, numbers: Sequence[int]) -> FloatArray:
                table = file.get_slice(f"embeddings.{kind}_embeddings.weight")
                selected: FloatArray = np.concatenate([table[i : i + 1] for i in numbers])
                return selected

            yield rows

    @cached_property
    def _bert(self) -> Bert:
        from safetensors import safe_open

        layers = self._config["num_hidden_layers"]
        names = {name for name in weight_names(layers) if "_embeddings." not in name}
        with safe_open(self._card.directory / "model.safetensors", framework="numpy") as file:
            weights = {name: file.get_tensor(name) for name in names}
        heads, epsilon = self._config["num_attention_heads"], self._config["layer_norm_eps"]
        return Bert(weights, layers, heads, epsilon)

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(self._card.directory / "tokenizer.json"))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer


def _unit(vector: FloatArray) -> FloatArray:
    unit: FloatArray = vector / np.maximum(np.linalg.norm(vector), np.float32(1e-12))
    return unit


def light_queries(card: ModelCard) -> LightQueries | str:
    """The light way to a model's query vectors, or what of the model it does not know."""
    for check in (_modules, _architecture, _tokenizer, _weights):
        reason = check(card)
        if reason:
            return reason
    return LightQueries(card)


def _modules(card: ModelCard) -> str:
    kinds = [kind for kind, _ in card.modules]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        return f"its modules are {', '.join(kinds)}"
    pooling = dict(card.modules[1][1])
    modes = {key for key, on in pooling.items() if key.startswith("pooling_mode_") and on}
    if pooling.get("pooling_mode", "mean") != "mean" or modes - {"pooling_mode_mean_tokens"}:
        return "its pooling is not the mean"
    if not pooling.get("include_prompt", True) and card.provenance.query_prompt:
        return "its pooling leaves the prompt out"
    layout = {k: v for k, v in card.transformer.items() if k != "max_seq_length"}
    return "" if layout in ({}, *LAYOUTS) else "sentence_bert_config.json has settings unknown here"


def _architecture(card: ModelCard) -> str:
    config = read_json(card.directory / "config.json")
    for key, value in CONFIG.items():
        if config.get(key) != value:
            return f"{key} is {config.get(key)!r}"
    for key, value in SAID.items():
        if config.get(key, value) != value:
            return f"{key} is {config[key]!r}"
    layers = config.get("num_hidden_layers")
    if not isinstance(layers, int) or not 0 < layers <= MAX_LAYERS:
        return f"it has {layers} layers"
    return "" if isinstance(config.get("layer_norm_eps"), float) else "layer_norm_eps is not said"


def _tokenizer(card: ModelCard) -> str:
    """The library builds the tokenizer from its configuration; the file must say the same."""
    settings, config = (
        read_json(card.directory / "tokenizer.json"),
        card.optional("tokenizer_config.json"),
    )
    expected = {
        "type": "BertNormalizer",
        "clean_text": True,
        "handle_chinese_chars": config.get("tokenize_chinese_chars", True),
        "strip_accents": config.get("strip_accents"),
        "lowercase": config.get("do_lower_case", True),
    }
    single = [next(iter(part.values()))["id"] for part in _single(settings)]
    same = (
        settings.get("normalizer") == expected
        and settings.get("pre_tokenizer") == {"type": "BertPreTokenizer"}
        and settings["model"].get("type") == "WordPiece"
        and single == SINGLE
        and config.get("tokenizer_class") in ("BertTokenizer", "BertTokenizerFast")
        and all(config.get(key, token) == token for key, token in SPECIAL.items())
        and all(token["special"] for token in settings["added_tokens"])
    )
    return "" if same else "its tokenizer is not BERT's as tokenizer_config.json says it"


def _single(tokenizer: dict[str, Any]) -> list[dict[str, Any]]:
    processor = tokenizer.get("post_processor") or {}
    return list(processor["single"]) if processor.get("type") == "TemplateProcessing" else []


def _weights(card: ModelCard) -> str:
    from safetensors import SafetensorError, safe_open

    path = Path(card.directory / "model.safetensors")
    if not path.is_file():
        return "its weights are not in one model.safetensors"
    layers = read_json(card.directory / "config.json")["num_hidden_layers"]
    expected = weight_names(layers)
    try:
        with safe_open(path, framework="numpy") as file:
            names = set(file.keys())
            kinds = {file.get_slice(name).get_dtype() for name in expected & names}
    except (OSError, SafetensorError) as error:
        return f"its weights cannot be read: {error}"
    unused = {"embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias"}
    if expected - names or names - expected - unused:
        return "its weights have other names than BERT's"
    return "" if kinds == {"F32"} else f"its weights are {', '.join(sorted(kinds))}"
