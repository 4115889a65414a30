"""What an alias stands for in an engine without aliases, for programs that use its own client.

    from dr_pipelines.stores.served import served

    table = lancedb.connect("stores/handbook").open_table(
        served("lance:stores/handbook", "handbook").native
    )

Reads one small file, object or record; of an engine in a directory neither opens nor imports it. A
reader has the old collection or the new one; who finds that it was dropped since asks again.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dr_pipelines.errors import InvalidRequest, NotFound
from dr_pipelines.stores.shared.pointers import Pointers

DIGEST = re.compile(r"c.*@[0-9a-f]{32}")
"""How a collection is called whose name only Chroma can have."""


@dataclass(frozen=True, slots=True)
class Served:
    """The collection that an alias stands for: its name here, and the one that the engine's own
    client opens."""

    collection: str
    native: str


def served(url: str, alias: str, *, base: Path = Path()) -> Served:
    """What `alias` stands for in the store of a URL, as policies write it; relative directories are
    under `base`.

    Raises:
        InvalidRequest: the URL names no such store, or an engine whose clients use its own aliases.
        NotFound: there is no such alias. Damaged: it does not hold a name.
        Unavailable: a bucket or a server does not answer.
    """
    scheme = url.partition(":")[0]
    if scheme not in READERS:
        raise InvalidRequest(
            f"a store of scheme {scheme[:40]!r}: expected one of {', '.join(sorted(READERS))}; "
            "other engines have aliases of their own, which their clients use like a name"
        )
    found = READERS[scheme](url, alias, base)
    if found is None:
        raise NotFound(f"no alias {alias!r} there; restore with --switch, or ingest, makes it")
    return found


def _duckdb(url: str, alias: str, base: Path) -> Served | None:
    target = Pointers(base / Path(url.partition(":")[2]).expanduser()).target(alias)
    return _named(target, lambda name: f"{name}.duckdb")


def _edge(url: str, alias: str, base: Path) -> Served | None:
    from dr_pipelines.stores.qdrant.address import directory

    target = Pointers(directory(url.partition(":")[2], base=base)).target(alias)
    return _named(target, str)


def _lancedb(url: str, alias: str, base: Path) -> Served | None:
    from dr_pipelines.stores.lancedb.places import open_place, stored_name

    target = open_place(url, base=base).target(alias)
    return _named(target, stored_name)


def _chroma(url: str, alias: str, base: Path) -> Served | None:
    from dr_pipelines.stores.chroma.names import to_engine
    from dr_pipelines.stores.chroma.urls import Local, parsed_url

    where = parsed_url(url, base=base)
    target = Pointers(where.aliases).target(alias) if isinstance(where, Local) else None
    if target is not None and DIGEST.fullmatch(target):
        raise InvalidRequest(f"{target} is called by a digest of its name; open it by the name")
    return _named(target, to_engine)


def _named(target: str | None, native: Callable[[str], str]) -> Served | None:
    return None if target is None else Served(target, native(target))


READERS: dict[str, Callable[[str, str, Path], Served | None]] = {
    "chroma+local": _chroma,
    "duckdb": _duckdb,
    "lance": _lancedb,
    "qdrant+edge": _edge,
}
"""By scheme. A server of Chroma's keeps its aliases as collections that any client reads by one
call (docs/adapters/chroma.md)."""
