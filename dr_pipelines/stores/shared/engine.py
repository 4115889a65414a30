"""How an engine introduces itself: all that code outside its package knows of it.

The package of an engine has one value `ENGINE` in its `__init__`, which imports neither the
engine's client nor Arrow: commands that only need names read it too. `stores.engines` finds it.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from dr_pipelines.stores.shared.naming import NO_NAMES, StoredNames

if TYPE_CHECKING:  # they bring the models of specifications, which reading a URL does not need
    from dr_pipelines.model.collection import CollectionSpec
    from dr_pipelines.model.compatibility import Note
    from dr_pipelines.model.recovery import NameRules
    from dr_pipelines.protocols import Catalog, HashedFiles, NativeFiles, VectorStore


class OpenStore(Protocol):
    """Opens what a URL names; reads nothing, and asks nobody, before its first use."""

    def __call__(self, url: str, *, base: Path, names: StoredNames = NO_NAMES) -> "VectorStore":
        """`url` without variables; relative directories are under `base`.

        Raises:
            InvalidRequest: the URL is none of this engine. The message does not repeat it.
            ModuleNotFoundError: a package of `Engine.packages` is not installed.
        """
        ...


def opened_by(module: str) -> OpenStore:
    """The `open_store` of a module, which is imported when a store is opened."""

    def open_store(url: str, *, base: Path, names: StoredNames = NO_NAMES) -> "VectorStore":
        store: VectorStore = import_module(module).open_store(url, base=base, names=names)
        return store

    return open_store


NotesOnValues = Callable[["CollectionSpec"], "Iterable[Note]"]
"""Notes on values and ids of a specification that another engine described."""


class Location(Enum):
    """Where the stores of a scheme run."""

    SERVER = "{scheme}://…"
    DIRECTORY = "{scheme}:DIRECTORY"
    MEMORY = "{scheme}:"


PATTERNS = {Location.SERVER: "://.+", Location.DIRECTORY: ":.+", Location.MEMORY: ":"}
BUCKET = "s3://"
"""Begins the place of a store that is in a bucket although its scheme is of directories."""


@dataclass(frozen=True, slots=True)
class Served:
    """The collection that an alias stands for: its name here, and the one that the engine's own
    client opens."""

    collection: str
    native: str


def served_as(target: str | None, native: Callable[[str], str]) -> Served | None:
    """The collection that an alias stands for, if it is one; `native` turns its name into that of
    the engine's client."""
    return None if target is None else Served(target, native(target))


ReadAlias = Callable[[str, str, Path], Served | None]
"""Reads an alias, by the URL of a store, the alias, and the base of relative directories; None
where there is no such alias. Imports neither the engine nor its client."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """A kind of URL of an engine's stores.

    `forms` are how its URLs are written, for people; `files` patterns of names, all of which a
    directory of such a store has; `synonyms` a pattern of schemes that other programs write.
    `read_alias` is for programs that use the engine's own client, of an engine whose client knows
    no aliases.
    """

    name: str
    location: Location
    forms: tuple[str, ...]
    files: tuple[str, ...] = ()
    synonyms: str | None = None
    read_alias: ReadAlias | None = None

    @property
    def form(self) -> str:
        """The shortest description of its URLs."""
        return self.location.value.format(scheme=self.name)

    def fits(self, url: str) -> bool:
        """True if a URL, without variables, is one of this scheme."""
        pattern = re.escape(self.name) + PATTERNS[self.location]
        return re.fullmatch(pattern, url) is not None

    def normalized(self, url: str) -> str:
        """The URL with this scheme where it has a synonym of it."""
        if self.synonyms is None:
            return url
        return re.sub(rf"^(?:{self.synonyms})(?=:)", self.name, url)

    def directory(self, place: str, *, base: Path) -> Path | None:
        """The directory of a store; `place` follows the scheme's colon. None where it has none."""
        if self.location is not Location.DIRECTORY or place.startswith(BUCKET):
            return None
        return base / Path(place).expanduser()


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """An engine: how its stores are opened, and what it is able to do.

    `name` is the first word of `VectorReader.engine`, and of its section in a specification;
    `title` is how its makers write it. `packages` are those that `extra` installs. With
    `takes_names` a store can be told what it calls a collection (`stored_as` in the policies).
    `catalog` gives the names in a store without loading the engine; `native_files` the collections
    of one of its stores as files, `hashed_files` as files that prove what is in them. `name_rules`
    says how a collection's name is freed by hand.

    What becomes of values is said by two engines: `values_elsewhere` by the one that made them, of
    a specification that has a section of it, for every other engine; `values_here` by the one that
    they are restored into.
    """

    name: str
    title: str
    schemes: tuple[Scheme, ...]
    open: OpenStore
    extra: str | None = None
    packages: tuple[str, ...] = ()
    takes_names: bool = False
    catalog: "Callable[[Path], Catalog] | None" = None
    native_files: "Callable[[VectorStore], NativeFiles | None] | None" = None
    hashed_files: "Callable[[VectorStore], HashedFiles] | None" = None
    name_rules: "Callable[[str], NameRules] | None" = None
    values_elsewhere: "NotesOnValues | None" = None
    values_here: "NotesOnValues | None" = None

    @property
    def forms(self) -> list[str]:
        """How URLs of its stores are written, for people."""
        return [form for scheme in self.schemes for form in scheme.forms]
