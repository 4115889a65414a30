"""What a prompt takes of the tokens that a model reads."""

from pathlib import Path

from dr_pipelines.embedders.model_files import tokenizer_file
from dr_pipelines.embedders.tokens import Tokens


def prompt_tokens(directory: Path, prompt: str) -> int:
    """Tokens of a prompt without the special ones; loads the tokenizer, not the model."""
    tokens = Tokens(tokenizer_file(directory))
    return tokens.counts([prompt])[0] - tokens.special
