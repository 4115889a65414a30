"""The parts of a collection's policy: fields, index, objectives, trials."""

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import Field as Key
from pydantic import (
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)

from dr_pipelines.model.assurance import DAYS, Assurance, Required
from dr_pipelines.model.collection import MAX_DIMENSION, PARAMETER, FieldType
from dr_pipelines.model.components import (
    Policy,
)
from dr_pipelines.model.notation import (
    Duration,
    StoreName,
    form,
)


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
    allowance: Duration | None = Key(
        default=None,
        description="Of the RTO, the time that people need: until somebody notices and decides, "
        "and until users are told. It is added to what a recovery took; the sum is held to `rto`.",
        examples=["10m"],
    )
    assurance: Assurance = Key(
        default=Assurance.EVERY_VALUE,
        description="The least that a recovery point must rest on to count for `rpo`. `every value "
        "read`: every record was read and its digests computed anew. `files hashed`: the engine's "
        "files that never change were hashed and are those that were read before, what is new was "
        "read; of engines without such files every value is read. `signs of change only`: the "
        "engine reported no change, and no record was read; damage that it does not notice is not "
        "found then. Backups do no more than this asks for, until `read_every` has passed.",
        examples=["files hashed"],
    )
    read_every: Duration = Key(
        default=timedelta(days=DAYS),
        description="How long backups may do with less than reading every value: the next one "
        "after that reads all, and a later point that rests on less does not count.",
        examples=["1d"],
    )
    degradation: Degradation = Key(
        default=Degradation(), description="What answers must be like after a recovery."
    )

    @property
    def required(self) -> Required:
        """The grounds that a recovery point needs to count."""
        return Required(self.assurance, self.read_every)


class TrialPolicy(Policy):
    """Where and how often a test restore of a sample is made."""

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
