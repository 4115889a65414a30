"""Configuration that only a server has: roles and their grants on a collection, groups of
privileges, replicas.

milvus-lite answers each of these calls with UNIMPLEMENTED, which comes out as `Unsupported`; a
server refuses them to credentials that may not ask, which comes out as `Refused`. Both mean `None`
here: not reported. Passwords are never readable, so users are named, not made.
"""

from typing import Any

from pymilvus.grpc_gen import milvus_pb2

from dr_pipelines.errors import Refused
from dr_pipelines.stores.milvus.errors import Unsupported
from dr_pipelines.stores.milvus.session import Connection

COLLECTION = "Collection"
GRANT = milvus_pb2.OperatePrivilegeType.Grant
ADD = milvus_pb2.OperatePrivilegeGroupType.AddPrivilegesToGroup


def replicas(connection: Connection, native: str) -> int | None:
    """How often a loaded collection is in memory."""
    try:
        request = milvus_pb2.GetReplicasRequest(collection_name=native)
        return len(connection.call("GetReplicas", request, repeat=True).replicas) or None
    except (Unsupported, Refused):
        return None


def grants(connection: Connection, native: str) -> dict[str, Any] | None:
    """`roles` with users, `grants` of privileges on the collection, of those roles that have any,
    and `privilege_groups` that are granted, with their privileges; empty where none has any."""
    try:
        request = milvus_pb2.SelectRoleRequest(include_user_info=True)
        answer = connection.call("SelectRole", request, repeat=True)
        privileges_of = {
            result.role.name: _privileges(connection, result.role.name, native)
            for result in answer.results
        }
        groups = _groups(connection) if any(privileges_of.values()) else {}
    except (Unsupported, Refused):
        return None
    users = {result.role.name: sorted(u.name for u in result.users) for result in answer.results}
    granted = {role: privileges for role, privileges in sorted(privileges_of.items()) if privileges}
    if not granted:
        return {}
    named = {privilege for privileges in granted.values() for privilege in privileges}
    used = {name: groups[name] for name in sorted(named & groups.keys())}
    section = {"roles": {role: users[role] for role in granted}, "grants": granted}
    return section | ({"privilege_groups": used} if used else {})


def make_groups(connection: Connection, groups: dict[str, list[str]]) -> None:
    """Make groups of privileges that are missing; those that are there stay as they are. A server
    that refuses it is asked no more: a restore finds that they are missing."""
    if not groups:
        return
    try:
        for name in sorted(groups.keys() - _groups(connection).keys()):
            request = milvus_pb2.CreatePrivilegeGroupRequest(group_name=name)
            connection.call("CreatePrivilegeGroup", request)
            privileges = [{"name": privilege} for privilege in groups[name]]
            filled = milvus_pb2.OperatePrivilegeGroupRequest(
                group_name=name, privileges=privileges, type=ADD
            )
            connection.call("OperatePrivilegeGroup", filled)
    except (Unsupported, Refused):
        return


def grant(connection: Connection, native: str, granted: dict[str, list[str]]) -> None:
    """Give roles privileges on a collection; roles that are missing are made, without users."""
    answer = connection.call("SelectRole", milvus_pb2.SelectRoleRequest(), repeat=True)
    existing = {result.role.name for result in answer.results}
    for role, privileges in granted.items():
        if role not in existing:
            connection.call("CreateRole", milvus_pb2.CreateRoleRequest(entity={"name": role}))
        for privilege in privileges:
            request = milvus_pb2.OperatePrivilegeV2Request(
                role={"name": role},
                grantor={"privilege": {"name": privilege}},
                type=GRANT,
                db_name=connection.address.database or "default",
                collection_name=native,
            )
            connection.call("OperatePrivilegeV2", request)


def _privileges(connection: Connection, role: str, native: str) -> list[str]:
    entity = {"role": {"name": role}, "object": {"name": COLLECTION}, "object_name": native}
    request = milvus_pb2.SelectGrantRequest(
        entity=entity | {"db_name": connection.address.database or "default"}
    )
    answer = connection.call("SelectGrant", request, repeat=True)
    return sorted(entity.grantor.privilege.name for entity in answer.entities)


def _groups(connection: Connection) -> dict[str, list[str]]:
    """The server's groups of privileges; none where it is older than they are."""
    try:
        request = milvus_pb2.ListPrivilegeGroupsRequest()
        groups = connection.call("ListPrivilegeGroups", request, repeat=True).privilege_groups
    except Unsupported:
        return {}
    return {group.group_name: sorted(p.name for p in group.privileges) for group in groups}
