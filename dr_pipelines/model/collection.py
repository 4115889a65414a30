"""The specification of a collection: enough to create it again, empty."""

import re
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, model_validator
from pydantic import Field as Constraint

from dr_pipelines.model.base import Stored

MAX_DIMENSION = 65_536
UNBOUNDED = 2**32
"""The dimension of a sparse vector whose engine declares none: an index is below it."""
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")
PARAMETER = re.compile(r"[a-z][a-z0-9_]{0,62}")
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
    L1 = "l1"
    HAMMING = "hamming"
    JACCARD = "jaccard"


class VectorKind(StrEnum):
    """One vector a record, one with few components that are not 0, or any number of vectors."""

    DENSE = "dense"
    SPARSE = "sparse"
    MULTI = "multi"


class VectorType(StrEnum):
    """The type in which a store keeps a component. Components travel as float32, which holds every
    value of all of them.
    """

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"
    INT8 = "int8"
    UINT8 = "uint8"
    BIT = "bit"


class FieldType(StrEnum):
    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    TIMESTAMP = "timestamp"
    STRINGS = "list[string]"


MAX_NESTING = 16


def _shallow(section: dict[str, Any]) -> dict[str, Any]:
    if _depth(section) > MAX_NESTING:
        raise ValueError(f"an engine's section is nested deeper than {MAX_NESTING}")
    return section


def _depth(value: object) -> int:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max((_depth(item) for item in items), default=0)


ColumnName = Annotated[str, Constraint(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")]
ParameterName = Annotated[str, Constraint(pattern=f"^{PARAMETER.pattern}$")]
EngineName = Annotated[str, Constraint(pattern=r"^[a-z][a-z0-9_]{0,30}$")]
EngineSection = Annotated[dict[str, Any], AfterValidator(_shallow)]
"""JSON values only."""


class Field(Stored):
    """A typed value carried by every record; always nullable."""

    name: ColumnName
    type: FieldType
    filterable: bool = True
    role: Literal["tenant", "principals"] | None = None


class VectorIndex(Stored):
    """An index for approximate search: `hnsw`, `ivf_flat`, `ivf_pq`, `ivf_hnsw_sq`, `diskann` …

    Parameters have their usual names, whatever an engine calls them: `m`, `ef_construction`,
    `ef_search`; `lists`, `probes`; `sub_vectors`, `bits`. What only one engine has is in the
    `engine` section of the collection.
    """

    kind: Annotated[str, Constraint(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
    parameters: dict[ParameterName, bool | int | float | str] = {}


class Vector(Stored):
    """A named vector column. A `sparse` one has the dimension that its engine declares, or
    `UNBOUNDED`; of a `multi` one it is that of each of its vectors. Without an index every search
    is exact."""

    name: ColumnName = "embedding"
    dimension: Annotated[int, Constraint(ge=1, le=UNBOUNDED)]
    metric: Metric = Metric.COSINE
    dtype: VectorType = VectorType.FLOAT32
    kind: VectorKind = VectorKind.DENSE
    index: VectorIndex | None = None

    @model_validator(mode="after")
    def _dimension_fits(self) -> Self:
        if self.kind is not VectorKind.SPARSE and self.dimension > MAX_DIMENSION:
            raise ValueError(f"vector {self.name!r}: expected at most {MAX_DIMENSION} components")
        return self


class CollectionSpec(Stored):
    """Schema and index configuration of a collection.

    `name` is the physical name in a store, or the alias in a policy. `origin` says what a physical
    collection was built from; it is a label, not part of the contract (see `same_contract`).

    Columns and what they mean are the contract; everything else is configuration, compared part by
    part after a restore (`planning.parts`): indexes, `shards`, `replicas`, other `aliases` under
    which it is served, and `engine`, what only one engine has, under that engine's name. A store
    keeps the sections of other engines as they are, so that a way back restores them.
    """

    name: str
    vectors: tuple[Vector, ...]
    fields: tuple[Field, ...] = ()
    keyword_index: bool = True
    shards: Annotated[int, Constraint(ge=1)] | None = None
    replicas: Annotated[int, Constraint(ge=1)] | None = None
    aliases: tuple[str, ...] = ()
    engine: dict[EngineName, EngineSection] = {}
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
        """True if both have the same columns with the same meaning; names, origin and configuration
        may differ.
        """
        return self.contract() == other.contract()

    def contract(self) -> "CollectionSpec":
        """The columns and what they mean, without a name and without configuration."""
        vectors = tuple(v.model_copy(update={"index": None}) for v in self.vectors)
        return CollectionSpec(
            name="contract", vectors=vectors, fields=self.fields, keyword_index=self.keyword_index
        )

    def physical(self, name: str, *, origin: str | None = None) -> "CollectionSpec":
        """The same contract under a physical name."""
        return self.model_copy(update={"name": name, "origin": origin})

    def field(self, name: str) -> Field | None:
        return next((f for f in self.fields if f.name == name), None)

    def with_role(self, role: Literal["tenant", "principals"]) -> Field | None:
        return next((f for f in self.fields if f.role == role), None)


class CollectionStatus(Stored):
    """A physical collection as its store reports it."""

    records: int
    indexed: bool
    size_bytes: int
