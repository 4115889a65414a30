"""Models of the sentence-transformers library, on the CPU."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from platform import machine
from typing import Any, Literal

import numpy as np

from dr_pipelines.embedders.light import LightQueries, light_queries
from dr_pipelines.embedders.loading import load_model, missing
from dr_pipelines.embedders.model_card import ModelCard, Reading
from dr_pipelines.embedders.model_files import PACKAGE, locate
from dr_pipelines.embedders.prompts import prompt_tokens
from dr_pipelines.errors import (
    Damaged,
    InvalidRequest,
    Refused,
    TextTooLong,
)
from dr_pipelines.model.lineage import EmbedderProvenance, Environment
from dr_pipelines.model.query import FloatArray
from dr_pipelines.protocols import Progress

LIBRARIES = ("torch", "sentence-transformers", "transformers", "tokenizers", "numpy")
SLICE_TEXTS = 256
"""Texts between two calls of `progress`."""
BATCH_CHARACTERS = 4_000
"""Of a padded batch: about 4 texts of 200 tokens, which take a fifth less time so than 32 at once,
whose intermediate results do not fit the processor's caches. Of ten words, 32 are faster."""


class SentenceTransformerEmbedder:
    """Vectors of one model, given as a directory, `package:NAME`, or a name on the hub.

    The `reproducible` profile computes every text alone on one thread, as many texts at a time as
    there are threads: a vector then depends on the text and nothing else (two threads on one short
    text already give other bits). The `fast` profile computes padded batches of texts of about one
    length, at most `batch_size` and fewer where they are long, and its vectors differ by about 1e-7
    with what else is in the batch. `threads` is torch's own choice unless it is given.

    Only safetensors are loaded, and no code of the model's. `prompt` is read before texts that are
    kept, `query_prompt` before those that are looked for; the model's own are not. `dimension`
    keeps the first components, `pooling` is for directories without modules.json.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        profile: Literal["reproducible", "fast"] = "reproducible",
        batch_size: int = 32,
        prompt: str | None = None,
        query_prompt: str | None = None,
        normalize: bool = True,
        dimension: int | None = None,
        pooling: str | None = None,
        threads: int | None = None,
        expected_weights_sha256: str | None = None,
        name: str | None = None,
        revision: str | None = None,
    ) -> None:
        if profile not in ("reproducible", "fast"):
            raise InvalidRequest(f"profile is {profile!r}: expected 'reproducible' or 'fast'")
        if batch_size < 1 or (threads is not None and threads < 1):
            raise InvalidRequest(f"batch_size {batch_size}, threads {threads}: expected at least 1")
        self._name = name or _name(model)
        reading = Reading(self._name, normalize, prompt, query_prompt, dimension, pooling, revision)
        self._card = ModelCard(locate(model), reading)
        self._profile = profile
        self._batch_size = batch_size
        self._normalize = normalize
        self._threads = threads
        self._expected = expected_weights_sha256

    @cached_property
    def provenance(self) -> EmbedderProvenance:
        """Read from the model's files; loads nothing. Raises `Refused` for other weights than
        those expected."""
        provenance = self._card.provenance
        if self._expected not in (None, provenance.weights_sha256):
            raise Refused(
                f"the weights of model {self._name!r} are {provenance.weights_sha256}, expected "
                f"{self._expected}: install the model that was meant, or accept this one by its "
                "digest"
            )
        return provenance

    @cached_property
    def environment(self) -> Environment:
        batches = "" if self.reproducible else f", batches of {self._batch_size}"
        return Environment(
            instruction_set=_instruction_set(),
            libraries={name: version(name) for name in LIBRARIES},
            profile=self._profile + batches,
        )

    @property
    def reproducible(self) -> bool:
        return self._profile == "reproducible"

    def embed(self, texts: Sequence[str], *, progress: Progress | None = None) -> FloatArray:
        return self._embed(texts, self.provenance.prompt, progress)

    def prompt_tokens(self) -> int:
        prompt = self.provenance.prompt
        return prompt_tokens(self._card.directory, prompt) if prompt else 0

    def embed_queries(self, texts: Sequence[str]) -> FloatArray:
        return self._embed(texts, self.provenance.query_prompt, None)

    def light(self) -> LightQueries | str:
        """The way to query vectors without the library, or what of the model it does not know."""
        _ = self.provenance  # first: what is refused is not read
        return light_queries(self._card)

    def _embed(self, texts: Sequence[str], prompt: str, progress: Progress | None) -> FloatArray:
        vectors = np.empty((len(texts), self.provenance.dimension), np.float32)
        if not len(texts):
            return vectors
        self._require_read_whole(texts, prompt)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]), reverse=True)
        with self._computing(prompt) as compute:
            for start in range(0, len(order), SLICE_TEXTS):
                part = order[start : start + SLICE_TEXTS]
                vectors[part] = compute([texts[i] for i in part])
                if progress:
                    progress(start + len(part), len(texts))
        if not np.isfinite(vectors).all():
            raise Damaged(f"model {self._name!r} returned a vector that is not finite")
        return vectors

    def _require_read_whole(self, texts: Sequence[str], prompt: str) -> None:
        """Raise `TextTooLong` for texts of which the library would read only the beginning."""
        limit = self.provenance.max_tokens
        if limit is None:
            return
        count = self._model.tokenizer
        counts = (
            len(tokens)
            for start in range(0, len(texts), SLICE_TEXTS)
            for tokens in count(
                [prompt + text for text in texts[start : start + SLICE_TEXTS]],
                truncation=False,
                verbose=False,
            )["input_ids"]
        )
        over = {place: tokens for place, tokens in enumerate(counts) if tokens > limit}
        if over:
            raise TextTooLong(over, limit=limit, model=self._name)

    @contextmanager
    def _computing(self, prompt: str) -> Iterator[Callable[[list[str]], FloatArray]]:
        """Context for computing a slice, with torch's threads set for it and restored after."""
        model = self._model
        import torch

        before = torch.get_num_threads()
        threads = self._threads or before
        try:
            if not self.reproducible:
                torch.set_num_threads(threads)
                yield lambda texts: self._in_batches(texts, prompt)
                return
            alone = {"initializer": torch.set_num_threads, "initargs": (1,)}
            with ThreadPoolExecutor(threads, "embed", **alone) as workers:
                yield lambda texts: self._each_alone(model, texts, prompt, workers)
        finally:
            torch.set_num_threads(before)

    def _in_batches(self, texts: list[str], prompt: str) -> FloatArray:
        encode = partial(
            self._model.encode,
            batch_size=self._batch_size,
            prompt=prompt,  # an empty one, too: with None the library applies the model's own
            truncate_dim=self.provenance.dimension,
            normalize_embeddings=self._normalize,
            show_progress_bar=False,
        )
        return np.concatenate([encode(batch) for batch in _batches(texts, self._batch_size)])

    def _each_alone(
        self, model: Any, texts: list[str], prompt: str, workers: ThreadPoolExecutor
    ) -> FloatArray:
        import torch

        dimension = self.provenance.dimension
        # on this thread: a tokenizer refuses to be used by two at once
        inputs = [model.preprocess([text], prompt=prompt) for text in texts]

        def vector(features: Any) -> FloatArray:
            with torch.inference_mode():
                output = model(features)["sentence_embedding"][:, :dimension]
                if self._normalize:
                    output = torch.nn.functional.normalize(output, p=2, dim=1)
                alone: FloatArray = output[0].numpy()
                return alone

        return np.stack(list(workers.map(vector, inputs)))

    @cached_property
    def _model(self) -> Any:
        _ = self.provenance  # first: what is refused is not loaded
        return load_model(self._card)


def _batches(texts: Sequence[str], limit: int) -> Iterator[Sequence[str]]:
    """Texts, the longest first, as many at a time as pad to `BATCH_CHARACTERS`, `limit` at most."""
    start = 0
    while start < len(texts):
        fitting = BATCH_CHARACTERS // max(1, len(texts[start]))
        count = max(1, min(limit, fitting))
        yield texts[start : start + count]
        start += count


def _name(model: str | Path) -> str:
    """A name that stays when a directory is moved."""
    directory = isinstance(model, Path) or (not model.startswith(PACKAGE) and Path(model).is_dir())
    return Path(model).resolve().name if directory else str(model)


def _instruction_set() -> str:
    """Architecture, vendor and vector extension: what a matrix library chooses its code by."""
    try:
        import torch
    except ModuleNotFoundError as error:
        raise missing(error) from error

    described = Path("/proc/cpuinfo")
    lines = described.read_text().splitlines() if described.is_file() else []
    vendors = {line.split(":")[1].strip() for line in lines if line.startswith("vendor_id")}
    capability = torch.backends.cpu.get_cpu_capability()
    return " ".join([machine(), *sorted(vendors), capability])
