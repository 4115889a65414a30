"""A team's policy: where things are, and how much of each collection may be lost."""

from datetime import date, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    ConfigDict,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic import Field as Key
from pydantic.config import JsonDict

from dr_pipelines.errors import NotFound
from dr_pipelines.model.collection import MAX_DIMENSION, PARAMETER, FieldType
from dr_pipelines.model.components import (
    ChunkerPolicy,
    EmbedderPolicy,
    OfEngines,
    Policy,
    SourcePolicy,
    StorePolicy,
    TokenChunkerPolicy,
)
from dr_pipelines.model.notation import (
    LOCAL,
    MODEL,
    Duration,
    EmbedderName,
    FieldName,
    Name,
    Place,
    StoreName,
    Surroundings,
    Text,
    form,
    one_of,
    refuse_variables,
    surroundings,
)

REPOSITORY = form(
    "s3://[^/?#]+.*|file:/.+|memory:|[^:]+",
    "a directory, s3://BUCKET/PREFIX, file:/PATH or memory:",
)
Authority = Literal["source", "store", "mixed"]


class FieldPolicy(Policy):
    """A typed value that every record carries."""

    type: FieldType = Key(description="What its values are.", examples=["list[string]"])
    filterable: bool = Key(
        default=True, description="Whether queries may filter by it.", examples=[False]
    )
    role: Literal["tenant", "principals"] | None = Key(
        default=None,
        description="`tenant`: whose record this is (a string). `principals`: who may see it (a "
        "list of strings). At most one field each.",
        examples=["tenant"],
    )

    @field_validator("role")
    @classmethod
    def _role_fits(cls, role: str | None, info: ValidationInfo) -> str | None:
        needed = {"tenant": FieldType.STRING, "principals": FieldType.STRINGS}.get(role or "")
        if needed and info.data.get("type", needed) != needed:
            raise ValueError(f"expected another role, or the type {needed}, which this role needs")
        if needed and not info.data.get("filterable", True):
            raise ValueError("expected no role, or a field that is filterable")
        return role


MOST = {
    "m": 2_048,
    "ef_construction": 1_000_000,
    "ef_search": 1_000_000,
    "lists": 1_000_000,
    "probes": 1_000_000,
    "sub_vectors": MAX_DIMENSION,
    "bits": 64,
}
"""The largest that any engine takes, and more than makes sense: some engines check none, and one
takes all the memory there is for a graph of -1 links."""


def _parameters(value: Any) -> dict[str, bool | int | float | str]:
    problem = ""
    if not isinstance(value, dict):
        problem = "a mapping"
    else:
        for name, parameter in value.items():
            if not PARAMETER.fullmatch(str(name)):
                problem = f"names such as ef_construction, not {name!r}"
            elif not isinstance(parameter, bool | int | float | str):
                problem = f"a number, text, true or false as {name}, not {parameter!r}"
            elif name in MOST and (type(parameter) is not int or not 1 <= parameter <= MOST[name]):
                problem = f"a whole number from 1 to {MOST[name]:,} as {name}, not {parameter!r}"
    if problem:
        raise ValueError(f"expected {problem}")
    return dict(value)


Parameters = Annotated[
    dict[str, bool | int | float | str],
    PlainValidator(_parameters),
    WithJsonSchema(
        {
            "type": "object",
            "propertyNames": {"pattern": f"^{PARAMETER.pattern}$"},
            "properties": {
                name: {"type": "integer", "minimum": 1, "maximum": most}
                for name, most in MOST.items()
            },
            "additionalProperties": {"type": ["boolean", "number", "string"]},
        }
    ),
]


MOST_NAME_BYTES = 200
"""Of what a store calls a collection: an engine in a directory puts something around it."""


def _stored_name(text: str) -> str:
    if not text.isprintable() or text != text.strip() or len(text.encode()) > MOST_NAME_BYTES:
        raise ValueError(
            f"expected at most {MOST_NAME_BYTES} bytes of text that can be printed, without spaces "
            "around it"
        )
    return refuse_variables(text)


class IndexPolicy(Policy):
    """An index for approximate vector search, in a store that builds one."""

    kind: Annotated[
        str, form("[a-z][a-z0-9_]{0,62}", "the kind of an index such as hnsw or ivf_flat")
    ] = Key(
        description="What kind of index. A store that has no such kind builds the one it has; one "
        "that searches exactly builds none.",
        examples=["hnsw"],
    )
    parameters: Parameters = Key(
        default={},
        description="Its parameters by their usual names: `m`, `ef_construction`, `ef_search`, "
        "`lists`, `probes` …",
        examples=[{"m": 16, "ef_construction": 64}],
    )


class Degradation(Policy):
    """How much worse answers may be after a recovery."""

    recall: Annotated[float, Key(gt=0, le=1)] | None = Key(
        default=None,
        description="Smallest share of the right documents that queries must still find.",
        examples=[0.95],
    )
    latency_ms: Annotated[float, Key(gt=0)] | None = Key(
        default=None, description="Longest time of a query, in milliseconds.", examples=[200]
    )


