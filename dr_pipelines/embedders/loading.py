"""Loading a model of the sentence-transformers library: local files, safetensors, no code of its
own, and nothing that its files did not say beforehand."""

from pathlib import Path
from typing import Any

from dr_pipelines.embedders.model_card import ModelCard
from dr_pipelines.errors import InvalidRequest
from dr_pipelines.host.extras import ExtraMissing

EXTRA = "embeddings"
SAFELY = {"local_files_only": True, "trust_remote_code": False}
WEIGHTS = {"use_safetensors": True, "dtype": "float32"}


def load_model(card: ModelCard) -> Any:
    """The model, ready to compute. Raises `InvalidRequest` where it is not what its files say."""
    name = card.reading.name
    try:
        from safetensors import SafetensorError
        from transformers.utils import logging
    except ModuleNotFoundError as error:
        raise missing(error) from error
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        model = _opened(card.directory, pooling=None if card.own_modules else card.reading.pooling)
    except ModuleNotFoundError as error:
        raise missing(error) from error
    except (OSError, ValueError, SafetensorError) as error:
        raise InvalidRequest(f"model {card.directory.name} cannot be loaded: {error}") from error
    finally:
        if bars:
            logging.enable_progress_bar()
    model.truncate_dim = None  # parts are taken here, the same way under every profile
    _require_as_stated(model, card, name)
    return model.eval()


def missing(error: ModuleNotFoundError) -> ExtraMissing:
    """The error of a machine where the libraries of models are not installed."""
    purpose = "an embedder of kind sentence-transformers"
    return ExtraMissing(error.name or "sentence_transformers", extra=EXTRA, purpose=purpose)


def _opened(directory: Path, *, pooling: str | None) -> Any:
    from sentence_transformers import SentenceTransformer

    if pooling is None:
        return SentenceTransformer(str(directory), device="cpu", model_kwargs=WEIGHTS, **SAFELY)
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    first = Transformer(
        str(directory),
        model_kwargs={**WEIGHTS, **SAFELY},
        processor_kwargs=dict(SAFELY),
        config_kwargs=dict(SAFELY),
    )
    second = Pooling(first.get_embedding_dimension(), pooling)
    return SentenceTransformer(modules=[first, second], device="cpu")


def _require_as_stated(model: Any, card: ModelCard, name: str) -> None:
    dimension, limit = model.get_embedding_dimension(), _limit(model)
    if dimension != card.full_dimension:
        raise InvalidRequest(
            f"model {name!r} computes {dimension} dimensions, but its configuration says "
            f"{card.full_dimension}"
        )
    stated = card.max_tokens
    if limit is not None and (stated is None or limit < stated):
        raise InvalidRequest(
            f"model {name!r} reads {limit} tokens once it is loaded, but its files say "
            f"{stated or 'no limit'}. Set "
            f"max_seq_length to {limit} in its sentence_bert_config.json"
        )
    if "text" not in getattr(model[0], "modality_config", {"text": {}}):
        raise InvalidRequest(f"model {name!r} reads no plain text: it cannot embed documents")


def _limit(model: Any) -> int | None:
    """The smallest of the limits that the loaded model has; beyond it texts would be cut."""
    from dr_pipelines.embedders.model_card import UNLIMITED

    limits = (model.max_seq_length, getattr(model.tokenizer, "model_max_length", None))
    finite = [int(value) for value in limits if value is not None and value < UNLIMITED]
    return min(finite, default=None)
