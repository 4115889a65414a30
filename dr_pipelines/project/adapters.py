"""Policies become objects: the only place that builds adapters, and only when they are asked for.

`base` is the directory of the policies file, against which relative paths are taken; `environ` is
where `${NAME}` and credentials are looked up. Opening reads and writes nothing that it need not.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.host.extras import ExtraMissing
from dr_pipelines.host.permissions import Access
from dr_pipelines.model.collection import (
    CollectionSpec,
    Field,
    Metric,
    Vector,
    VectorIndex,
)
from dr_pipelines.model.components import (
    CharacterChunkerPolicy,
    EmbedderPolicy,
    HashingPolicy,
    HttpPolicy,
    JsonlSourcePolicy,
    SentenceTransformerPolicy,
    SourcePolicy,
    StorePolicy,
    TokenChunkerPolicy,
)
from dr_pipelines.model.lineage import Provenance
from dr_pipelines.model.notation import VECTOR_NAME, expand
from dr_pipelines.model.policy import CollectionPolicy
from dr_pipelines.planning.parts import namespace
from dr_pipelines.project.policy_file import InvalidPolicy, load_policies
from dr_pipelines.stores import engines
from dr_pipelines.stores.shared.engine import Engine, Location, Scheme
from dr_pipelines.stores.shared.naming import NO_NAMES, StoredNames

if TYPE_CHECKING:  # they bring Arrow, which `dr --help` does not need
    from dr_pipelines.embedders.light import LightQueries
    from dr_pipelines.protocols import (
        BlobStore,
        Catalog,
        Chunker,
        Embedder,
        NativeFiles,
        Source,
        VectorStore,
    )

__all__ = [
    "InvalidPolicy",
    "collection_provenance",
    "collection_spec",
    "declared_fields",
    "light_way",
    "load_policies",
    "open_blobs",
    "open_catalog",
    "open_chunker",
    "open_embedder",
    "open_native",
    "open_source",
    "open_store",
    "place",
    "require_readable",
]


def place(text: str, *, base: Path, environ: Mapping[str, str]) -> Path:
    """A path of the policies, absolute unless `base` is relative."""
    return base / Path(_expanded(text, environ)).expanduser()


def open_blobs(
    url: str,
    *,
    base: Path,
    environ: Mapping[str, str],
    access: Access = Access.PRIVATE,
) -> "BlobStore":
    """A directory, `file:` URL, `s3://bucket/prefix?endpoint=…`, or `memory:`, which is empty."""
    full = _expanded(url, environ)
    if full.startswith("s3:"):
        from dr_pipelines.blobs.s3 import open_s3

        return open_s3(full, environ)
    if full == "memory:":
        from dr_pipelines.blobs.memory import MemoryBlobStore

        return MemoryBlobStore()
    root = repository_directory(url, base=base, environ=environ)
    if root is None:
        raise InvalidRequest(f"repository {url!r}: expected a directory, file:, s3: or memory:")
    from dr_pipelines.blobs.local import LocalBlobStore

    return LocalBlobStore(root, access=access)


def repository_directory(url: str, *, base: Path, environ: Mapping[str, str]) -> Path | None:
    """The directory of a repository that is one, or the URL `file:` of one; None for others."""
    full = _expanded(url, environ)
    scheme, colon, _ = full.partition(":")
    if colon and scheme != "file":
        return None
    return base / (unquote(urlsplit(full).path) if colon else full)


def store_directory(policy: StorePolicy, *, base: Path, environ: Mapping[str, str]) -> Path | None:
    """The directory of an embedded store; None for a server, a bucket or a store in memory."""
    _, scheme, place = _engine_of(policy, environ)
    return scheme.directory(place, base=base)


def open_store(
    policy: StorePolicy,
    *,
    base: Path,
    environ: Mapping[str, str],
    names: Mapping[str, str] | None = None,
) -> "VectorStore":
    """The store of a policy; `memory:` is a new, empty one each time. `names` are what it calls
    collections that it calls otherwise (`stored_as`). Raises `InvalidRequest` where
    the packages of its engine are not installed, with the command that installs them."""
    engine, scheme, place = _engine_of(policy, environ)
    stored = _stored_names(engine, scheme, names or {})
    try:
        return engine.open(f"{scheme.name}:{place}", base=base, names=stored)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("dr_pipelines") or engine.extra is None:
            raise  # a defect, and no package to install
        purpose = f"{scheme.name}:"
        raise ExtraMissing(
            error.name or scheme.name, extra=engine.extra, purpose=purpose
        ) from error


def is_embedded(policy: StorePolicy, environ: Mapping[str, str]) -> bool:
    """True if the store's engine runs in this process: a twin of it costs a directory."""
    return _engine_of(policy, environ)[1].location is not Location.SERVER


