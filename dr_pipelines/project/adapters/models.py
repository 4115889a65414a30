"""Adapters of chunkers and embedders, opened by their policies. A model itself is loaded by its
first use."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.collection_policy import CollectionPolicy
from dr_pipelines.model.components import (
    CharacterChunkerPolicy,
    EmbedderPolicy,
    HashingPolicy,
    HttpPolicy,
    SentenceTransformerPolicy,
    TokenChunkerPolicy,
)
from dr_pipelines.project.adapters.context import PolicyContext

if TYPE_CHECKING:
    from dr_pipelines.embedders.light import LightQueries
    from dr_pipelines.protocols import Chunker, Embedder


def open_chunker(
    policy: CollectionPolicy,
    embedders: Mapping[str, EmbedderPolicy],
    context: PolicyContext,
) -> "Chunker":
    """The chunker of a collection; `embedders` are those of the policies, for their tokenizers."""
    chunker = policy.chunker
    if chunker is None:
        raise InvalidRequest("a collection with authority store has no chunker: nothing is cut")
    if isinstance(chunker, TokenChunkerPolicy):
        from dr_pipelines.chunkers.token import TokenChunker

        named = embedders.get(chunker.tokenizer or policy.embedder or "")
        if not isinstance(named, SentenceTransformerPolicy):
            raise InvalidRequest("a chunker of kind tokens needs a tokenizer: name an embedder")
        return TokenChunker(
            _model(named.model, context),
            max_tokens=chunker.max_tokens,
            overlap_tokens=chunker.overlap_tokens,
            title=chunker.title,
        )
    from dr_pipelines.chunkers.simple import CharacterChunker, WholeDocumentChunker

    if isinstance(chunker, CharacterChunkerPolicy):
        return CharacterChunker(chunker.size)
    return WholeDocumentChunker(title=chunker.title)


def open_embedder(policy: EmbedderPolicy, context: PolicyContext) -> "Embedder":
    """The embedder of a policy; the model itself is loaded by its first use."""
    if isinstance(policy, HashingPolicy):
        from dr_pipelines.embedders.hashing import HashingEmbedder

        return HashingEmbedder(policy.dimension)
    if isinstance(policy, HttpPolicy):
        return _hosted(policy, context)
    from dr_pipelines.embedders.sentence_transformer import SentenceTransformerEmbedder

    return SentenceTransformerEmbedder(
        _model(policy.model, context),
        profile=policy.profile,
        batch_size=policy.batch_size,
        prompt=policy.prompt,
        query_prompt=policy.query_prompt,
        normalize=policy.normalize,
        dimension=policy.dimension,
        pooling=policy.pooling,
        threads=policy.threads,
        expected_weights_sha256=policy.weights_sha256,
        revision=policy.revision,
    )


def _hosted(policy: HttpPolicy, context: PolicyContext) -> "Embedder":
    from dr_pipelines.embedders.http import HostedModel, HttpEmbedder
    from dr_pipelines.embedders.http_client import Limits
    from dr_pipelines.embedders.model_files import locate

    tokenizer = policy.tokenizer and _model(policy.tokenizer, context)
    model = HostedModel(
        name=policy.model,
        dimension=policy.dimension,
        max_tokens=policy.max_tokens,
        revision=policy.revision,
        prompt=policy.prompt or "",
        query_prompt=policy.query_prompt or "",
        normalize=policy.normalize,
        request_dimension=policy.request_dimension,
        encoding=policy.encoding,
        batch_size=policy.batch_size,
        tokenizer=locate(tokenizer) if tokenizer else None,
    )
    limits = Limits(policy.timeout.total_seconds(), policy.retries, policy.requests_per_minute)
    return HttpEmbedder(
        context.expand(policy.url),
        model,
        key=policy.api_key and context.expand(policy.api_key),
        key_name=(policy.api_key or "").strip("${}"),
        limits=limits,
    )


def light_way(embedder: "Embedder") -> "LightQueries | str":
    """The way to an embedder's query vectors without its library, or why there is none."""
    from dr_pipelines.embedders.sentence_transformer import SentenceTransformerEmbedder

    if isinstance(embedder, SentenceTransformerEmbedder):
        return embedder.light()
    return "it needs no library"


def require_readable(name: str, chunker: "Chunker", model: "Embedder", *, embedder: str) -> None:
    """Raise `InvalidRequest` where a chunker is allowed chunks that the model would not read to
    their end, its prompt counted in. Reads files, loads nothing."""
    chunk_tokens, limit = chunker.provenance.settings.get("max_tokens"), model.provenance.max_tokens
    if chunk_tokens is None or limit is None:
        return
    prompt = model.prompt_tokens()
    if chunk_tokens + prompt > limit:
        prompt_share = f", of which its prompt takes {prompt}" if prompt else ""
        raise InvalidRequest(
            f"collections.{name}.chunker.max_tokens is {chunk_tokens}, but embedder "
            f"{embedder!r} reads {limit} tokens{prompt_share}: longer chunks would lose their end. "
            f"Set max_tokens to at most {limit - prompt}, or name a model that reads more"
        )


def _model(text: str, context: PolicyContext) -> str | Path:
    """A model's directory where there is one; else the name of a package or on the hub."""
    name = context.expand(text)
    path = context.base / Path(name).expanduser()
    if path.is_dir() or name.startswith((".", "/", "~")):
        return path
    return name
