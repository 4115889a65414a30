"""Collections that stay open between the calls of one verb."""

from contextlib import AbstractContextManager, nullcontext

from dr_pipelines.protocols import KeepsOpen, VectorReader


def kept_open(store: VectorReader, physical: str) -> AbstractContextManager[None]:
    """While it lasts, a store that opens a collection for each call opens this one once."""
    return store.keeping(physical) if isinstance(store, KeepsOpen) else nullcontext()
