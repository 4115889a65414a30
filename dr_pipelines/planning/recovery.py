"""Where a recovery is built."""

from collections.abc import Collection, Mapping

from dr_pipelines.errors import AlreadyExists, InvalidRequest, Refused
from dr_pipelines.model.collection import PHYSICAL_NAME

ATTEMPTS = 1_000


def origin_of(point: str, route: str, provenance: str | None) -> str:
    """What a restored collection says it was built from: the same again means go on with it."""
    return f"restore:{point}:{route}:{(provenance or '')[:12]}"


def choose_physical(
    collection: str,
    *,
    point: str,
    origin: str,
    into: str | None,
    origins: Mapping[str, str | None],
    served: Collection[str],
    known: Collection[str],
) -> str:
    """The name to build under: one that nothing else has, or an unfinished one of ours.

    `origins` are the store's collections and what they were built from, `served` those that an
    alias points at, `known` those that any timeline was ever bound to: neither is ever reused.
    Raises `Refused` for a served name, `AlreadyExists` for one built from something else.
    """
    if into is not None:
        return _asked_for(into, origin=origin, origins=origins, served=served, known=known)
    base = f"{collection}@{point}"
    for attempt in range(1, ATTEMPTS):
        name = base if attempt == 1 else f"{base}-{attempt}"
        if name in served or name in known:
            continue
        if name not in origins or origins[name] == origin:
            return name
    raise AlreadyExists(f"{base} and {ATTEMPTS} names like it are taken: drop some, or use --into")


def _asked_for(
    into: str,
    *,
    origin: str,
    origins: Mapping[str, str | None],
    served: Collection[str],
    known: Collection[str],
) -> str:
    if not PHYSICAL_NAME.fullmatch(into):
        raise InvalidRequest(
            f"--into {into!r}: expected letters, digits, _ and -, and at most one @ and a suffix"
        )
    if into in served:
        raise Refused(f"{into!r} is being served: nothing is ever restored over it")
    if into in known or (into in origins and origins[into] != origin):
        raise AlreadyExists(f"{into!r} exists and was built from something else: choose another")
    return into
