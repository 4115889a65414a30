"""A store's collections, as policies: asked of the store itself. Reads no record."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dr_pipelines.errors import UNREADABLE, InvalidRequest
from dr_pipelines.model.collection import (
    MAX_DIMENSION,
    CollectionSpec,
    Field,
    FieldType,
    Vector,
    VectorKind,
)
from dr_pipelines.model.components import StorePolicy
from dr_pipelines.model.notation import VECTOR_NAME
from dr_pipelines.planning.parts import namespace
from dr_pipelines.project import adapters
from dr_pipelines.project.adapters import PolicyContext
from dr_pipelines.project.proposal.names import legal_name
from dr_pipelines.project.proposal.proposal import (
    OWNER,
    LeftOut,
    Proposal,
    Proposed,
    objectives,
)
from dr_pipelines.project.proposal.subject import StoreSubject
from dr_pipelines.project.proposal.text import Line, comment
from dr_pipelines.protocols import Inventory, Listed, VectorStore
from dr_pipelines.stores import engines

METRICS = ("cosine", "dot", "l2")
TENANTS = (
    "tenant",
    "tenant_id",
    "org_id",
    "organization_id",
    "customer_id",
    "account_id",
    "user_id",
)
OF_OURS = "left over from dr (see `dr stores`): no alias points to it"


@dataclass(frozen=True, slots=True)
class Asked:
    """A collection as it is asked for: by its own name in the store, or by an alias. `aliases` are
    the others that stand for it."""

    name: str
    native: str
    aliases: tuple[str, ...] = ()
    by_alias: bool = False

    @property
    def stored_as(self) -> str | None:
        return None if self.native == self.name else self.native


def propose_store(
    subject: StoreSubject,
    context: PolicyContext,
    *,
    only: Sequence[str] = (),
    owner: str,
) -> Proposal:
    """Everything in a store that can be backed up, or what `only` names of it.

    Raises:
        InvalidRequest: `only` names something that is not there, or nothing is there.
        Unavailable: the store is out of reach.
    """
    policy = StorePolicy(url=subject.url)
    _require_there(policy, context)
    store = adapters.open_store(policy, context)
    engine = namespace(store.engine)
    listed, aliases = _listed(store), store.aliases()
    _require_known(only, listed, aliases)
    left_out = [LeftOut(each.native, each.problem) for each in listed if each.problem]
    selected = list(_select([each.native for each in listed if not each.problem], aliases, only))
    named = adapters.open_store(policy, context, names=_names(selected, engine))
    proposed = list[Proposed]()
    for each in selected:
        proposal = _proposed(named, each, engine=engine, owner=owner)
        if isinstance(proposal, Proposed):
            proposed.append(proposal)
        else:
            left_out.append(proposal)
    return Proposal(
        collections=tuple(proposed),
        left_out=tuple(left_out),
        stores=store_lines(subject, store.engine),
        variables=subject.variables,
        unset=subject.unset,
        notes=tuple(
            f"{each.name} is empty: its backup is refused until it holds something"
            for each in proposed
            if not each.value["records"]
        ),
    )


def _require_there(policy: StorePolicy, context: PolicyContext) -> None:
    """To open some engines on a directory is to make it."""
    directory = adapters.store_directory(policy, context)
    if directory is not None and not Path(str(directory).partition("?")[0]).is_dir():
        raise InvalidRequest(f"there is no directory {directory}")


def _listed(store: VectorStore) -> tuple[Listed, ...]:
    if isinstance(store, Inventory):
        return store.inventory()
    return tuple(map(Listed, store.collections()))


def _require_known(
    only: Sequence[str], listed: Sequence[Listed], aliases: Mapping[str, str]
) -> None:
    names = {each.native for each in listed} | set(aliases)
    for name in only:
        if name not in names:
            there = ", ".join(sorted(names)) or "nothing"
            raise InvalidRequest(f"--collection {name!r}: the store has {there}")


def _select(
    natives: Sequence[str], aliases: Mapping[str, str], only: Sequence[str]
) -> Iterator[Asked]:
    """Each collection once: by its aliases where it has some, which is what users ask for."""
    taken = set[str]()
    matching = [
        name for name in natives if not only or name in only or _through(name, aliases, only)
    ]
    for native in matching:
        through = sorted(alias for alias, to in aliases.items() if to == native)
        chosen = [alias for alias in through if not only or alias in only][:1] or through[:1]
        name = legal_name(chosen[0] if chosen else native, taken=taken)
        taken.add(name)
        others = tuple(alias for alias in through if alias not in chosen)
        yield Asked(name, chosen[0] if chosen else native, others, by_alias=bool(chosen))


def _through(native: str, aliases: Mapping[str, str], only: Sequence[str]) -> bool:
    return any(aliases.get(name) == native for name in only)


def _names(selected: Sequence[Asked], engine: str) -> dict[str, str]:
    """The engine's own name of each collection that has another one there; empty if the adapter
    takes no such names.
    """
    if not _takes_names(engine):
        return {}
    return {each.name: each.native for each in selected if each.stored_as is not None}


def _takes_names(engine: str) -> bool:
    entry = engines.engine_named(engine)
    return entry is not None and entry.takes_names


def _proposed(store: VectorStore, entry: Asked, *, engine: str, owner: str) -> Proposed | LeftOut:
    if entry.stored_as is not None and not _takes_names(engine):
        return LeftOut(
            entry.native,
            "policies cannot have this name (a letter, then at most 62 letters, digits, _ and -), "
            f"and {engine} collections cannot get another: point an alias at it, or rename it",
        )
    try:
        spec, status = store.describe(entry.name), store.status(entry.name)
        dimension = _dimension(spec)
    except UNREADABLE as error:
        return LeftOut(entry.native, str(error))
    if spec.origin is not None and "@" in spec.name and not entry.by_alias:
        return LeftOut(entry.native, OF_OURS)
    value = {
        "name": entry.name,
        "stored_as": entry.stored_as,
        "dimension": dimension,
        "metric": str(spec.vectors[0].metric),
        "keyword_index": spec.keyword_index,
        "fields": {field.name: str(field.type) for field in spec.fields},
        "key": _key(spec, engine),
        "aliases": list(entry.aliases),
        "records": status.records,
        "tenant": _tenant(spec),
    }
    return Proposed(entry.name, tuple(collection_lines(entry, spec, value, owner)), value)


def _dimension(spec: CollectionSpec) -> int:
    """Of the first vector that has one; a sparse one declares none."""
    dense = [vector.dimension for vector in spec.vectors if vector.kind is not VectorKind.SPARSE]
    return dense[0] if dense else min(spec.vectors[0].dimension, MAX_DIMENSION)


def _key(spec: CollectionSpec, engine: str) -> list[str]:
    key = spec.engine.get(engine, {}).get("key", [])
    return [str(column) for column in key] if isinstance(key, list) else []


def _tenant(spec: CollectionSpec) -> str | None:
    """A field that is called as tenants often are."""
    texts = [f.name for f in spec.fields if f.type is FieldType.STRING and f.role is None]
    return next((name for name in TENANTS if name in texts), None)


def collection_lines(
    entry: Asked, spec: CollectionSpec, value: Mapping[str, Any], owner: str
) -> Iterator[Line]:
    """A collection of a store as a policies file has it."""
    yield Line(1, entry.name, comment=f"{value['records']} records when this was written")
    yield Line(2, "owner", owner, OWNER)
    yield Line(2, "authority", "store", "the store is the only copy: there is no source")
    yield Line(2, "store", "main", "one of `stores`")
    if entry.stored_as is not None:
        yield Line(2, "stored_as", entry.stored_as, "what the store calls it")
    if entry.aliases:
        yield comment(2, f"aliases: {', '.join(entry.aliases)}")
    if value["key"]:
        yield comment(2, f"its key, which the store says: {', '.join(value['key'])}")
    yield Line(2, "dimension", value["dimension"], _said_of_vectors(spec.vectors))
    if value["metric"] in METRICS:
        yield Line(2, "metric", value["metric"], "how vectors are compared")
    else:
        yield comment(2, f"vectors are compared by {value['metric']}: the store says so")
    yield Line(2, "keyword_index", spec.keyword_index, "whether texts are searched by keyword")
    yield from _field_lines(spec.fields, value["tenant"])
    yield from objectives(rpo="1d", rto="1h")


def _said_of_vectors(vectors: Sequence[Vector]) -> str:
    if len(vectors) == 1:
        return "components of a vector"
    all_of_them = ", ".join(f"{v.name} ({v.kind}, {v.dimension})" for v in vectors)
    return f"components of a vector; all are kept: {all_of_them}"


def _field_lines(fields: Sequence[Field], tenant: str | None) -> Iterator[Line]:
    if not fields:
        return
    yield Line(2, "fields", comment="values that every record carries, by their type in the store")
    for field in fields:
        if field.name == VECTOR_NAME:
            yield comment(3, f"{field.name} ({field.type}): kept, but no name to declare")
            continue
        yield Line(3, field.name)
        yield Line(4, "type", str(field.type))
        yield Line(4, "filterable", field.filterable, "whether queries may filter by it")
        if field.name == tenant:
            yield comment(4, "role: tenant would say whose record it is; a guess by its name")


def store_lines(subject: StoreSubject, engine: str) -> tuple[Line, ...]:
    comment = f"where it is; {engine} when this was written"
    if subject.variables:
        comment = f"in the environment, for it may hold a password; {engine} when this was written"
    return (Line(1, "main"), Line(2, "url", subject.written, comment))
