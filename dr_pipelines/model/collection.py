"""What is needed to create a collection again, empty."""

import re
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field as Constraint
from pydantic import model_validator

from dr_pipelines.model.base import Stored

MAX_DIMENSION = 65_536
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")
PHYSICAL_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}(@[A-Za-z0-9._-]{1,40})?")

FIXED_COLUMNS = ("id", "document_id", "chunk_index", "text", "uri", "extra")
RESERVED_COLUMNS = frozenset(FIXED_COLUMNS) | frozenset(
    [
        "epoch",
        "position",
        "ordinal",
        "edit",
        "generation",
        "sequence",
        "presence",
        "chunk_count",
        "document_sha256",
        "content_digest",
        "vector_digest",
        "provenance",
        "batch",
        "updated_at",
        "prefix",
        "metadata",
        "segment",
        "row",
        "score",
    ]
)


class Metric(StrEnum):
    COSINE = "cosine"
    DOT = "dot"
    L2 = "l2"


class FieldType(StrEnum):
    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    TIMESTAMP = "timestamp"
    STRINGS = "list[string]"


ColumnName = Annotated[str, Constraint(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")]


class Field(Stored):
    """A typed value carried by every record; always nullable."""

    name: ColumnName
    type: FieldType
    filterable: bool = True
    role: Literal["tenant", "principals"] | None = None


class Vector(Stored):
    """A named float32 vector column."""

    name: ColumnName = "embedding"
    dimension: Annotated[int, Constraint(ge=1, le=MAX_DIMENSION)]
    metric: Metric = Metric.COSINE
    dtype: Literal["float32"] = "float32"


class CollectionSpec(Stored):
    """Schema and index configuration of a collection.

    `name` is the physical name in a store, or the alias in a policy. `origin` says what a physical
    collection was built from; it is a label, not part of the contract (see `same_contract`).
    """

    name: str
    vectors: tuple[Vector, ...]
    fields: tuple[Field, ...] = ()
    keyword_index: bool = True
    origin: str | None = None

    @model_validator(mode="after")
    def _names_are_usable(self) -> Self:
        if not PHYSICAL_NAME.fullmatch(self.name):
            raise ValueError(f"collection name {self.name!r}: expected {PHYSICAL_NAME.pattern}")
        if not self.vectors:
            raise ValueError(f"collection {self.name!r} declares no vector")
        names = [v.name for v in self.vectors] + [f.name for f in self.fields]
        for name in names:
            if name in RESERVED_COLUMNS or names.count(name) > 1:
                raise ValueError(f"column name {name!r} is reserved or used twice")
        for role in ("tenant", "principals"):
            if sum(f.role == role for f in self.fields) > 1:
                raise ValueError(f"more than one field has the role {role!r}")
        return self

    def same_contract(self, other: "CollectionSpec") -> bool:
        """Whether both describe the same collection, whatever it is called or was built from."""
        plain = {"name": "same", "origin": None}
        return self.model_copy(update=plain) == other.model_copy(update=plain)

    def physical(self, name: str, *, origin: str | None = None) -> "CollectionSpec":
        """The same contract under a physical name."""
        return self.model_copy(update={"name": name, "origin": origin})

    def field(self, name: str) -> Field | None:
        return next((f for f in self.fields if f.name == name), None)

    def with_role(self, role: Literal["tenant", "principals"]) -> Field | None:
        return next((f for f in self.fields if f.role == role), None)


class CollectionStatus(Stored):
    """What a store says of a physical collection."""

    records: int
    indexed: bool
    size_bytes: int
