"""A variant whose collections have names of their own (`stored_as`)."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from dr_pipelines.stores.qdrant.variant import Json, OpenPoints, Variant
from dr_pipelines.stores.shared.naming import StoredNames


class NamedVariant:
    """Another variant, by the names that policies give. Aliases are translated where the engine has
    some itself; where an alias is a file of ours it has our name."""

    def __init__(self, variant: Variant, names: StoredNames, *, translates_aliases: bool) -> None:
        self._variant = variant
        self._names = names
        self._alias = self._native if translates_aliases else str
        self._alias_of = self._name if translates_aliases else str
        self.variant = variant.variant
        self.silent = variant.silent
        self.keeps_unit_vectors = variant.keeps_unit_vectors
        self.keeps_any_vector = variant.keeps_any_vector
        self.exclusive = variant.exclusive
        self.ranks_texts = variant.ranks_texts
        self.parses = variant.parses

    @property
    def engine(self) -> str:
        return self._variant.engine

    def names(self) -> list[str]:
        return [
            name for native in self._variant.names() if (name := self._name(native)) is not None
        ]

    def hidden(self) -> tuple[str, ...]:
        """A sentence for each collection that stands for nothing here."""
        return self._names.hidden(self._variant.names(), str)

    def aliases(self) -> dict[str, str]:
        return self._translated(self._variant.aliases())

    def readable_aliases(self) -> dict[str, str]:
        return self._translated(self._variant.readable_aliases())

    def target(self, alias: str) -> str | None:
        native = self._alias(alias)
        if self._alias_of(native) != alias:  # a name that stands for something else here
            return None
        target = self._variant.target(native)
        return None if target is None else self._name(target)

    def point(self, alias: str, name: str) -> None:
        self._variant.point(self._alias(alias), self._native(name))

    def create(self, name: str, config: Json, label: str) -> None:
        self._variant.create(self._native(name), config, label)

    def drop(self, name: str, *, unless_served: Callable[[], None]) -> None:
        self._variant.drop(self._native(name), unless_served=unless_served)

    def keeping(self, name: str) -> AbstractContextManager[None]:
        return self._variant.keeping(self._native(name))

    @contextmanager
    def opened(self, name: str) -> Iterator[OpenPoints]:
        with self._variant.opened(self._native(name)) as collection:
            yield collection

    def _native(self, name: str) -> str:
        return self._names.native(name, str)

    def _name(self, native: str) -> str | None:
        return self._names.collection(native, str)

    def _translated(self, aliases: dict[str, str]) -> dict[str, str]:
        named = {self._alias_of(alias): self._name(to) for alias, to in aliases.items()}
        return {alias: to for alias, to in named.items() if alias is not None and to is not None}
