"""A collection as Milvus itself describes it."""

import json
from dataclasses import dataclass
from typing import Any

from pymilvus.grpc_gen import common_pb2, milvus_pb2, schema_pb2

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.stores.milvus import errors
from dr_pipelines.stores.milvus import index as indexes
from dr_pipelines.stores.milvus.column import Column, of_message
from dr_pipelines.stores.milvus.session import Connection
from dr_pipelines.stores.milvus.unkept import unkept
from dr_pipelines.stores.shared.label import MAX_BYTES, Label, decoded, encoded

LABEL = "dr.label"
"""Property of a collection that holds its label."""
INSERT_IDS = "allow_insert_auto_id"
"""Property with which a server takes ids where it otherwise makes them."""
QUOTED_SIZE = 3 * MAX_BYTES
"""In characters: JSON within JSON has six of them for one that takes two bytes."""
DEFAULT_PARTITION = "_default"
F = schema_pb2.FunctionType


@dataclass(frozen=True, slots=True)
class Live:
    """`partitions` are those that somebody made by name; `key_partitions` how many the engine made
    for a partition key. `label` is None for a collection that something else made."""

    native: str
    columns: tuple[Column, ...]
    functions: tuple[dict[str, Any], ...]
    dynamic: bool
    comment: str
    shards: int
    properties: dict[str, str]
    consistency: str
    partitions: tuple[str, ...]
    key_partitions: int
    indexes: tuple[dict[str, Any], ...]
    label: Label | None
    unkept: tuple[str, ...] = ()
    """What is set and not carried."""

    def index_of(self, column: str) -> dict[str, Any] | None:
        return next((index for index in self.indexes if index["field"] == column), None)

    @property
    def built(self) -> bool:
        """True if this package made the collection and has finished `build_index`."""
        return self.label is not None and self.label.indexed

    @property
    def key(self) -> Column:
        return next(column for column in self.columns if "primary" in column.flags)


def look(connection: Connection, native: str) -> Live:
    """Ask for all of it.

    Raises:
        NotFound: there is none of that name.
        InvalidRequest: it has a column that cannot be carried.
        Damaged: its label is unreadable.
    """
    request = milvus_pb2.DescribeCollectionRequest(collection_name=native)
    description = connection.call("DescribeCollection", request, repeat=True)
    schema = description.schema
    if schema.struct_array_fields:
        name = schema.struct_array_fields[0].name
        raise InvalidRequest(f"{native!r}: column {name!r} is an array of structs: not carried")
    columns = tuple(of_message(field) for field in schema.fields if not field.is_dynamic)
    if schema.autoID:
        columns = tuple(_with_auto_id(column) for column in columns)
    properties = {pair.key: pair.value for pair in description.properties}
    label = properties.pop(LABEL, None)
    keyed = any("partition_key" in column.flags for column in columns)
    return Live(
        native=native,
        columns=columns,
        functions=tuple(_function(function) for function in schema.functions),
        dynamic=schema.enable_dynamic_field,
        comment=schema.description,
        shards=description.shards_num,
        properties=dict(sorted(properties.items())),
        consistency=common_pb2.ConsistencyLevel.Name(description.consistency_level),
        partitions=() if keyed else _partitions(connection, native),
        key_partitions=description.num_partitions if keyed else 0,
        indexes=_indexes(connection, native),
        label=None if label is None else label_of(label, native),
        unkept=unkept(description),
    )


def function_message(entry: dict[str, Any]) -> Any:
    """A function of an engine's section, as Milvus takes it."""
    return schema_pb2.FunctionSchema(
        name=entry["name"],
        type=F.Value(entry["type"]),
        description=entry.get("comment", ""),
        input_field_names=entry["inputs"],
        output_field_names=entry["outputs"],
        params=indexes.pairs(entry.get("params", {}).items()),
    )


def _function(function: Any) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": function.name,
        "type": F.Name(function.type),
        "inputs": list(function.input_field_names),
        "outputs": list(function.output_field_names),
    }
    if function.params:
        entry["params"] = {pair.key: pair.value for pair in function.params}
    if function.description:
        entry["comment"] = function.description
    return entry


def _partitions(connection: Connection, native: str) -> tuple[str, ...]:
    request = milvus_pb2.ShowPartitionsRequest(collection_name=native)
    answer = connection.call("ShowPartitions", request, repeat=True)
    return tuple(sorted(name for name in answer.partition_names if name != DEFAULT_PARTITION))


def _indexes(connection: Connection, native: str) -> tuple[dict[str, Any], ...]:
    try:
        request = milvus_pb2.DescribeIndexRequest(collection_name=native)
        answer = connection.call("DescribeIndex", request, repeat=True)
    except errors.NoIndex:
        return ()
    entries = (indexes.of_description(index) for index in answer.index_descriptions)
    return tuple(sorted(entries, key=lambda index: (index["field"], index.get("name", ""))))


def label_of(text: str, native: str) -> Label:
    """The label in the property of a collection. Raises `Damaged`, before it is parsed if it is too
    long."""
    of = f"{native!r} (property {LABEL!r})"
    if len(text) > QUOTED_SIZE:
        return decoded(text, of=of)  # which says that it is too long
    try:
        return decoded(str(json.loads(text)), of=of)
    except (ValueError, RecursionError):
        return decoded(text, of=of)  # which says that it is none


def label_text(label: Label) -> str:
    """The value of the property. A JSON string of JSON: no client takes it for an object."""
    return json.dumps(encoded(label))


def _with_auto_id(column: Column) -> Column:
    if "primary" not in column.flags:
        return column
    flags = column.flags | {"auto_id"}
    return Column(
        column.name, column.type, column.element, column.params, flags, None, column.comment
    )
