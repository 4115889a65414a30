"""A column of a Milvus collection, as a message and as JSON."""

from dataclasses import dataclass, field
from typing import Any

from pymilvus.grpc_gen import schema_pb2

from dr_pipelines.errors import InvalidRequest

T = schema_pb2.DataType
INTEGERS = frozenset([T.Int8, T.Int16, T.Int32, T.Int64])
TEXTS = frozenset([T.VarChar, T.Text, T.Geometry])
DENSE = frozenset([T.FloatVector, T.Float16Vector, T.BFloat16Vector, T.Int8Vector, T.BinaryVector])
VECTORS = DENSE | {T.SparseFloatVector}
KNOWN = INTEGERS | TEXTS | VECTORS | {T.Bool, T.Float, T.Double, T.JSON, T.Array, T.Timestamptz}
IN_LITE = KNOWN - {T.Float16Vector, T.BFloat16Vector, T.Int8Vector, T.BinaryVector, T.Text}
"""The types that milvus-lite 3.2 has."""

FLAGS = {
    "primary": "is_primary_key",
    "auto_id": "autoID",
    "nullable": "nullable",
    "partition_key": "is_partition_key",
    "clustering_key": "is_clustering_key",
    "generated": "is_function_output",
}
"""Our word → the message's."""


@dataclass(frozen=True, slots=True)
class Column:
    """`params` are type parameters as Milvus has them (`dim`, `max_length`, `max_capacity`,
    `enable_analyzer` …); `default` is (member of the message, value)."""

    name: str
    type: int
    element: int = 0
    params: dict[str, str] = field(default_factory=dict)
    flags: frozenset[str] = frozenset()
    default: tuple[str, Any] | None = None
    comment: str = ""

    @property
    def nullable(self) -> bool:
        return "nullable" in self.flags

    @property
    def generated(self) -> bool:
        """Made by the engine from other columns: never written."""
        return "generated" in self.flags

    @property
    def dimension(self) -> int:
        return int(self.params.get("dim", 0))

    def message(self) -> Any:
        """As Milvus takes it."""
        made = schema_pb2.FieldSchema(
            name=self.name,
            data_type=self.type,
            element_type=self.element,
            description=self.comment,
            type_params=[{"key": key, "value": value} for key, value in self.params.items()],
        )
        for flag in self.flags:
            setattr(made, FLAGS[flag], True)
        if self.default is not None:
            setattr(made.default_value, *self.default)
        return made

    def to_json(self) -> dict[str, Any]:
        """All but the comment, and nothing that has its usual value."""
        entry: dict[str, Any] = {"name": self.name, "type": T.Name(self.type)}
        if self.element:
            entry["element_type"] = T.Name(self.element)
        if self.params:
            entry["params"] = dict(sorted(self.params.items()))
        if self.default is not None:
            entry["default"] = list(self.default)
        return entry | dict.fromkeys(sorted(self.flags), True)


def of_message(message: Any) -> Column:
    """The column that Milvus describes.

    Raises:
        InvalidRequest: its type is none that can be carried.
    """
    if message.data_type not in KNOWN:
        raise InvalidRequest(
            f"column {message.name!r} is {T.Name(message.data_type)}, which cannot be carried"
        )
    kind = message.default_value.WhichOneof("data")
    return Column(
        name=message.name,
        type=message.data_type,
        element=message.element_type,
        params={pair.key: pair.value for pair in message.type_params},
        flags=frozenset(ours for ours, theirs in FLAGS.items() if getattr(message, theirs)),
        default=kind and (kind, getattr(message.default_value, kind)),
        comment=message.description,
    )


def of_json(entry: dict[str, Any], comment: str = "") -> Column:
    """The column of an engine's section.

    Raises:
        InvalidRequest: it is not one.
    """
    try:
        return Column(
            name=entry["name"],
            type=T.Value(entry["type"]),
            element=T.Value(entry["element_type"]) if "element_type" in entry else 0,
            params={key: str(value) for key, value in entry.get("params", {}).items()},
            flags=frozenset(flag for flag in FLAGS if entry.get(flag)),
            default=tuple(entry["default"]) if "default" in entry else None,
            comment=comment,
        )
    except (KeyError, ValueError, TypeError) as error:
        raise InvalidRequest(f"a column of the milvus section is unreadable: {error}") from None
