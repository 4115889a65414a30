"""Places for test restores of a sample of a collection."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from shutil import rmtree
from typing import TYPE_CHECKING

from dr_pipelines.host.permissions import make_directory
from dr_pipelines.model.components import StorePolicy
from dr_pipelines.project import adapters
from dr_pipelines.project.machine import Machine

if TYPE_CHECKING:
    from dr_pipelines.protocols import VectorStore


@dataclass(frozen=True, slots=True)
class TrialPlaces:
    """The places for one collection. Each is held by a lease while it is used, so that no other
    process of this machine is in the middle of a trial there."""

    collection: str
    machine: Machine

    @contextmanager
    def named(self, open_store: "Callable[[], VectorStore]") -> "Iterator[VectorStore]":
        """A scratch store that the policies name."""
        with self.machine.lease(f"{self.collection}.trial"):
            yield open_store()

    @contextmanager
    def twin(self, served: StorePolicy, context: adapters.PolicyContext) -> "Iterator[VectorStore]":
        """An empty store of the same embedded engine. What a killed trial left is removed first:
        holding the lease proves that no other trial is running."""
        place = self.machine.trial(self.collection)
        with self.machine.lease(f"{self.collection}.trial"):
            rmtree(place, ignore_errors=True)
            make_directory(place, self.machine.access)
            try:
                yield adapters.open_twin(served, place, context)
            finally:
                rmtree(place, ignore_errors=True)