class Objective(Policy):
    """How much data, time and quality may be lost."""

    rpo: Duration = Key(
        description="Recovery point objective: the age that a change may reach before a recovery "
        "point covers it.",
        examples=["1h"],
    )
    rto: Duration = Key(
        description="Recovery time objective: how long a recovery may take, until it is served.",
        examples=["30m"],
    )
    degradation: Degradation = Key(
        default=Degradation(), description="What answers must be like after a recovery."
    )


class TrialPolicy(Policy):
    """Where and how often it is tried whether a collection can be put back."""

    store: StoreName | None = Key(
        default=None,
        description="A scratch store of the same engine, one of `stores`, in which this may make "
        "and drop collections of its own (`dr_trial_…`). An embedded engine needs none: it is "
        "tried in a directory that is made for it.",
        examples=["scratch"],
    )
    every: Duration = Key(
        default=timedelta(days=7),
        description="How old a trial may be while nothing changes. It is repeated by the next "
        "backup whenever the configuration, the edges of the values or the engine's version "
        "changed.",
        examples=["7d"],
    )


NEEDS_SOURCE = ("source", "chunker", "embedder", "partitions_start")
BY_AUTHORITY: JsonDict = {
    "if": {"properties": {"authority": {"const": "store"}}, "required": ["authority"]},
    "then": {
        "required": ["dimension"],
        "properties": {key: {"type": "null"} for key in NEEDS_SOURCE},
    },
    "else": {"required": [*NEEDS_SOURCE], "properties": {"dimension": {"type": "null"}}},
}
"""The checks of `CollectionPolicy` below, for editors."""


class CollectionPolicy(Policy):
    """A collection: what it is made of, who cares for it, and what may be lost of it."""

    model_config = ConfigDict(json_schema_extra=BY_AUTHORITY)

    owner: Text = Key(description="Who decides about it.", examples=["team:search"])
    escalation: Text | None = Key(
        default=None,
        description="Whom to call when an objective is missed; by default the owner.",
        examples=["oncall@example.com"],
    )
    authority: Authority = Key(
        default="source",
        description="Where the truth is. `source`: everything can be read from the source again. "
        "`store`: nothing can, the live store is all there is. `mixed`: records come from the "
        "source and are edited in the store, and what only the store has stays when a rewritten "
        "source is accepted.",
        examples=["mixed"],
    )
    store: StoreName = Key(
        description="The store that serves it, one of `stores`.", examples=["local"]
    )
    stored_as: Annotated[str, AfterValidator(_stored_name)] | None = Key(
        default=None,
        min_length=1,
        description="What the store calls it, where that is no name that a collection may have "
        "here: with spaces, in any script. By default the collection's own name. For "
        f"{OfEngines.TAKING_NAMES}; names that this package gives (`NAME@…`) follow the "
        "collection's own.",
        examples=["Моя таблица"],
    )
    source: Annotated[SourcePolicy, Key(discriminator="kind")] | None = Key(
        default=None,
        validate_default=True,
        description="Where documents come from. Needed, but refused with authority `store`.",
    )
    chunker: Annotated[ChunkerPolicy, Key(discriminator="kind")] | None = Key(
        default=None,
        validate_default=True,
        description="How documents are cut. Needed, but refused with authority `store`.",
    )
    embedder: EmbedderName | None = Key(
        default=None,
        validate_default=True,
        description="What makes their vectors, one of `embedders`. Needed, but refused with "
        "authority `store`.",
        examples=["minilm"],
    )
    search_embedder: EmbedderName | None = Key(
        default=None,
        description="What embeds the queries of `dr search`, one of `embedders`, for a collection "
        "with authority `store`; refused elsewhere, where `embedder` does. Nothing proves that it "
        "is the model that made the vectors.",
        examples=["minilm"],
    )
    partitions_start: date | None = Key(
        default=None,
        validate_default=True,
        description="First day of the date partitions, UTC. What the source said before is read as "
        "one state, in the partition of this day. Needed, but refused with authority `store`.",
        examples=["2026-01-05"],
    )
    dimension: Annotated[int, Key(ge=1, le=MAX_DIMENSION)] | None = Key(
        default=None,
        validate_default=True,
        description="Components of a vector. Refused, but needed with authority `store`, where no "
        "embedder says it.",
        examples=[384],
    )
    metric: Literal["cosine", "dot", "l2"] = Key(
        default="cosine", description="How vectors are compared.", examples=["dot"]
    )
    keyword_index: bool = Key(
        default=True, description="Whether texts can be searched by keyword.", examples=[False]
    )
    index: IndexPolicy | None = Key(
        default=None,
        description="The index of its vectors; by default what the store builds by itself. A "
        "collection with authority `store` is described by its store.",
    )
    fields: dict[FieldName, FieldPolicy] = Key(
        default={},
        description="Declared fields, by name. Metadata that is not declared is kept as JSON.",
    )
    priority: Annotated[int, Key(ge=1, le=1000)] = Key(
        default=100, description="Order of recovery, 1 first, then by name.", examples=[1]
    )
    objectives: Objective = Key(description="What may be lost.")
    trial: TrialPolicy | None = Key(
        default=None, description="Where it is tried whether it can be put back."
    )

    @field_validator(*NEEDS_SOURCE)
    @classmethod
    def _made_from_a_source(cls, value: Any, info: ValidationInfo) -> Any:
        authority = info.data.get("authority")
        if authority == "store" and value is not None:
            raise ValueError("expected none, because authority is store: nothing is read again")
        if authority in ("source", "mixed") and value is None:
            raise ValueError(f"expected one, because authority is {authority}")
        return value

    @field_validator("search_embedder")
    @classmethod
    def _queries_have_one_model(cls, name: str | None, info: ValidationInfo) -> str | None:
        if name is not None and info.data.get("authority") in ("source", "mixed"):
            raise ValueError("expected none: queries are embedded by the collection's embedder")
        return name

    @field_validator("dimension")
    @classmethod
    def _dimension_is_said_once(cls, value: int | None, info: ValidationInfo) -> int | None:
        authority = info.data.get("authority")
        if authority == "store" and value is None:
            raise ValueError("expected one, because authority is store and no embedder says it")
        if authority in ("source", "mixed") and value is not None:
            raise ValueError(f"expected none, because authority is {authority}: the embedder says")
        return value

    @field_validator("embedder")
    @classmethod
    def _tokens_are_some_models(cls, name: str | None, info: ValidationInfo) -> str | None:
        around, chunker = surroundings(info), info.data.get("chunker")
        counts_its_own = isinstance(chunker, TokenChunkerPolicy) and chunker.tokenizer is None
        if around and counts_its_own and around.embedders.get(name or "", MODEL) != MODEL:
            raise ValueError(f"expected an embedder of kind {MODEL}, or a tokenizer in chunker")
        return name

    @field_validator("fields")
    @classmethod
    def _roles_are_given_once(cls, fields: dict[str, FieldPolicy]) -> dict[str, FieldPolicy]:
        for role in ("tenant", "principals"):
            holders = [name for name, field in fields.items() if field.role == role]
            if len(holders) > 1:
                raise ValueError(
                    f"expected one field with the role {role}, not {' and '.join(holders)}"
                )
        return fields


