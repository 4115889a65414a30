"""This machine's own directory: what its processes share, and what they remember."""

import socket
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from dr_pipelines.host.permissions import Access

if TYPE_CHECKING:
    from dr_pipelines.backup.piece_cache import PieceCache
    from dr_pipelines.monitoring.exposure import CachedStatusFile
    from dr_pipelines.protocols import Lease
    from dr_pipelines.recovery.evidence import EvidenceFiles
    from dr_pipelines.recovery.journal import FileJournal
    from dr_pipelines.repository.witness import FileWitness
    from dr_pipelines.sources.marks_file import SourceMarks, Trust


@dataclass(frozen=True, slots=True)
class Machine:
    """`state` is the directory, `access` who may look into what is made on this machine."""

    state: Path
    access: Access

    @property
    def id(self) -> str:
        """Equal for processes that share leases: those with this directory on this host."""
        name = f"{socket.gethostname()}\0{self.state.resolve()}"
        return sha256(name.encode()).hexdigest()[:8]

    @property
    def lease(self) -> "Lease":
        """The lease on a collection among the processes of this machine."""
        from dr_pipelines.repository.lease import FileLease

        return FileLease(self.state / "leases", access=self.access)

    @property
    def temporary(self) -> Path:
        """The directory of this package's temporary files."""
        return self.state / "temporary"

    def trial(self, collection: str) -> Path:
        """Where a collection is tried, while its lease `COLLECTION.trial` is held."""
        return self.state / "trials" / collection

    def repository(self, url: str) -> Path:
        """The directory of this machine's memory of the repository at a URL."""
        return self.state / "heads" / sha256(url.encode()).hexdigest()[:16]

    def witness(self, url: str) -> "FileWitness":
        """The newest heads that were seen in the repository at a URL."""
        from dr_pipelines.repository.witness import FileWitness

        return FileWitness(self.repository(url), self.access)

    @property
    def journal(self) -> "FileJournal":
        """Phases of recoveries that have not come to their end."""
        from dr_pipelines.recovery.journal import FileJournal

        return FileJournal(self.state / "recoveries", self.access)

    def evidence(self, directory: Path | None = None) -> "EvidenceFiles":
        """Reports of recoveries, in a directory of somebody's or in this machine's own."""
        from dr_pipelines.recovery.evidence import EvidenceFiles

        return EvidenceFiles(directory or self.state / "evidence", self.access)

    def marks(self, collection: str, trust: "Trust") -> "SourceMarks":
        """Marks that readings of a collection's source left here, believed by signs or by proof."""
        from dr_pipelines.sources.marks_file import SourceMarks

        name = sha256(collection.encode()).hexdigest()[:16]
        return SourceMarks.at(self.state, name, trust=trust, access=self.access)

    def pieces(self, collection: str) -> "PieceCache":
        """Facts about records in files of the engine that never change."""
        from dr_pipelines.backup.piece_cache import PieceCache

        name = sha256(collection.encode()).hexdigest()[:16]
        return PieceCache(self.state / "pieces" / name, access=self.access)

    def cached_status(self, collection: str) -> "CachedStatusFile":
        """The last observation of a collection's source and log."""
        from dr_pipelines.monitoring.exposure import CachedStatusFile

        return CachedStatusFile(self.state / "sightings", collection, access=self.access)
