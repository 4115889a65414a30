"""Where a server keeps the replicas of a loaded collection: its resource groups.

A group is a share of the server's nodes, and belongs to no collection: one that is missing is made
as it was, one that is there stays as it is. What a server refuses is left out, and a collection
whose groups are not to be had is loaded where the server likes; a restore finds the difference.
"""

from collections import Counter
from typing import Any

from pymilvus.grpc_gen import milvus_pb2, rg_pb2

from dr_pipelines.errors import DrError, InvalidRequest, Refused
from dr_pipelines.stores.milvus import loading
from dr_pipelines.stores.milvus.errors import Unsupported
from dr_pipelines.stores.milvus.session import Connection

DEFAULT_GROUP = "__default_resource_group"
Groups = dict[str, dict[str, Any]]
"""By name: `replicas` of the collection in the group, and the group's `config`."""


def resource_groups(connection: Connection, native: str) -> Groups | None:
    """The groups that have a replica; empty where the default one has all, None where the server
    does not say."""
    try:
        request = milvus_pb2.GetReplicasRequest(collection_name=native)
        replicas = connection.call("GetReplicas", request, repeat=True).replicas
        counts = Counter(replica.resource_group_name or DEFAULT_GROUP for replica in replicas)
        if {*counts} <= {DEFAULT_GROUP}:
            return {}
        return {
            name: {"replicas": count} | _config(connection, name)
            for name, count in sorted(counts.items())
        }
    except (Unsupported, Refused):
        return None


def load(connection: Connection, native: str, *, replicas: int, groups: Groups) -> None:
    """Load a collection with its replicas in these groups, where that can be."""
    names = [name for name, group in groups.items() for _ in range(group.get("replicas", 1))]
    if not names or not _placed(connection, native, names, groups):
        loading.load(connection, native, replicas=replicas)


def _placed(connection: Connection, native: str, names: list[str], groups: Groups) -> bool:
    """True if it is loaded there. Where the collection itself is why not, loading it without
    groups says so."""
    try:
        _make(connection, groups)
        loading.load(connection, native, replicas=len(names), groups=names)
    except DrError:
        return False
    return True


def _config(connection: Connection, name: str) -> dict[str, Any]:
    if name == DEFAULT_GROUP:
        return {}
    request = milvus_pb2.DescribeResourceGroupRequest(resource_group=name)
    group = connection.call("DescribeResourceGroup", request, repeat=True).resource_group
    return {"config": _section_of(group.config)}


def _make(connection: Connection, groups: Groups) -> None:
    """Those that are missing."""
    request = milvus_pb2.ListResourceGroupsRequest()
    existing = connection.call("ListResourceGroups", request, repeat=True).resource_groups
    for name in sorted(groups.keys() - {DEFAULT_GROUP, *existing}):
        creation = milvus_pb2.CreateResourceGroupRequest(
            resource_group=name, config=_message(name, groups[name].get("config", {}))
        )
        connection.call("CreateResourceGroup", creation)


def _section_of(config: Any) -> dict[str, Any]:
    labels = [{"key": pair.key, "value": pair.value} for pair in config.node_filter.node_labels]
    config_entry = {
        "requests": {"node_num": config.requests.node_num},
        "limits": {"node_num": config.limits.node_num},
        "transfer_from": [{"resource_group": t.resource_group} for t in config.transfer_from],
        "transfer_to": [{"resource_group": t.resource_group} for t in config.transfer_to],
        "node_filter": {"node_labels": labels} if labels else {},
    }
    return {key: value for key, value in config_entry.items() if value}


def _message(name: str, config: dict[str, Any]) -> rg_pb2.ResourceGroupConfig:
    try:
        return rg_pb2.ResourceGroupConfig(**config)
    except (TypeError, ValueError) as error:
        raise InvalidRequest(f"resource group {name!r}: its config is unreadable") from error
