"""Names of collections in a store whose own names we cannot use: `stored_as` in the policies."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from dr_pipelines.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class StoredNames:
    """Collection → what the store calls it, for those that it calls otherwise. All other names are
    translated by the adapter's own rule; where that gives the name of a collection in here, it is
    of something else, and stands for nothing."""

    stored: Mapping[str, str] = field(default_factory=dict)

    def native(self, collection: str, usual: Callable[[str], str]) -> str:
        """The store's name for a collection, or an alias."""
        return self.stored.get(collection) or usual(collection)

    def collection(self, native: str, usual: Callable[[str], str | None]) -> str | None:
        """The collection of that name in the store; None if there can be none."""
        for collection, stored in self.stored.items():
            if stored == native:
                return collection
        own_name = usual(native)
        return None if own_name in self.stored else own_name

    def hidden(self, natives: Iterable[str], usual: Callable[[str], str | None]) -> tuple[str, ...]:
        """A sentence for each of what a store has that stands for nothing, since the name that it
        would have here is that of a collection that the store calls otherwise."""
        called = set(self.stored.values())
        names = {native: usual(native) for native in natives if native not in called}
        return tuple(
            f"{native!r} is not seen there, since policies give that name to another collection "
            f"(stored_as). To back it up, name it otherwise in the policies, with stored_as: "
            f"{native!r}"
            for native, name in sorted(names.items())
            if name is not None and name in self.stored
        )


NO_NAMES = StoredNames()
"""Of a store in which every collection has its own name."""


def checked_as_file(names: StoredNames) -> StoredNames:
    """The names, where a collection is a file or a directory that has its name.

    Raises:
        InvalidRequest: one of them cannot be a single, visible component of a path.
    """
    for collection, stored in names.stored.items():
        if stored.startswith(".") or set("/\\\0") & set(stored) or stored.endswith(".lance"):
            raise InvalidRequest(
                f"collection {collection!r} is stored_as {stored!r}: expected a name that a file "
                "can have, without a dot before it or a slash in it"
            )
    return names
