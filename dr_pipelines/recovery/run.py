"""A plan carried out: build beside, prove, then switch. Nothing is ever restored over a collection
being served, and nothing is served that was not read back and found equal."""

from contextlib import ExitStack

from dr_pipelines.errors import InvalidRequest, Refused
from dr_pipelines.live.keeping import kept_open
from dr_pipelines.model.recovery import Plan, Recovery, Request, Route
from dr_pipelines.model.recovery_point import Digests
from dr_pipelines.planning.parts import compare_parts, namespace
from dr_pipelines.planning.refusals import require_runnable
from dr_pipelines.protocols import Progress
from dr_pipelines.recovery.build import Building
from dr_pipelines.recovery.phases import Stopwatch
from dr_pipelines.recovery.plan import plan_recovery
from dr_pipelines.recovery.resources import Resources
from dr_pipelines.recovery.state import expected_state, manifest_at, planned_point
from dr_pipelines.recovery.steps import STEPS, Run
from dr_pipelines.recovery.switch import require_unserved
from dr_pipelines.repository.history import History
from dr_pipelines.repository.observation import Observed


def recover(
    request: Request, resources: Resources, *, progress: Progress | None = None
) -> Recovery:
    """Plan a recovery and carry it out, for callers that need not read the plan first."""
    return run_recovery(plan_recovery(request, resources), resources, progress=progress)


def run_recovery(plan: Plan, resources: Resources, *, progress: Progress | None = None) -> Recovery:
    """Carry out a plan; after a kill the same plan goes on where it stopped.

    Raises:
        DrError: the first of its refusals, before anything is touched.
        Damaged: an object is not what was written.
        Stopped: a phase ended with findings that nobody goes on in spite of: what was restored is
            left aside, unserved, or where its name is what is served.
    """
    require_runnable(plan)
    _require_planned(plan, resources)
    watch = Stopwatch(plan, resources.journal, resources.timer)
    with ExitStack() as stack:
        with watch.phase("access"):
            stack.enter_context(resources.lease(plan.physical))  # two of one point: one name
            require_unserved(plan, resources)
            point = planned_point(plan, resources.repository)
            manifest = manifest_at(History(resources.repository, plan.collection), point)
            stack.enter_context(kept_open(resources.store, plan.physical))
        state = expected_state(
            point, plan, resources, manifest=manifest, watch=watch, progress=progress
        )
        expected = stack.enter_context(state)
        building = Building(point, plan, resources, watch)
        run = Run(plan, resources, point, expected, building, plan.spec, progress)
        for step in STEPS:
            step(run)
            run.require_accepted()
        watch.end()
        return recovered(run)


def _require_planned(plan: Plan, resources: Resources) -> None:
    """Refuse to carry out a plan with other things than it was made for."""
    if plan.store != resources.store_name:
        raise InvalidRequest(
            f"{plan.collection}: the plan is for store {plan.store!r}, not {resources.store_name!r}"
        )
    lineage = resources.lineage
    if plan.route is not Route.REPLAY:
        return
    if lineage is None or lineage.provenance.fingerprint != plan.provenance:
        raise Refused(
            f"{plan.collection}: the plan is for vectors of another model, chunker or source than "
            "the policy names. Make the plan again"
        )


def recovered(run: Run) -> Recovery:
    """The result of a run, with its differences from the recovery point."""
    plan, watch, manifest = run.plan, run.watch, run.expected.manifest
    verdict, observed = run.verdict(), run.observed
    differs = any(finding.check == "digests" for finding in verdict.findings)
    return Recovery(
        plan=plan,
        phases=tuple(watch.phases),
        records=observed.rows + observed.omitted,
        documents=manifest.counts.documents,
        digests=_read(manifest.digests, observed),
        bit_identical=run.expected.identical and observed.rounded == 0 and not differs,
        switched=plan.switch,
        entry=run.entry,
        verdict=verdict,
        made_in=run.made_in(),
        embedded=run.expected.embedded,
        earlier=watch.earlier.phases,
        interrupted=watch.earlier.running,
        dropped=watch.dropped,
        unrecorded=watch.unrecorded,
        same_model=manifest.provenance == run.point.manifest.provenance,
        findings=compare_parts(plan.spec, run.described, engine=namespace(run.store.engine)),
        left_out=run.building.left.total,
        refused=run.building.left.named,
        chosen=run.building.chosen(),
    )


def _read(expected: Digests, observed: Observed) -> Digests:
    """The digests of what was read back."""
    update = {"content": observed.content, "vectors": observed.vectors}
    return expected.model_copy(update=update)
