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

from dr_pipelines.errors import Damaged, InvalidRequest, Refused
from dr_pipelines.ingest.embedders.model_card import read_provenance
from dr_pipelines.ingest.model_files import PACKAGE, locate
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
    Only safetensors are loaded, and no code of the model's. Texts beyond the model's limit are cut
    off there (`provenance.max_tokens`).
    """

    def __init__(
        self,
        model: str | Path,
        *,
        profile: Literal["reproducible", "fast"] = "reproducible",
        batch_size: int = 32,
        prompt: str = "",
        normalize: bool = True,
        threads: int | None = None,
        expected_weights_sha256: str | None = None,
        name: str | None = None,
    ) -> None:
        if profile not in ("reproducible", "fast"):
            raise InvalidRequest(f"profile is {profile!r}: expected 'reproducible' or 'fast'")
        if batch_size < 1 or (threads is not None and threads < 1):
            raise InvalidRequest(f"batch_size {batch_size}, threads {threads}: expected at least 1")
        self._directory = locate(model)
        self._name = name or _name(model)
        self._profile = profile
        self._batch_size = batch_size
        self._prompt = prompt
        self._normalize = normalize
        self._threads = threads
        self._expected = expected_weights_sha256

    @cached_property
    def provenance(self) -> EmbedderProvenance:
        """Read from the model's files; loads nothing. Raises `Refused` for other weights than
        those expected."""
        found = read_provenance(
            self._directory, name=self._name, normalize=self._normalize, prompt=self._prompt
        )
        if self._expected not in (None, found.weights_sha256):
            raise Refused(
                f"the weights of model {self._name!r} are {found.weights_sha256}, expected "
                f"{self._expected}: install the model that was meant, or accept this one by its "
                "digest"
            )
        return found

    @cached_property
    def environment(self) -> Environment:
        batches = "" if self.reproducible else f", batches of {self._batch_size}"
        return Environment(
            libraries={name: version(name) for name in LIBRARIES},
            instruction_set=_instruction_set(),
            profile=self._profile + batches,
        )

    @property
    def reproducible(self) -> bool:
        return self._profile == "reproducible"

    def embed(self, texts: Sequence[str], *, progress: Progress | None = None) -> FloatArray:
        vectors = np.empty((len(texts), self.provenance.dimension), np.float32)
        if not len(texts):
            return vectors
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]), reverse=True)
        with self._computing() as compute:
            for start in range(0, len(order), SLICE_TEXTS):
                part = order[start : start + SLICE_TEXTS]
                vectors[part] = compute([texts[i] for i in part])
                if progress:
                    progress(start + len(part), len(texts))
        if not np.isfinite(vectors).all():
            raise Damaged(f"model {self._name!r} returned a vector that is not finite")
        return vectors

    @contextmanager
    def _computing(self) -> Iterator[Callable[[list[str]], FloatArray]]:
        """What computes a slice, with torch's threads set for it and given back after."""
        import torch

        model, before = self._model, torch.get_num_threads()
        threads = self._threads or before
        try:
            if not self.reproducible:
                torch.set_num_threads(threads)
                yield self._in_batches
                return
            alone = {"initializer": torch.set_num_threads, "initargs": (1,)}
            with ThreadPoolExecutor(threads, "embed", **alone) as workers:
                yield lambda texts: self._each_alone(model, texts, workers)
        finally:
            torch.set_num_threads(before)

    def _in_batches(self, texts: list[str]) -> FloatArray:
        encode = partial(
            self._model.encode,
            batch_size=self._batch_size,
            prompt=self._prompt or None,
            normalize_embeddings=self._normalize,
            show_progress_bar=False,
        )
        return np.concatenate([encode(batch) for batch in _batches(texts, self._batch_size)])

    def _each_alone(self, model: Any, texts: list[str], workers: ThreadPoolExecutor) -> FloatArray:
        import torch

        # on this thread: a tokenizer refuses to be used by two at once
        inputs = [model.preprocess([text], prompt=self._prompt or None) for text in texts]

        def vector(features: Any) -> FloatArray:
            with torch.inference_mode():
                found = model(features)["sentence_embedding"]
                if self._normalize:
                    found = torch.nn.functional.normalize(found, p=2, dim=1)
                alone: FloatArray = found[0].numpy()
                return alone

        return np.stack(list(workers.map(vector, inputs)))

    @cached_property
    def _model(self) -> Any:
        model = _load(self._directory)
        dimension = model.get_embedding_dimension()
        if dimension != self.provenance.dimension:
            raise InvalidRequest(
                f"model {self._name!r} computes {dimension} dimensions, but its configuration says "
                f"{self.provenance.dimension}"
            )
        return model


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


def _load(directory: Path) -> Any:
    from safetensors import SafetensorError
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        model = SentenceTransformer(
            str(directory),
            device="cpu",
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={"use_safetensors": True, "dtype": "float32"},
        )
    except (OSError, ValueError, SafetensorError) as error:
        raise InvalidRequest(f"model {directory.name} cannot be loaded: {error}") from error
    finally:
        if bars:
            logging.enable_progress_bar()
    return model.eval()


def _instruction_set() -> str:
    """Architecture, vendor and vector extension: what a matrix library chooses its code by."""
    import torch

    described = Path("/proc/cpuinfo")
    lines = described.read_text().splitlines() if described.is_file() else []
    vendors = {line.split(":")[1].strip() for line in lines if line.startswith("vendor_id")}
    capability = torch.backends.cpu.get_cpu_capability()
    return " ".join([machine(), *sorted(vendors), capability])
