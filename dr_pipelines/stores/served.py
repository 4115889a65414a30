"""Targets of aliases in engines without aliases, for programs that use the engine's own client.

    from dr_pipelines.stores.served import served

    table = lancedb.connect("stores/handbook").open_table(
        served("lance:stores/handbook", "handbook").native
    )

Reads one small file, object or record; of an engine in a directory neither opens nor imports it. A
reader has the old collection or the new one; who finds that it was dropped since asks again.
"""

from pathlib import Path

from dr_pipelines.errors import InvalidRequest, NotFound
from dr_pipelines.stores.engines import find_scheme, schemes
from dr_pipelines.stores.shared.engine import Served

__all__ = ["Served", "served"]


def served(url: str, alias: str, *, base: Path = Path()) -> Served:
    """The collection that `alias` stands for in the store of a URL, as policies write it; relative
    directories are under `base`.

    Raises:
        InvalidRequest: the URL names no such store, or an engine whose clients use its own aliases.
        NotFound: there is no such alias. Damaged: it does not hold a name.
        Unavailable: a bucket or a server does not answer.
    """
    name = url.partition(":")[0]
    match = find_scheme(name)
    if match is None or match[1].read_alias is None:
        able = sorted(scheme.name for scheme in schemes() if scheme.read_alias is not None)
        raise InvalidRequest(
            f"a store of scheme {name[:40]!r}: expected one of {', '.join(able)}; "
            "other engines have aliases of their own, which their clients use like a name"
        )
    target = match[1].read_alias(url, alias, base)
    if target is None:
        raise NotFound(f"no alias {alias!r} there; restore with --switch, or ingest, makes it")
    return target