def open_twin(policy: StorePolicy, directory: Path, environ: Mapping[str, str]) -> "VectorStore":
    """An empty store of the same embedded engine, in a directory that is there for it alone."""
    scheme = _engine_of(policy, environ)[1]
    place = "" if scheme.location is Location.MEMORY else directory
    return open_store(StorePolicy(url=f"{scheme.name}:{place}"), base=directory, environ=environ)


def open_catalog(
    policy: StorePolicy,
    *,
    base: Path,
    environ: Mapping[str, str],
    names: Mapping[str, str] | None = None,
) -> "Catalog":
    """The names in the store of a policy, without its engine where it has one."""
    engine, scheme, place = _engine_of(policy, environ)
    directory = scheme.directory(place, base=base)
    if engine.catalog is None or directory is None:
        return open_store(policy, base=base, environ=environ, names=names)
    _stored_names(engine, scheme, names or {})
    return engine.catalog(directory)


def open_native(store: "VectorStore") -> "NativeFiles | None":
    """A store's collections as files of their engine; None where it has none to keep."""
    engine = engines.engine_named(namespace(store.engine))
    if engine is None or engine.native_files is None:
        return None
    return engine.native_files(store)


def _stored_names(engine: Engine, scheme: Scheme, names: Mapping[str, str]) -> StoredNames:
    if not names:
        return NO_NAMES
    if not engine.takes_names:
        collection, stored = next(iter(names.items()))
        able = sorted(each.name for each in engines.engines().values() if each.takes_names)
        raise InvalidRequest(
            f"collection {collection!r} is stored_as {stored!r}: only stores of "
            f"{', '.join(able)} have names of their own here, not {scheme.name}:"
        )
    return StoredNames(dict(names))


def open_source(
    policy: SourcePolicy,
    *,
    base: Path,
    environ: Mapping[str, str],
    fields: Sequence[Field] = (),
    start: date | None = None,
) -> "Source":
    """The source of a collection that declares some fields and is kept from a first day on."""
    opened = _open_source(policy, base=base, environ=environ, fields=fields)
    if start is None:
        return opened
    from dr_pipelines.sources.baseline import BaselinedSource

    return BaselinedSource(opened, start)


def _open_source(
    policy: SourcePolicy, *, base: Path, environ: Mapping[str, str], fields: Sequence[Field]
) -> "Source":
    from dr_pipelines.sources.values import FieldTypes

    path, misfit = place(policy.path, base=base, environ=environ), FieldTypes(tuple(fields))
    if isinstance(policy, JsonlSourcePolicy):
        from dr_pipelines.sources.jsonl import JsonlSource

        return JsonlSource(path, misfit=misfit)
    from dr_pipelines.sources.git import GitSource

    ref = _expanded(policy.ref, environ)
    return GitSource(path, ref=ref, include=policy.include, exclude=policy.exclude, misfit=misfit)


