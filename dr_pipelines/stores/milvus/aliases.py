"""Milvus' own aliases: each is moved by one call, in which a reader sees the old or the new one."""

from pymilvus.grpc_gen import milvus_pb2

from dr_pipelines.errors import NotFound, Unavailable
from dr_pipelines.stores.milvus.names import from_native, to_native
from dr_pipelines.stores.milvus.session import Connection


def names_of(connection: Connection, *, of: str = "") -> list[str]:
    """Native names of aliases, of one collection or of all."""
    request = milvus_pb2.ListAliasesRequest(collection_name=of)
    return sorted(connection.call("ListAliases", request, repeat=True).aliases)


def target(connection: Connection, native: str) -> str | None:
    """The native name of the collection that an alias stands for, if it is one."""
    return _meant(connection, native) if native in names_of(connection) else None


def _meant(connection: Connection, native: str) -> str | None:
    try:
        request = milvus_pb2.DescribeAliasRequest(alias=native)
        return str(connection.call("DescribeAlias", request, repeat=True).collection)
    except NotFound:  # dropped meanwhile
        return None


def all_of(connection: Connection) -> dict[str, str]:
    """Alias → physical name, ascending."""
    targets = {native: _meant(connection, native) for native in names_of(connection)}
    return {from_native(a): from_native(to) for a, to in sorted(targets.items()) if to is not None}


class MilvusAliases:
    """The same by the names here."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(self) -> dict[str, str]:
        return all_of(self._connection)

    def target(self, alias: str) -> str | None:
        native = to_native(alias)
        collection = None if native is None else target(self._connection, native)
        return None if collection is None else from_native(collection)


def point(connection: Connection, alias: str, native: str) -> None:
    """Make the alias stand for the collection; when the answer is lost, look whether it does."""
    made = target(connection, alias) is None
    names = {"alias": alias, "collection_name": native}
    try:
        if made:
            connection.call("CreateAlias", milvus_pb2.CreateAliasRequest(**names))
        else:
            connection.call("AlterAlias", milvus_pb2.AlterAliasRequest(**names))
    except Unavailable:
        current = target(connection, alias)
        if current is None or (current != native and not made):
            raise
        if current != native:  # somebody else made it first
            connection.call("AlterAlias", milvus_pb2.AlterAliasRequest(**names))
