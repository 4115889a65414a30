"""Targets of aliases for programs that use the client of an engine that has none of its own.

    from dr_pipelines.stores.served import served

    table = lancedb.connect("stores/handbook").open_table(
        served("lance:stores/handbook", "handbook").native
    )

Reads one small file or object. Of the engine, only what reaches a bucket is imported. A reader gets
the old collection or the new one; whoever finds that it was dropped since asks again.
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
        InvalidRequest: the URL is none of a scheme whose aliases can be read here.
        NotFound: there is no such alias. Damaged: it does not hold a name.
        Unavailable: a directory or a bucket is out of reach.
    """
    name = url.partition(":")[0]
    match = find_scheme(name)
    if match is None or match[1].read_alias is None:
        able = sorted(scheme.name for scheme in schemes() if scheme.read_alias is not None)
        raise InvalidRequest(
            f"a store of scheme {name[:40]!r}: expected one of {', '.join(able)}; how clients of "
            "another engine follow an alias is on its page in docs/adapters"
        )
    target = match[1].read_alias(url, alias, base)
    if target is None:
        raise NotFound(f"no alias {alias!r} there; restore with --switch, or ingest, makes it")
    return target
