"""The engines that are here: those of this package, and those that other packages bring.

Another package brings an engine by an entry point of the group `dr_pipelines.engines` that names
its `Engine`. Entry points are read only where the engines of this package are not enough.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING

from dr_pipelines import stores
from dr_pipelines.errors import InvalidRequest
from dr_pipelines.stores.shared.engine import Engine, Location, Scheme
from dr_pipelines.stores.shared.naming import NO_NAMES, StoredNames

if TYPE_CHECKING:
    from dr_pipelines.model.collection import CollectionSpec
    from dr_pipelines.model.compatibility import Note
    from dr_pipelines.model.recovery import NameRules
    from dr_pipelines.protocols import VectorStore

GROUP = "dr_pipelines.engines"
SHARED = "shared"
SUGGESTED = "duckdb"
"""The engine of new projects: it needs no server and no extra."""


def _open_memory(url: str, *, base: Path, names: StoredNames = NO_NAMES) -> "VectorStore":
    """A new, empty store each time."""
    del url, base, names
    from dr_pipelines.stores.memory import memory_store

    return memory_store()


MEMORY = Engine(
    name="memory",
    title="memory, gone when the process ends",
    schemes=(Scheme(name="memory", location=Location.MEMORY, forms=("memory:",)),),
    open=_open_memory,
)


@cache
def own_engines() -> Mapping[str, Engine]:
    """The engines of this package by name, ascending."""
    packages = [m.name for m in iter_modules(stores.__path__) if m.ispkg and m.name != SHARED]
    loaded = [import_module(f"{stores.__name__}.{package}").ENGINE for package in packages]
    return {engine.name: engine for engine in sorted([MEMORY, *loaded], key=lambda e: e.name)}


def engines() -> Mapping[str, Engine]:
    """All engines by name; those of this package first.

    Raises:
        InvalidRequest: an engine that another package brings cannot be loaded, or has the name or
            a scheme of another one.
    """
    every, schemes = dict(own_engines()), _schemes(own_engines())
    for engine, package in _brought():
        taken = {engine.name} & every.keys() | {s.name for s in engine.schemes} & schemes.keys()
        if taken:
            raise InvalidRequest(
                f"the package {package} brings the engine {engine.name!r}, but {min(taken)!r} is "
                f"taken by another one: uninstall {package}, or the package of the other one"
            )
        every[engine.name] = engine
        schemes |= _schemes({engine.name: engine})
    return every


def _brought() -> Iterator[tuple[Engine, str]]:
    """Engines of other packages, with the name of the package."""
    from importlib.metadata import entry_points  # takes a tenth of a second to import and to read

    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        package = point.dist.name if point.dist else point.value
        try:
            engine = point.load()
        except (ImportError, AttributeError) as error:
            raise InvalidRequest(
                f"the engine {point.name!r} of the package {package} cannot be loaded: {error}. "
                f"Upgrade or uninstall {package}"
            ) from error
        if not isinstance(engine, Engine):
            raise InvalidRequest(
                f"the engine {point.name!r} of the package {package} is no Engine: {point.value} "
                f"is a {type(engine).__name__}. Upgrade or uninstall {package}"
            )
        yield engine, package


def engine_named(name: str) -> Engine | None:
    """The engine whose sections have that name; None for one that is not here."""
    return own_engines().get(name) or engines().get(name)


def name_rules(name: str, collection: str) -> "NameRules":
    """How the name of a collection is freed in an engine's stores."""
    from dr_pipelines.model.recovery import NameRules

    engine = engine_named(name)
    if engine is None or engine.name_rules is None:
        return NameRules()
    return engine.name_rules(collection)


def notes_on_values(spec: "CollectionSpec", *, into: str) -> "tuple[Note, ...]":
    """Notes on values and ids in an engine that is not the specification's: those of the engine
    itself on a part go before those of the engine that made the values."""
    engine = engine_named(into)
    here = tuple(engine.values_here(spec)) if engine and engine.values_here else ()
    makers = [engine_named(name) for name in spec.engine if name != into]
    elsewhere = [
        note
        for maker in makers
        if maker is not None and maker.values_elsewhere is not None
        for note in maker.values_elsewhere(spec)
    ]
    noted = {note.part for note in here}
    return (*(note for note in elsewhere if note.part not in noted), *here)


def find_scheme(name: str) -> tuple[Engine, Scheme] | None:
    """A scheme and its engine; None where no engine has it."""
    return _schemes(own_engines()).get(name) or _schemes(engines()).get(name)


def schemes() -> list[Scheme]:
    """The schemes of all engines."""
    return [scheme for engine in engines().values() for scheme in engine.schemes]


def with_native_files() -> list[Scheme]:
    """The schemes of engines whose collections are files that can be kept as they are."""
    able = [engine for engine in engines().values() if engine.native_files is not None]
    return [scheme for engine in able for scheme in engine.schemes]


def url_forms() -> str:
    """The URLs that are understood, for a message."""
    *first, last = [scheme.form for scheme in schemes()]
    return f"{', '.join(first)} or {last}"


def is_store_url(url: str) -> bool:
    """True if a URL, without variables, is one of a store."""
    match = find_scheme(url.partition(":")[0])
    return match is not None and match[1].fits(url)


def suggested_scheme() -> Scheme:
    """The scheme of a store for a project that has none yet: a file for each collection, called
    as `Scheme.files` says."""
    return own_engines()[SUGGESTED].schemes[0]


def suggested_url(directory: str) -> str:
    """The URL of such a store in a directory."""
    return f"{suggested_scheme().name}:{directory}"


def packages() -> dict[str, str]:
    """Package that an engine needs → the extra that installs it."""
    return {
        package: engine.extra
        for engine in own_engines().values()
        if engine.extra is not None
        for package in engine.packages
    }


def _schemes(of: Mapping[str, Engine]) -> dict[str, tuple[Engine, Scheme]]:
    return {s.name: (engine, s) for engine in of.values() for s in engine.schemes}
