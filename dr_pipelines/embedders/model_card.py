"""Description of a model by its directory's files, read without loading the model.

Only layouts of which every part is known are taken: anything else would be guessed at, or would run
code that came with the model.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from dr_pipelines.embedders.model_files import (
    decisive_files,
    file_sha256,
    listing_sha256,
    read_json,
    tokenizer_file,
    weights_sha256,
)
from dr_pipelines.errors import InvalidRequest, Refused
from dr_pipelines.model.lineage import EmbedderProvenance

LIBRARY = "sentence_transformers."
MODULES = frozenset(["Transformer", "Pooling", "Normalize", "Dense", "LayerNorm", "Dropout"])
"""Modules that compute one vector of one text, and hold no pickles."""
WIDTHS = ("hidden_size", "d_model", "dim", "n_embd")
UNLIMITED = 10**9
"""What tokenizers say for "no limit" is larger still."""
OFFSET_POSITIONS = frozenset(
    ("camembert", "data2vec-text", "longformer", "mpnet", "roberta", "xlm-roberta")
)
"""Architectures whose positions begin after the padding's, so that a few of them are never read."""
LENGTHS = ("max_seq_length", "model_max_length", "query_length", "document_length")


@dataclass(frozen=True)
class Reading:
    """How a policy wants a model to be read; None where it does not say."""

    name: str
    normalize: bool = True
    prompt: str | None = None
    query_prompt: str | None = None
    dimension: int | None = None
    pooling: str | None = None
    revision: str | None = None