class Policies(Policy):
    """All that `policies.yaml` says."""

    version: Literal[1] = Key(description="The version of this file's form.", examples=[1])
    repository: Annotated[Place, REPOSITORY] = Key(
        description="Where recovery points are kept: a directory, or "
        "`s3://BUCKET/PREFIX?endpoint=URL` (and `&checksums=no` where the server refuses "
        "the header `x-amz-checksum-sha256`), with credentials from the environment "
        "(`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`). `memory:` keeps nothing.",
        examples=["s3://backups/vectors"],
    )
    state: Annotated[Place, LOCAL] = Key(
        default=".dr/state",
        description="A directory of this machine for locks, the log heads it has seen and scratch "
        "space. Not shared, not backed up.",
        examples=[".dr/state"],
    )
    access: Literal["private", "group"] = Key(
        default="private",
        description="Who may look into what is made on this machine (a repository in a directory, "
        "`state`, stores in directories, temporary files): `private`: only the user who runs this; "
        "`group`: the directory's group too. What is there already keeps its modes.",
        examples=["group"],
    )
    stores: dict[Name, StorePolicy] = Key(description="Vector stores, by name.", min_length=1)
    embedders: dict[Name, Annotated[EmbedderPolicy, Key(discriminator="kind")]] = Key(
        default={}, description="What makes vectors of texts, by name."
    )
    collections: dict[Name, CollectionPolicy] = Key(
        description="Collections, by the name that users query.", min_length=1
    )

    def collection(self, name: str) -> CollectionPolicy:
        """The policy of a collection; raises `NotFound` with the names there are."""
        if name not in self.collections:
            raise NotFound(
                f"no policy for {name!r}: {one_of('a collection', name, self.collections)}"
            )
        return self.collections[name]

    def stored_names(self, store: str) -> dict[str, str]:
        """Collection → what a store calls it, for those that it calls otherwise; raises
        `ValueError` where one name is given twice."""
        here = {name: policy for name, policy in self.collections.items() if policy.store == store}
        called = {name: p.stored_as for name, p in here.items() if p.stored_as not in (None, name)}
        names = {name: stored for name, stored in called.items() if stored is not None}
        taken = [*names.values(), *(name for name in here if name not in names)]
        twice = sorted(name for name in set(taken) if taken.count(name) > 1)
        if twice:
            raise ValueError(f"expected one collection of {store!r} that is stored as {twice[0]!r}")
        return names

    @model_validator(mode="after")
    def _names_are_declared(self, info: ValidationInfo) -> Self:
        """Policies made in code are checked here, those of a file where each name stands."""
        for store in self.stores:
            self.stored_names(store)
        if surroundings(info) is None:
            kinds = {name: embedder.kind for name, embedder in self.embedders.items()}
            around = Surroundings(stores=tuple(self.stores), embedders=kinds)
            for collection in self.collections.values():
                CollectionPolicy.model_validate(collection.model_dump(), context=around)
        return self
