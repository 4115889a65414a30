"""Packages that only some need, and the extra of this package that installs each."""

from collections.abc import Iterable
from importlib.util import find_spec

from dr_pipelines.errors import InvalidRequest

EXTRAS = {
    "dagster": "dagster",
    "ir_measures": "golden",
    "pandera": "ingest",
    "safetensors": "embeddings",
    "sentence_transformers": "embeddings",
    "tokenizers": "embeddings",
    "torch": "embeddings",
    "transformers": "embeddings",
}
"""Top-level module → extra, but for those of engines, which say theirs themselves."""


class ExtraMissing(InvalidRequest):
    """Ask for something else, or install it: a package that the request needs is missing."""

    def __init__(self, package: str, *, extra: str, purpose: str = "this") -> None:
        super().__init__(
            f"{purpose} needs a package that is not installed ({package}). "
            f"Run: pip install 'dr-pipelines[{extra}]'"
        )


def require_packages(packages: Iterable[str], *, purpose: str) -> None:
    """Raise `ExtraMissing` for the first that is not installed; imports none of them."""
    for package in packages:
        if find_spec(package) is None:
            raise ExtraMissing(package, extra=EXTRAS[package], purpose=purpose)
