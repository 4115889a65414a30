"""A collection of a few texts, in a repository and a store of files."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from dr_pipelines.blobs.local import LocalBlobStore
from dr_pipelines.model.collection import CollectionSpec, Vector
from dr_pipelines.protocols import Chunker, Embedder
from dr_pipelines.stores.duckdb.store import duckdb_store
from dr_pipelines.testing.memory_witness import MemoryWitness
from dr_pipelines.testing.world import ListedSource, Process, World


class Desk:
    """A collection of a few texts, with any chunker and embedder; each `process` is a new one."""

    def __init__(self, directory: Path) -> None:
        ids = itertools.count(1)
        self.source = ListedSource()
        self.world = World(
            self.source,
            LocalBlobStore(directory / "repository"),
            duckdb_store(directory / "stores"),
            MemoryWitness(),
            lambda: f"{next(ids):08d}-desk",
        )

    def say(self, document: str, text: str, *, day: int = 1, **metadata: str) -> None:
        self.source.upsert(document, text, at=datetime(2026, 1, day, tzinfo=UTC), **metadata)

    def process(self, chunker: Chunker, embedder: Embedder) -> Process:
        vector = Vector(dimension=embedder.provenance.dimension)
        spec = CollectionSpec(name="notes", vectors=(vector,))
        made = self.world.named("notes", self.source).process()
        lineage = replace(made.lineage, spec=spec, chunker=chunker, embedder=embedder)
        return replace(made, lineage=lineage)
