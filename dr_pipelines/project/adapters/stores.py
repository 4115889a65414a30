"""The vector stores that the key `stores` names, by what their engines state of themselves."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.host.extras import ExtraMissing
from dr_pipelines.model.components import StorePolicy
from dr_pipelines.planning.parts import namespace
from dr_pipelines.project.adapters.context import PolicyContext
from dr_pipelines.stores import engines
from dr_pipelines.stores.shared.engine import Engine, Location, Scheme
from dr_pipelines.stores.shared.naming import NO_NAMES, StoredNames

if TYPE_CHECKING:
    from dr_pipelines.protocols import Catalog, HashedFiles, NativeFiles, VectorStore


def store_directory(policy: StorePolicy, context: PolicyContext) -> Path | None:
    """The directory of an embedded store; None for a server, a bucket or a store in memory."""
    _, scheme, place = _engine_of(policy, context)
    return scheme.directory(place, base=context.base)


def open_store(
    policy: StorePolicy,
    context: PolicyContext,
    *,
    names: Mapping[str, str] | None = None,
) -> "VectorStore":
    """The store of a policy; `memory:` is a new, empty one each time. `names` are what it calls
    collections that it calls otherwise (`stored_as`). Raises `InvalidRequest` where
    the packages of its engine are not installed, with the command that installs them."""
    engine, scheme, place = _engine_of(policy, context)
    stored = _stored_names(engine, scheme, names or {})
    try:
        return engine.open(f"{scheme.name}:{place}", base=context.base, names=stored)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("dr_pipelines") or engine.extra is None:
            raise  # a defect, and no package to install
        purpose = f"{scheme.name}:"
        raise ExtraMissing(
            error.name or scheme.name, extra=engine.extra, purpose=purpose
        ) from error


def is_embedded(policy: StorePolicy, context: PolicyContext) -> bool:
    """True if the store's engine runs in this process: a twin of it costs a directory."""
    return _engine_of(policy, context)[1].location is not Location.SERVER


def open_twin(policy: StorePolicy, directory: Path, context: PolicyContext) -> "VectorStore":
    """An empty store of the same embedded engine, in a directory that is there for it alone."""
    scheme = _engine_of(policy, context)[1]
    place = "" if scheme.location is Location.MEMORY else directory
    return open_store(
        StorePolicy(url=f"{scheme.name}:{place}"), PolicyContext(directory, context.environ)
    )


def open_catalog(
    policy: StorePolicy,
    context: PolicyContext,
    *,
    names: Mapping[str, str] | None = None,
) -> "Catalog":
    """The names in the store of a policy, without its engine where it has one."""
    engine, scheme, place = _engine_of(policy, context)
    directory = scheme.directory(place, base=context.base)
    if engine.catalog is None or directory is None:
        return open_store(policy, context, names=names)
    _stored_names(engine, scheme, names or {})
    return engine.catalog(directory)


def open_native(store: "VectorStore") -> "NativeFiles | None":
    """A store's collections as files of their engine; None where it has none to keep."""
    engine = engines.engine_named(namespace(store.engine))
    if engine is None or engine.native_files is None:
        return None
    return engine.native_files(store)


def open_hashed(store: "VectorStore") -> "HashedFiles | None":
    """A store's collections as files that prove what is in them; None where it has none."""
    engine = engines.engine_named(namespace(store.engine))
    if engine is None or engine.hashed_files is None:
        return None
    return engine.hashed_files(store)


def _stored_names(engine: Engine, scheme: Scheme, names: Mapping[str, str]) -> StoredNames:
    if not names:
        return NO_NAMES
    if not engine.takes_names:
        collection, stored = next(iter(names.items()))
        able = sorted(each.name for each in engines.engines().values() if each.takes_names)
        raise InvalidRequest(
            f"collection {collection!r} is stored_as {stored!r}: only stores of "
            f"{', '.join(able)} have names of their own here, not {scheme.name}:"
        )
    return StoredNames(dict(names))


def _engine_of(policy: StorePolicy, context: PolicyContext) -> tuple[Engine, Scheme, str]:
    """A store's engine, the scheme of its URL, and what follows the scheme's colon."""
    url = context.expand(policy.url)
    name, _, place = url.partition(":")
    match = engines.find_scheme(name)
    if match is None or not match[1].fits(url):
        raise InvalidRequest(f"store {policy.url!r}: expected {engines.url_forms()}")
    return (*match, place)
