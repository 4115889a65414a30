"""State that the demo's acts share."""

from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from dr_pipelines.cli.demo.corpus import Corpus
from dr_pipelines.cli.demo.narration import Narrator
from dr_pipelines.cli.demo.sight import Question, Sight
from dr_pipelines.ingestion.lineage import Lineage
from dr_pipelines.live.live import Live
from dr_pipelines.model.recovery import Recovery
from dr_pipelines.project.project import Project
from dr_pipelines.protocols import VectorStore
from dr_pipelines.repository.history import History
from dr_pipelines.repository.repository import Repository


@dataclass
class Story:
    """The state of the demo so far."""

    project: Project
    corpus: Corpus
    days: list[date]
    tell: Narrator
    policies: Path
    questions: list[Question] = field(default_factory=list)
    snapshots: list[int] = field(default_factory=list)
    before: Sight | None = None
    recoveries: list[Recovery] = field(default_factory=list)
    lost_bytes: int = 0

    @property
    def name(self) -> str:
        return self.corpus.name

    @property
    def store(self) -> VectorStore:
        return self.project.collection(self.name).store()

    @property
    def history(self) -> History:
        return self.project.collection(self.name).writable_history()

    @property
    def live(self) -> Live:
        return self.project.collection(self.name).live()

    @property
    def repository(self) -> Repository:
        return self.project.repository()

    @property
    def lineage(self) -> Lineage:
        return self.project.collection(self.name).lineage()

    def dr(self, words: str) -> None:
        """Show the command that does the same."""
        self.tell.command(f"dr {words}")
