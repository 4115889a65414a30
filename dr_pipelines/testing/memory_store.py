"""The reference store as a class, for stores that do one thing otherwise."""

from dr_pipelines.stores.memory import MemoryDriver, TableState
from dr_pipelines.stores.shared.driver_store import DriverStore


class MemoryVectorStore(DriverStore[MemoryDriver]):
    """`memory_store()`, to be subclassed. Tests may change what it holds behind its back."""

    def __init__(self) -> None:
        super().__init__(MemoryDriver())

    @property
    def tables(self) -> dict[str, TableState]:
        """Collections by name."""
        return self._driver.tables

    @property
    def targets(self) -> dict[str, str]:
        """Aliases by name."""
        return self._driver.aliases.targets

    def newest(self, name: str) -> TableState:
        """A collection, or what an alias stands for."""
        return self._driver.newest(self.targets.get(name, name))
