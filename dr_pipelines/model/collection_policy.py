"""A team's policy for one collection: how it is made, and how much of it may be lost."""

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    ConfigDict,
    ValidationInfo,
    field_validator,
)
from pydantic import Field as Key
from pydantic.config import JsonDict

from dr_pipelines.model.collection import MAX_DIMENSION
from dr_pipelines.model.collection_keys import FieldPolicy, IndexPolicy, Objective, TrialPolicy
from dr_pipelines.model.components import (
    ChunkerPolicy,
    OfEngines,
    Policy,
    SourcePolicy,
    TokenChunkerPolicy,
)
from dr_pipelines.model.notation import (
    LOCAL,
    MODEL,
    EmbedderName,
    FieldName,
    Name,
    Place,
    StoreName,
    Text,
    refuse_variables,
    surroundings,
)

Authority = Literal["source", "store", "mixed"]


MOST_NAME_BYTES = 200
"""Of what a store calls a collection: an engine in a directory puts something around it."""


def _stored_name(text: str) -> str:
    if not text.isprintable() or text != text.strip() or len(text.encode()) > MOST_NAME_BYTES:
        raise ValueError(
            f"expected at most {MOST_NAME_BYTES} bytes of text that can be printed, without spaces "
            "around it"
        )
    return refuse_variables(text)


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
    depends_on: tuple[Name, ...] = Key(
        default=(),
        description="Collections without which it is of no use: a recovery brings them back first, "
        "whatever their priority.",
        examples=[["permissions"]],
    )
    objectives: Objective = Key(description="What may be lost.")
    golden: Annotated[Place, LOCAL] | None = Key(
        default=None,
        description="Queries and what must come of them, a file (docs/golden.md).",
        examples=["golden/handbook.yaml"],
    )
    trial: TrialPolicy | None = Key(
        default=None,
        description="Where a test restore is made to find out whether it can be restored.",
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
