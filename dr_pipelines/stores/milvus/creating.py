"""Making a collection: the same steps, each of which may have been done before."""

from collections.abc import Iterator
from typing import Any

from pymilvus.grpc_gen import common_pb2, milvus_pb2, schema_pb2

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.collection import CollectionSpec, FieldType, VectorKind
from dr_pipelines.stores.milvus import access, placement
from dr_pipelines.stores.milvus import index as indexes
from dr_pipelines.stores.milvus import records as managed
from dr_pipelines.stores.milvus.column import (
    IN_LITE,
    Column,
    T,
    of_json,
)
from dr_pipelines.stores.milvus.live import (
    INSERT_IDS,
    LABEL,
    Live,
    function_message,
    label_text,
    look,
)
from dr_pipelines.stores.milvus.schema import ENGINE
from dr_pipelines.stores.milvus.session import LONG_CALL_SECONDS, Connection
from dr_pipelines.stores.shared.label import Label
from dr_pipelines.stores.shared.layout import Layout, layout_of

DEFAULT_CONSISTENCY = "Bounded"


def create(connection: Connection, native: str, spec: CollectionSpec) -> None:
    """The empty collection with its label, in one call. Raises `Unavailable` where it exists."""
    section = spec.engine.get(ENGINE, {})
    columns = planned_columns(spec)
    functions = section.get("functions", [])
    if layout_of(section) is Layout.MANAGED:
        functions = managed.functions(spec)
    schema = schema_pb2.CollectionSchema(
        name=native,
        description=section.get("comments", {}).get("collection", ""),
        enable_dynamic_field=bool(section.get("dynamic")),
        autoID=any("auto_id" in column.flags for column in columns),
        fields=[column.message() for column in columns],
        functions=[function_message(function) for function in functions],
    )
    properties = {str(k): str(v) for k, v in section.get("properties", {}).items()}
    if schema.autoID and not connection.is_lite:
        properties[INSERT_IDS] = "true"  # a server makes new ids otherwise
    properties[LABEL] = label_text(Label(spec=spec))
    request = milvus_pb2.CreateCollectionRequest(
        collection_name=native,
        schema=schema.SerializeToString(),
        shards_num=spec.shards or 1,
        consistency_level=_consistency(section),
        properties=indexes.pairs(properties.items()),
        num_partitions=section.get("partitions", {}).get("of_key", 0),
    )
    connection.call("CreateCollection", request)


def complete(connection: Connection, native: str, spec: CollectionSpec) -> None:
    """Make the partitions, indexes and grants of a collection that exists, and load it where it can
    be.

    Grants are made until the collection is built: from then on they are its owner's, who may have
    taken some back.
    """
    section = spec.engine.get(ENGINE, {})
    live = look(connection, native)
    for name in section.get("partitions", {}).get("names", []):
        if name not in live.partitions:
            request = milvus_pb2.CreatePartitionRequest(collection_name=native, partition_name=name)
            connection.call("CreatePartition", request)
    there = {index["field"] for index in live.indexes}
    for index in planned_indexes(spec, live, is_lite=connection.is_lite):
        if index["field"] not in there:
            request = indexes.request(native, index)
            connection.call("CreateIndex", request, seconds=LONG_CALL_SECONDS)
    if section.get("grants") and not live.built and not connection.is_lite:
        access.make_groups(connection, section.get("privilege_groups", {}))
        access.grant(connection, native, section["grants"])
    if _loadable(live, connection):
        groups = {} if connection.is_lite else section.get("resource_groups", {})
        placement.load(connection, native, replicas=spec.replicas or 0, groups=groups)


def planned_columns(spec: CollectionSpec) -> list[Column]:
    """The engine's columns of a specification."""
    section = spec.engine.get(ENGINE, {})
    if layout_of(section) is Layout.MANAGED:
        return list(managed.ManagedLayout(spec).columns)
    comments = section.get("comments", {}).get("columns", {})
    columns = [of_json(entry, comments.get(entry.get("name"), "")) for entry in section["columns"]]
    if not any("primary" in column.flags for column in columns):
        raise InvalidRequest(f"{spec.name!r}: the milvus section has no primary column")
    return columns


def unknown_to_lite(spec: CollectionSpec) -> list[str]:
    """Columns whose types milvus-lite does not have."""
    return [c.name for c in planned_columns(spec) if c.type not in IN_LITE]


def planned_indexes(spec: CollectionSpec, live: Live, *, is_lite: bool) -> Iterator[dict[str, Any]]:
    """Indexes to create: what the section says; of our own layout the vectors', and without a
    section those that filters and replacements use."""
    section = spec.engine.get(ENGINE, {})
    if layout_of(section) is Layout.FOREIGN:
        yield from section.get("indexes", [])
        return
    layout = managed.ManagedLayout(spec)
    for vector in spec.vectors:
        if vector.kind is not VectorKind.MULTI:
            yield indexes.of_vector(vector, layout.column_of(vector.name))
    names = {column.name for column in live.columns}
    if managed.TERMS in names:
        yield {"field": managed.TERMS, "type": indexes.SPARSE, "metric": "BM25"}
    if managed.POINT in names:
        yield {"field": managed.POINT, "type": indexes.EXACT, "metric": "L2"}
    if "indexes" in section:
        yield from section["indexes"]
        return
    yield {"field": "document_id", "type": "INVERTED"}
    for field in spec.fields:
        if field.filterable and not (is_lite and field.type is FieldType.STRINGS):
            yield {"field": layout.column_of(field.name), "type": "INVERTED"}


def _consistency(section: dict[str, Any]) -> int:
    level = section.get("consistency", DEFAULT_CONSISTENCY)
    try:
        return int(common_pb2.ConsistencyLevel.Value(level))
    except ValueError:
        levels = ", ".join(common_pb2.ConsistencyLevel.keys())
        raise InvalidRequest(f"consistency {level!r}: expected one of {levels}") from None


def _loadable(live: Live, connection: Connection) -> bool:
    """True if the engine can hold it in memory: a server wants an index of every vector."""
    if connection.is_lite:
        return True
    fresh = look(connection, live.native)
    vectors = [c.name for c in fresh.columns if "dim" in c.params or c.type == T.SparseFloatVector]
    return all(fresh.index_of(name) is not None for name in vectors)
