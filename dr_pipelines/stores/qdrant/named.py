"""A driver whose collections have names of their own (`stored_as`)."""

from collections.abc import Iterator
from contextlib import contextmanager

from dr_pipelines.stores.qdrant.driver import Driver, Json, OpenCollection
from dr_pipelines.stores.shared.naming import StoredNames


class NamedDriver:
    """Another driver, by the names that policies give. Aliases are translated where the engine has
    some itself; where an alias is a file of ours it has our name."""

    def __init__(self, driver: Driver, names: StoredNames, *, translates_aliases: bool) -> None:
        self._driver = driver
        self._names = names
        self._alias = self._native if translates_aliases else str
        self._alias_of = self._name if translates_aliases else str
        self.variant = driver.variant
        self.silent = driver.silent
        self.keeps_unit_vectors = driver.keeps_unit_vectors
        self.keeps_any_vector = driver.keeps_any_vector
        self.ranks_texts = driver.ranks_texts
        self.parses = driver.parses

    @property
    def engine(self) -> str:
        return self._driver.engine

    def names(self) -> list[str]:
        return [name for native in self._driver.names() if (name := self._name(native)) is not None]

    def hidden(self) -> tuple[str, ...]:
        """A sentence for each collection that stands for nothing here."""
        return self._names.hidden(self._driver.names(), str)

    def aliases(self) -> dict[str, str]:
        return self._translated(self._driver.aliases())

    def readable_aliases(self, name: str) -> dict[str, str]:
        return self._translated(self._driver.readable_aliases(self._alias(name)))

    def point(self, alias: str, name: str) -> None:
        self._driver.point(self._alias(alias), self._native(name))

    def create(self, name: str, config: Json, label: str) -> None:
        self._driver.create(self._native(name), config, label)

    def drop(self, name: str) -> None:
        self._driver.drop(self._native(name))

    @contextmanager
    def opened(self, name: str) -> Iterator[OpenCollection]:
        with self._driver.opened(self._native(name)) as collection:
            yield collection

    def _native(self, name: str) -> str:
        return self._names.native(name, str)

    def _name(self, native: str) -> str | None:
        return self._names.collection(native, str)

    def _translated(self, aliases: dict[str, str]) -> dict[str, str]:
        named = {self._alias_of(alias): self._name(to) for alias, to in aliases.items()}
        return {alias: to for alias, to in named.items() if alias is not None and to is not None}
