"""The number of a model's tokens that a prompt uses up."""

from pathlib import Path

from dr_pipelines.embedders.model_files import tokenizer_file
from dr_pipelines.embedders.tokens import Tokens


def prompt_tokens(directory: Path, prompt: str) -> int:
    """Tokens of a prompt without the special ones; loads the tokenizer, not the model."""
    tokens = Tokens(tokenizer_file(directory))
    return tokens.counts([prompt])[0] - tokens.special
