"""How text became vectors, and what of that only decides whether a replay must be bit-exact."""

from typing import Any, Literal

from dr_pipelines.model.base import Stored


class SourceProvenance(Stored):
    """The connector and the settings that decide what it yields (never where secrets are)."""

    connector: str
    settings: dict[str, Any] = {}


class ChunkerProvenance(Stored):
    name: str
    settings: dict[str, Any] = {}
    tokenizer_sha256: str | None = None


class EmbedderProvenance(Stored):
    """One model: its files by digest, and everything else that changes what it computes.

    `files` are all that loading the model reads, by path; `revision` is the digest of that list, or
    what a hosted model's policy declares. `endpoint` is where a hosted model is asked, without
    credentials. `pooling` is set where the policy chooses it, not the model. `max_tokens` is the
    longest text that the model reads, prompt and special tokens included.
    """

    name: str
    revision: str | None = None
    endpoint: str | None = None
    weights_sha256: str | None = None
    tokenizer_sha256: str | None = None
    files: dict[str, str] = {}
    dimension: int
    dtype: Literal["float32"] = "float32"
    normalized: bool
    pooling: str | None = None
    prompt: str = ""
    query_prompt: str = ""
    max_tokens: int | None = None


class Provenance(Stored):
    """Equality decides staleness and refusal."""

    source: SourceProvenance
    chunker: ChunkerProvenance
    embedder: EmbedderProvenance

    def differences(self, other: "Provenance") -> list[str]:
        """Every difference at once, as `part.key: ours → theirs`, sorted."""
        mine, theirs = flatten(self.model_dump(mode="json")), flatten(other.model_dump(mode="json"))
        keys = sorted(set(mine) | set(theirs))
        return [
            f"{key}: {mine.get(key)!r} → {theirs.get(key)!r}"
            for key in keys
            if mine.get(key) != theirs.get(key)
        ]


class Environment(Stored):
    """Decides only whether a replay must be bit-exact (equal) or within tolerance (not)."""

    libraries: dict[str, str] = {}
    instruction_set: str = ""
    profile: str = ""


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, keys joined by dots."""
    if not isinstance(value, dict):
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat |= flatten(item, f"{prefix}.{key}" if prefix else str(key))
    return flat
