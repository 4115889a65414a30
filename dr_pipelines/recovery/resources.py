"""Everything that a recovery works with, opened."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dr_pipelines.ingestion.lineage import Lineage
from dr_pipelines.model.collection_keys import Objective
from dr_pipelines.model.golden import GoldenSet
from dr_pipelines.model.query import FloatArray
from dr_pipelines.protocols import Lease, NativeFiles, VectorStore
from dr_pipelines.recovery.evidence import EvidencePlace, NoEvidence
from dr_pipelines.recovery.journal import Journal, NoJournal
from dr_pipelines.recovery.phases import Timer
from dr_pipelines.repository.repository import Repository

QueryMaker = Callable[[Sequence[str]], FloatArray]
"""float32[n, dimension] of n texts, as users' queries are embedded."""
NOT_RECORDED = NoJournal()
NO_FILES = NoEvidence()


@dataclass(frozen=True, slots=True)
class Resources:
    """Where a recovery reads, and where it builds. A `lineage` is for route `replay` alone,
    `native` for `native`; the repository may be one that cannot be written, unless vectors are made
    again or the plan switches. `journal` records phases on this machine, `timer` times
    them; `evidence` is where reports go, `objective` what the time of a recovery is held to,
    `golden` what the collection must answer, `queries` embeds its texts and raises `DrError` where
    that cannot be done as for the collection's own."""

    repository: Repository
    store: VectorStore
    store_name: str
    lease: Lease
    lineage: Lineage | None = None
    native: NativeFiles | None = None
    journal: Journal = NOT_RECORDED
    timer: Timer = time.monotonic
    evidence: EvidencePlace = NO_FILES
    objective: Objective | None = None
    golden: GoldenSet | None = None
    queries: QueryMaker | None = None
