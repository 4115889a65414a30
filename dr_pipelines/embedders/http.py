"""Models behind HTTP, in the request form of OpenAI's `/v1/embeddings`, which most services speak.

Such a model has no files: its name, address and declared revision are its provenance, and canaries
decide whether it is still the same.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import numpy as np

from dr_pipelines.embedders.http_client import Limits, Service
from dr_pipelines.errors import InvalidRequest, TextTooLong
from dr_pipelines.model.lineage import EmbedderProvenance, Environment
from dr_pipelines.model.query import FloatArray
from dr_pipelines.protocols import Progress

COMPONENT_BYTES = 32
OVERHEAD_BYTES = 1 << 20
LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class HostedModel:
    """Configuration of a hosted model: what a request holds, and how a response is read.

    `max_tokens` is what the model reads of one text, prompt included; without a `tokenizer` the
    bytes of the text count, which are never fewer than its tokens. `request_dimension` asks the
    service for so many components.
    """

    name: str
    dimension: int
    max_tokens: int
    revision: str | None = None
    prompt: str = ""
    query_prompt: str = ""
    normalize: bool = True
    request_dimension: bool = False
    encoding: Literal["float", "base64"] = "float"
    batch_size: int = 64
    tokenizer: Path | None = None


class HttpEmbedder:
    """Vectors from a service at `url`, which is given whole, `https://…/v1/embeddings`.

    `key` is sent as a bearer token, and only over TLS or to this machine; `key_name` is what
    messages call it. No text is ever cut, here or, as far as canaries can tell, there.
    """

    def __init__(
        self,
        url: str,
        model: HostedModel,
        *,
        key: str | None = None,
        key_name: str = "",
        limits: Limits | None = None,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidRequest("url of an embedder: expected https://HOST/v1/embeddings")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise InvalidRequest(
                "url of an embedder: expected no user, password or query in it; a key belongs in "
                "api_key"
            )
        if key and parts.scheme == "http" and parts.hostname not in LOOPBACK:
            raise InvalidRequest(
                f"url of an embedder: expected https, since the key would go to {parts.hostname} "
                "in the clear"
            )
        self._model = model
        self._endpoint = parts.netloc + parts.path
        place = f"embedding service {self._endpoint}"
        self.service = Service(url, place, limits or Limits(), key=key, key_name=key_name)

    @cached_property
    def provenance(self) -> EmbedderProvenance:
        model = self._model
        return EmbedderProvenance(
            name=model.name,
            revision=model.revision,
            endpoint=self._endpoint,
            tokenizer_sha256=self._tokenizer_sha256(),
            dimension=model.dimension,
            normalized=model.normalize,
            prompt=model.prompt,
            query_prompt=model.query_prompt,
            max_tokens=model.max_tokens,
        )

    @property
    def environment(self) -> Environment:
        """The environment of the service: nothing on this machine affects its vectors."""
        return Environment(profile="hosted")

    @property
    def reproducible(self) -> bool:
        return False

    def prompt_tokens(self) -> int:
        return self._counts([self._model.prompt])[0] if self._model.prompt else 0

    def embed(self, texts: Sequence[str], *, progress: Progress | None = None) -> FloatArray:
        return self._embed(texts, self._model.prompt, progress)

    def embed_queries(self, texts: Sequence[str]) -> FloatArray:
        return self._embed(texts, self._model.query_prompt, None)

    def _embed(self, texts: Sequence[str], prompt: str, progress: Progress | None) -> FloatArray:
        inputs = [prompt + text for text in texts]
        self._require_read_whole(inputs)
        vectors = np.empty((len(inputs), self._model.dimension), np.float32)
        for start in range(0, len(inputs), self._model.batch_size):
            part = inputs[start : start + self._model.batch_size]
            vectors[start : start + len(part)] = self._batch(part)
            if progress:
                progress(start + len(part), len(inputs))
        return vectors

    def _batch(self, inputs: list[str]) -> FloatArray:
        model = self._model
        body: dict[str, Any] = {
            "model": model.name,
            "input": [text or " " for text in inputs],  # services refuse an empty text
            "encoding_format": model.encoding,
        }
        if model.request_dimension:
            body["dimensions"] = model.dimension
        limit = len(inputs) * model.dimension * COMPONENT_BYTES + OVERHEAD_BYTES
        answer = self.service.post(body, limit_bytes=limit)
        vectors = read_vectors(
            answer, count=len(inputs), dimension=model.dimension, place=self.service.place
        )
        return _unit(vectors, self.service.place) if model.normalize else vectors

    def _require_read_whole(self, inputs: Sequence[str]) -> None:
        limit = self._model.max_tokens
        counts = enumerate(self._counts(inputs))
        over = {place: count for place, count in counts if count > limit}
        if over:
            unit = "tokens" if self._model.tokenizer else "bytes (no tokenizer is named)"
            raise TextTooLong(over, limit=limit, model=self._model.name, unit=unit)

    def _counts(self, inputs: Sequence[str]) -> list[int]:
        if self._model.tokenizer is None:
            return [len(text.encode()) for text in inputs]
        return list(self._tokens.counts(inputs))

    @cached_property
    def _tokens(self) -> Any:
        from dr_pipelines.embedders.model_files import tokenizer_file
        from dr_pipelines.embedders.tokens import Tokens

        return Tokens(tokenizer_file(self._model.tokenizer or Path()))

    def _tokenizer_sha256(self) -> str | None:
        from dr_pipelines.embedders.model_files import file_sha256, tokenizer_file

        tokenizer = self._model.tokenizer
        return file_sha256(tokenizer_file(tokenizer)) if tokenizer else None


def read_vectors(answer: Any, *, count: int, dimension: int, place: str) -> FloatArray:
    """The vectors of an answer in the order of the texts, whatever order it has them in.

    Raises `InvalidRequest` unless there is one for each text, of the dimension, and finite.
    """
    items = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(items, list) or len(items) != count:
        got = f"{len(items)} vectors" if isinstance(items, list) else "no list of vectors"
        raise InvalidRequest(f"{place}: {got} in the answer to {count} texts")
    vectors, seen = np.empty((count, dimension), np.float32), set[int]()
    for item in items:
        index = item.get("index") if isinstance(item, dict) else None
        if type(index) is not int or not 0 <= index < count or index in seen:
            raise InvalidRequest(
                f"{place}: its answer does not say which vector is of which of {count} texts"
            )
        seen.add(index)
        vectors[index] = _vector(item.get("embedding"), dimension, place)
    return vectors


def _vector(value: Any, dimension: int, place: str) -> FloatArray:
    try:
        if isinstance(value, str):
            vector = np.frombuffer(base64.b64decode(value, validate=True), "<f4")
        else:
            vector = np.array([*value], np.float64)
        with np.errstate(over="ignore"):  # what float32 cannot hold is not finite below
            vector = vector.astype(np.float32)
    except (ValueError, TypeError, OverflowError):
        raise InvalidRequest(f"{place}: a vector of its answer is no list of numbers") from None
    if vector.shape != (dimension,):
        raise InvalidRequest(
            f"{place}: its vectors have {vector.size} components, and dimension says {dimension}"
        )
    if not np.isfinite(vector).all():
        raise InvalidRequest(f"{place}: a vector of its answer is not finite")
    return vector


def _unit(vectors: FloatArray, place: str) -> FloatArray:
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    if not norms.all():
        raise InvalidRequest(f"{place}: a vector of its answer is zero, which has no direction")
    unit: FloatArray = (vectors / norms).astype(np.float32)
    return unit
