"""One collection's way from source to vectors: what the policy names, put together."""

from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256

from dr_pipelines.model.base import canonical_json
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.lineage import Provenance
from dr_pipelines.model.recovery_point import CanariesRef
from dr_pipelines.protocols import Chunker, Embedder, Source


@dataclass(frozen=True)
class Feed:
    """The source of a collection."""

    collection: str
    source: Source


@dataclass(frozen=True, slots=True)
class Proof:
    """A model's canaries, and how far from them it was in this process; `first` where it made
    them."""

    canaries: CanariesRef
    first: bool
    exact: bool
    component: float = 0.0
    cosine: float = 0.0
    left_out: int = 0
    """Canary texts that the model does not read to their end."""


@dataclass(frozen=True)
class Lineage:
    """`spec` is named after the collection; `start` is the first day that is kept.
    `proofs` has what this process has proven of the embedder."""

    collection: str
    spec: CollectionSpec
    source: Source
    chunker: Chunker
    embedder: Embedder
    store_name: str = "default"
    proofs: list[Proof] = field(default_factory=list, init=False, compare=False, repr=False)

    @cached_property
    def provenance(self) -> Provenance:
        """How this lineage makes vectors."""
        return Provenance(
            source=self.source.provenance,
            chunker=self.chunker.provenance,
            embedder=self.embedder.provenance,
        )

    @cached_property
    def chunks_fingerprint(self) -> str:
        """Identifies how chunks are made: the source's and the chunker's provenance."""
        parts = (self.source.provenance.fingerprint, self.chunker.provenance.fingerprint)
        return sha256(":".join(parts).encode()).hexdigest()

    @cached_property
    def fields_fingerprint(self) -> str:
        """Identifies the declared fields, by which a source sets documents aside."""
        fields = [[field.name, str(field.type)] for field in self.spec.fields]
        return sha256(canonical_json(fields)).hexdigest()
