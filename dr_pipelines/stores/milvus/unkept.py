"""Settings that a server reports of a collection and this adapter does not carry: each is named.

A message of Milvus names all that it has; whatever is set in one, and is neither carried nor the
server's own bookkeeping, is something that a restore would not make again.
"""

from collections.abc import Iterator
from typing import Any

COLLECTION = frozenset(
    [
        "aliases",
        "collection_name",
        "consistency_level",
        "num_partitions",
        "properties",
        "schema",
        "shards_num",
        "status",
    ]
)
OF_SERVER = frozenset(
    [
        "collectionID",
        "created_timestamp",
        "created_utc_timestamp",
        "db_id",
        "db_name",
        "physical_channel_names",
        "request_time",
        "start_positions",
        "update_timestamp",
        "update_timestamp_str",
        "virtual_channel_names",
    ]
)
"""Numbers, times and channels that a server gives, and the database that a store is opened with."""
SCHEMA = frozenset(
    [
        "autoID",
        "dbName",
        "description",
        "enable_dynamic_field",
        "fields",
        "functions",
        "name",
        "properties",
        "struct_array_fields",
        "version",
    ]
)
FIELD = frozenset(
    [
        "autoID",
        "data_type",
        "default_value",
        "description",
        "element_type",
        "fieldID",
        "index_params",
        "is_clustering_key",
        "is_dynamic",
        "is_function_output",
        "is_partition_key",
        "is_primary_key",
        "name",
        "nullable",
        "state",
        "type_params",
    ]
)
FUNCTION = frozenset(
    [
        "description",
        "id",
        "input_field_ids",
        "input_field_names",
        "name",
        "output_field_ids",
        "output_field_names",
        "params",
        "type",
    ]
)


def unkept(description: Any) -> tuple[str, ...]:
    """Paths of what is set in a description and not carried, ascending."""
    schema = description.schema
    paths = set(_beyond(description, COLLECTION | OF_SERVER, ""))
    paths |= set(_beyond(schema, SCHEMA, "schema."))
    for field in schema.fields:
        paths |= set(_beyond(field, FIELD, f"columns.{field.name}."))
    for function in schema.functions:
        paths |= set(_beyond(function, FUNCTION, f"functions.{function.name}."))
    return tuple(sorted(paths))


def _beyond(message: Any, carried: frozenset[str], prefix: str) -> Iterator[str]:
    return (f"{prefix}{f.name}" for f, _ in message.ListFields() if f.name not in carried)
