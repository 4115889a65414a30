"""Facts of what a collection is made from: its source, its model, its golden queries."""

from dr_pipelines.contents.answers import answers_at
from dr_pipelines.embedders.model_files import offline
from dr_pipelines.ingestion.days import FIRST_EPOCH, Reading, require_same_source, source_days
from dr_pipelines.model.incident import DayFact, ModelFact, SourceFact, Trouble
from dr_pipelines.model.recovery_point import RecoveryPoint
from dr_pipelines.project.collection import ProtectedCollection
from dr_pipelines.project.facts.troubles import noted
from dr_pipelines.project.golden_file import load_golden
from dr_pipelines.project.project import Project
from dr_pipelines.proof.golden import outdated

NAMED = 5


def source_fact(
    protected: ProtectedCollection, newest: RecoveryPoint | None, troubles: list[Trouble]
) -> SourceFact | None:
    """The source as it is now, by signs; None for a collection without one. One that is not the
    one that was read is a trouble. Without a point nothing was read of it."""
    if protected.policy.source is None:
        return None
    before = len(troubles)
    with noted(troubles, default="source", place=f"source of {protected.name}"):
        feed, reading = protected.feed(), Reading(FIRST_EPOCH)
        if newest is not None:
            reading = Reading.of(protected.history(), newest.manifest)
        days = source_days(feed)
        require_same_source(feed, reading)
        return SourceFact(
            same=True,
            head=days[-1].through if days else 0,
            days=tuple(
                DayFact(
                    day=day.day.isoformat(),
                    after=day.after,
                    through=day.through,
                    covered=reading.through(day),
                )
                for day in days
            ),
        )
    return SourceFact(same=False, problem=troubles[before].message)


def model_fact(
    protected: ProtectedCollection, newest: RecoveryPoint | None, troubles: list[Trouble]
) -> ModelFact | None:
    """The model by its files, all of which are hashed, without a network; None for a collection
    that embeds nothing. Other files than those that were recorded are a trouble."""
    name = protected.policy.embedder
    if name is None:
        return None
    before = len(troubles)
    place = f"embedder {name}"
    with noted(troubles, default="model", place=place), offline():
        lineage = protected.lineage()
        provenance, recorded = lineage.provenance, newest and newest.manifest.provenance
        differences = tuple(recorded.differences(provenance)) if recorded else ()
        changed = [line for line in differences if line.startswith("embedder.")]
        if changed:
            message = f"it is not the model that was recorded: {'; '.join(changed[:NAMED])}"
            if len(changed) > NAMED:
                message += f"; and {len(changed) - NAMED} more"
            troubles.append(Trouble(kind="weights", place=place, message=message))
        return ModelFact(
            name=name,
            provenance=provenance.fingerprint,
            chunks=lineage.chunks_fingerprint,
            differences=differences,
            hosted=provenance.embedder.endpoint is not None,
        )
    return ModelFact(name=name, problem=troubles[before].message)


def golden_troubles(
    project: Project,
    protected: ProtectedCollection,
    newest: RecoveryPoint | None,
    troubles: list[Trouble],
) -> None:
    """The golden queries that the policy names: whether they can be read, and whether the documents
    that they judge are those that were judged."""
    path = protected.policy.golden
    if path is None:
        return
    with noted(troubles, default="golden", place=path):
        golden = load_golden(project.context.path(path))
        if newest is None:
            return
        with answers_at(protected.history(), newest) as answers:
            changed, gone = outdated(golden, answers)
        if changed or gone:
            few = ", ".join([*changed, *gone][:NAMED])
            message = (
                f"{len(changed)} documents that were judged have another text since, {len(gone)} "
                f"are gone, such as {few}"
            )
            troubles.append(Trouble(kind="golden", place=path, message=message))