@dataclass(frozen=True)
class ModelCard:
    """A model's directory; every property reads files alone."""

    directory: Path
    reading: Reading

    @cached_property
    def provenance(self) -> EmbedderProvenance:
        """Everything that decides a vector. Raises `InvalidRequest` where the policy leaves open
        what the model leaves open too, `Refused` for what is not loaded safely."""
        files = decisive_files(self.directory)
        self._require_known_layout()
        self._require_prompts_said()
        return EmbedderProvenance(
            name=self.reading.name,
            revision=self.reading.revision or listing_sha256(files),
            weights_sha256=weights_sha256(
                {name: digest for name, digest in files.items() if "/" not in name}
            ),
            tokenizer_sha256=file_sha256(tokenizer_file(self.directory)),
            files=files,
            dimension=self.dimension,
            normalized=self.reading.normalize or self._normalizes_itself(),
            pooling=self.reading.pooling,
            prompt=self.reading.prompt or "",
            query_prompt=self.reading.query_prompt or "",
            max_tokens=self.max_tokens,
        )

    @property
    def dimension(self) -> int:
        """Components that are kept."""
        full = self.full_dimension
        width = self.reading.dimension or self._library.get("truncate_dim") or full
        if width > full:
            raise InvalidRequest(
                f"model {self.reading.name!r} computes {full} components, so dimension {width} "
                "cannot be kept of them"
            )
        return int(width)

    @cached_property
    def full_dimension(self) -> int:
        """Components that the model computes."""
        width = next((self._config[key] for key in WIDTHS if key in self._config), None)
        for kind, settings in self.modules:
            if kind == "Dense":
                width = settings["out_features"]
            if kind == "Pooling" and isinstance(width, int):
                width *= _modes(settings)
        if not isinstance(width, int):
            raise InvalidRequest(
                f"model {self.directory} does not say the dimension of its vectors"
            )
        return width

    @property
    def max_tokens(self) -> int | None:
        """The smallest of all the limits that the files state; None where there is none."""
        return min(self._limits(), default=None)

    @property
    def own_modules(self) -> bool:
        """True if the directory itself defines how token vectors become one."""
        return (self.directory / "modules.json").is_file()

    @cached_property
    def modules(self) -> list[tuple[str, dict[str, Any]]]:
        """Kind and configuration of each module, in order."""
        if not self.own_modules:
            return [("Transformer", {}), ("Pooling", {"pooling_mode": self.reading.pooling})]
        modules = []
        for entry in read_json(self.directory / "modules.json"):
            path = self.directory / entry["path"] / "config.json"
            settings = read_json(path) if entry["path"] and path.is_file() else {}
            modules.append((entry["type"].rsplit(".", 1)[-1], settings))
        return modules

    def _limits(self) -> Iterator[int]:
        positions = self._config.get("max_position_embeddings")
        if isinstance(positions, int) and positions > 0:
            offset = self._config.get("model_type") in OFFSET_POSITIONS
            yield positions - (self._config.get("pad_token_id") or 0) - 1 if offset else positions
        own = self.transformer
        for part in (own, *(own.get(key) or {} for key in ("processor_kwargs", "tokenizer_args"))):
            yield from _lengths(part)
        yield from _lengths(self.optional("tokenizer_config.json"))

    @property
    def transformer(self) -> dict[str, Any]:
        """The settings of the first module."""
        return self.optional("sentence_bert_config.json")

    def optional(self, name: str) -> dict[str, Any]:
        """A JSON file of the model; empty where there is none."""
        path = self.directory / name
        value = read_json(path) if path.is_file() else {}
        return value if isinstance(value, dict) else {}

    @cached_property
    def _config(self) -> dict[str, Any]:
        value = read_json(self.directory / "config.json")
        return value if isinstance(value, dict) else {}

    @cached_property
    def _library(self) -> dict[str, Any]:
        return self.optional("config_sentence_transformers.json")

    def _normalizes_itself(self) -> bool:
        """Parts of a vector of length 1 are shorter."""
        own = any(kind == "Normalize" for kind, _ in self.modules)
        return own and self.dimension == self.full_dimension

    def _require_known_layout(self) -> None:
        name, pooling = self.reading.name, self.reading.pooling
        if (self.directory / "adapter_config.json").is_file():
            raise Refused(
                f"model {name!r} is an adapter over weights that lie elsewhere: merge it into a "
                "model of its own"
            )
        if self.own_modules and pooling:
            raise InvalidRequest(
                f"model {name!r} says itself how token vectors become one (modules.json): remove "
                "pooling from its policy"
            )
        if not self.own_modules and not pooling:
            raise InvalidRequest(
                f"model {name!r} has no modules.json, so nothing says how token vectors become "
                "one: set pooling in its policy to what it was trained for (mean, cls, max, "
                "lasttoken)"
            )
        if self.own_modules:
            self._require_known_modules()

    def _require_known_modules(self) -> None:
        for number, entry in enumerate(read_json(self.directory / "modules.json")):
            module, _, kind = entry["type"].rpartition(".")
            if number == 0 and entry["path"]:
                raise Refused(
                    f"model {self.reading.name!r} keeps its transformer in {entry['path']!r}, as "
                    "early libraries did: load it and save it again"
                )
            if not module.startswith(LIBRARY) or kind not in MODULES:
                raise Refused(
                    f"model {self.reading.name!r} needs the module {entry['type']}, which is not "
                    f"one of {', '.join(sorted(MODULES))} of sentence-transformers: code of a "
                    "model's own is never run"
                )

    def _require_prompts_said(self) -> None:
        declared = {k: v for k, v in (self._library.get("prompts") or {}).items() if v}
        if not declared or None not in (self.reading.prompt, self.reading.query_prompt):
            return
        listed = ", ".join(f"{key} {value!r}" for key, value in sorted(declared.items()))
        raise InvalidRequest(
            f"model {self.reading.name!r} declares prompts ({listed}), which are never applied by "
            "themselves: say in its policy which one is put before texts (prompt) and before "
            'queries (query_prompt), "" for none'
        )


def _modes(settings: dict[str, Any]) -> int:
    """How many poolings are put side by side."""
    modes = settings.get("pooling_mode")
    if modes is not None:
        return 1 if isinstance(modes, str) else len(modes)
    return max(1, sum(bool(on) for key, on in settings.items() if key.startswith("pooling_mode_")))


def _lengths(settings: dict[str, Any]) -> Iterator[int]:
    for key in LENGTHS:
        value = settings.get(key)
        if isinstance(value, int | float) and 0 < value < UNLIMITED:
            yield int(value)
