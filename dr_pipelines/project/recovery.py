"""The parts of a recovery, opened as the policies name them."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dr_pipelines.errors import NotFound
from dr_pipelines.model.collection_policy import CollectionPolicy
from dr_pipelines.project.project import Project

if TYPE_CHECKING:  # they bring Arrow, which reading a log does not need
    from collections.abc import Sequence

    from dr_pipelines.model.golden import GoldenSet
    from dr_pipelines.model.query import FloatArray
    from dr_pipelines.model.recovery import Recovery, Request
    from dr_pipelines.recovery.resources import QueryMaker, Resources


def clock_of(policy: CollectionPolicy) -> Literal["source", "log"]:
    """By what a time names a recovery point of a collection."""
    return "source" if policy.authority == "source" else "log"


def require_begun(project: Project, collection: str) -> None:
    """Raise `NotFound` for a collection of a store alone of which nothing is logged."""
    history = project.collection(collection).history()
    if project.collection(collection).policy.source is None and history.head().entry is None:
        raise NotFound(f"{collection}: nothing is backed up yet. Run: dr backup {collection}")


def open_for(
    project: Project,
    request: "Request",
    *,
    run: str = "",
    evidence: Path | None = None,
    with_golden: bool = True,
) -> "Resources":
    """Everything that a recovery needs and nothing else: no model but for a replay. `run` labels
    what is written, `evidence` is a directory for reports other than the machine's. Who only plans
    reads no golden queries.

    Raises `NotFound` where nothing is backed up yet, `InvalidRequest` for what the policies do not
    name, or for a replay of a collection that has no source.
    """
    from dr_pipelines.recovery.resources import Resources

    repository = project.reading(run=run)
    require_begun(project, request.collection)
    lineage = None
    if request.route == "replay":
        lineage = project.collection(request.collection).lineage(embedder=request.embedder)
    wants_files = request.route in ("native", "auto")
    return Resources(
        repository=repository,
        store=project.store(request.store),
        store_name=request.store,
        lease=project.lease,
        lineage=lineage,
        native=project.native(request.store) if wants_files else None,
        journal=project.machine.journal,
        evidence=project.machine.evidence(evidence),
        objective=project.collection(request.collection).policy.objectives,
        golden=_golden(project, request.collection) if with_golden else None,
        queries=_query_maker(project, request.collection),
    )


def _golden(project: Project, collection: str) -> "GoldenSet | None":
    from dr_pipelines.project.golden_file import load_golden

    path = project.collection(collection).policy.golden
    return load_golden(project.context.path(path)) if path else None


def _query_maker(project: Project, collection: str) -> "QueryMaker | None":
    """Embeds queries by the collection's own embedder, which is opened only then; None where the
    policies name none."""
    policy = project.collection(collection).policy
    name = policy.embedder or policy.search_embedder
    if name is None:
        return None

    def make(texts: "Sequence[str]") -> "FloatArray":
        from dr_pipelines.contents.query_vectors import query_vectors
        from dr_pipelines.project import adapters

        model, repository = project.embedder(name), project.reading()
        manifest = project.collection(collection).history().manifest()
        light = adapters.light_way(model)
        made = query_vectors(texts, model, light=light, manifest=manifest, repository=repository)
        return made.vectors

    return make


def steps_after(project: Project, done: "Recovery", *, policies: str) -> list[str]:
    """Sentences on what to do after a recovery. `policies` is what they call the file."""
    from dr_pipelines.recovery.line_report import unseen_step
    from dr_pipelines.recovery.report import next_steps

    plan, policy = done.plan, project.collection(done.plan.collection).policy
    taken = not done.switched and plan.collection in project.store(plan.store).collections()
    steps = next_steps(
        done,
        policies=policies,
        policy_store=policy.store,
        has_source=policy.source is not None,
        name_taken=taken,
    )
    unseen = (
        [unseen_step(done)] if policy.authority != "source" and _replaced(project, done) else []
    )
    return [*steps, *unseen]


def _replaced(project: Project, done: "Recovery") -> bool:
    """True if what was served before is still there, in one of the stores."""
    manifest = project.collection(done.plan.collection).history().manifest()
    if not done.switched or manifest is None or len(manifest.timelines) < 2:
        return False
    former = manifest.timelines[-2]
    return former.physical != done.plan.physical and (
        former.physical in project.store(former.store).collections()
    )
