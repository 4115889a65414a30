"""What a sentence-transformers directory says of its model, read without loading it."""

from pathlib import Path
from typing import Any

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.ingest.model_files import (
    configuration_sha256,
    file_sha256,
    read_json,
    tokenizer_file,
    weights_sha256,
)
from dr_pipelines.model.lineage import EmbedderProvenance


def read_provenance(
    directory: Path, *, name: str, normalize: bool, prompt: str
) -> EmbedderProvenance:
    """Weights, tokenizer and configuration by digest; reads files only."""
    modules = _modules(directory)
    own_normalization = any(kind == "Normalize" for kind, _ in modules)
    return EmbedderProvenance(
        name=name,
        revision=f"configuration-{configuration_sha256(directory)[:16]}",
        weights_sha256=weights_sha256(directory),
        tokenizer_sha256=file_sha256(tokenizer_file(directory)),
        dimension=_dimension(directory, modules),
        normalized=normalize or own_normalization,
        prompt=prompt,
        max_tokens=_max_tokens(directory),
    )


def _modules(directory: Path) -> list[tuple[str, dict[str, Any]]]:
    """Kind and configuration of each module, in order."""
    modules = []
    for entry in read_json(directory / "modules.json"):
        config = directory / entry["path"] / "config.json"
        settings = read_json(config) if entry["path"] and config.is_file() else {}
        modules.append((entry["type"].rsplit(".", 1)[-1], settings))
    return modules


def _dimension(directory: Path, modules: list[tuple[str, dict[str, Any]]]) -> int:
    dimension = read_json(directory / "config.json").get("hidden_size")
    for kind, settings in modules:
        if kind == "Dense":
            dimension = settings["out_features"]
        if kind == "Pooling" and isinstance(dimension, int):
            modes = sum(bool(on) for key, on in settings.items() if key.startswith("pooling_mode_"))
            dimension *= max(1, modes)
    if not isinstance(dimension, int):
        raise InvalidRequest(f"model {directory} does not say the dimension of its vectors")
    return dimension


def _max_tokens(directory: Path) -> int | None:
    own = directory / "sentence_bert_config.json"
    limit = read_json(own).get("max_seq_length") if own.is_file() else None
    limit = limit or read_json(directory / "config.json").get("max_position_embeddings")
    return int(limit) if limit else None