def open_chunker(
    policy: CollectionPolicy,
    embedders: Mapping[str, EmbedderPolicy],
    *,
    base: Path,
    environ: Mapping[str, str],
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
            _model(named.model, base=base, environ=environ),
            max_tokens=chunker.max_tokens,
            overlap_tokens=chunker.overlap_tokens,
            title=chunker.title,
        )
    from dr_pipelines.chunkers.simple import CharacterChunker, WholeDocumentChunker

    if isinstance(chunker, CharacterChunkerPolicy):
        return CharacterChunker(chunker.size)
    return WholeDocumentChunker(title=chunker.title)


def open_embedder(policy: EmbedderPolicy, *, base: Path, environ: Mapping[str, str]) -> "Embedder":
    """The embedder of a policy; the model itself is loaded by its first use."""
    if isinstance(policy, HashingPolicy):
        from dr_pipelines.embedders.hashing import HashingEmbedder

        return HashingEmbedder(policy.dimension)
    if isinstance(policy, HttpPolicy):
        return _hosted(policy, base=base, environ=environ)
    from dr_pipelines.embedders.sentence_transformer import SentenceTransformerEmbedder

    return SentenceTransformerEmbedder(
        _model(policy.model, base=base, environ=environ),
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


def _hosted(policy: HttpPolicy, *, base: Path, environ: Mapping[str, str]) -> "Embedder":
    from dr_pipelines.embedders.http import HostedModel, HttpEmbedder
    from dr_pipelines.embedders.http_client import Limits
    from dr_pipelines.embedders.model_files import locate

    tokenizer = policy.tokenizer and _model(policy.tokenizer, base=base, environ=environ)
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
        _expanded(policy.url, environ),
        model,
        key=policy.api_key and _expanded(policy.api_key, environ),
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


def declared_fields(policy: CollectionPolicy) -> tuple[Field, ...]:
    """The fields that a collection declares."""
    return tuple(
        Field(name=column, type=field.type, filterable=field.filterable, role=field.role)
        for column, field in policy.fields.items()
    )


def collection_spec(
    name: str, policy: CollectionPolicy, *, embedder_dimension: int | None = None
) -> CollectionSpec:
    """The specification that the policy asks a store to create; without `dimension` in the policy,
    the embedder's is needed.
    """
    dimension = policy.dimension or embedder_dimension
    if dimension is None:
        raise InvalidRequest(f"collection {name!r}: its embedder's dimension is needed")
    return CollectionSpec(
        name=name,
        vectors=(
            Vector(
                name=VECTOR_NAME,
                dimension=dimension,
                metric=Metric(policy.metric),
                index=policy.index and VectorIndex(**policy.index.model_dump()),
            ),
        ),
        fields=declared_fields(policy),
        keyword_index=policy.keyword_index,
    )


def collection_provenance(
    *, source: "Source", chunker: "Chunker", embedder: "Embedder"
) -> Provenance:
    """How the collection's texts become vectors."""
    return Provenance(
        source=source.provenance, chunker=chunker.provenance, embedder=embedder.provenance
    )


def _engine_of(policy: StorePolicy, environ: Mapping[str, str]) -> tuple[Engine, Scheme, str]:
    """A store's engine, the scheme of its URL, and what follows the scheme's colon."""
    url = _expanded(policy.url, environ)
    name, _, place = url.partition(":")
    engine = engines.find_scheme(name)
    if engine is None or not engine[1].fits(url):
        raise InvalidRequest(f"store {policy.url!r}: expected {engines.url_forms()}")
    return (*engine, place)


def _model(text: str, *, base: Path, environ: Mapping[str, str]) -> str | Path:
    """A model's directory where there is one; else the name of a package or on the hub."""
    name = _expanded(text, environ)
    path = base / Path(name).expanduser()
    if path.is_dir() or name.startswith((".", "/", "~")):
        return path
    return name


def _expanded(text: str, environ: Mapping[str, str]) -> str:
    try:
        return expand(text, environ)
    except ValueError as error:
        raise InvalidRequest(f"{text!r}: {error}") from None
