"""A plan carried out: build beside, prove, then switch. Nothing is ever restored over a collection
being served, and nothing is served that was not read back and found equal."""

from contextlib import ExitStack
from dataclasses import dataclass

from dr_pipelines.errors import InvalidRequest, Refused
from dr_pipelines.live.keeping import kept_open
from dr_pipelines.model.recovery import Evidence, Plan, Recovery, Request, Route
from dr_pipelines.planning.parts import compare_parts, namespace
from dr_pipelines.planning.refusals import require_runnable
from dr_pipelines.protocols import Progress
from dr_pipelines.recovery.build import Building
from dr_pipelines.recovery.ending import report_of
from dr_pipelines.recovery.evidence import keep_evidence
from dr_pipelines.recovery.phases import Stopwatch
from dr_pipelines.recovery.plan import plan_recovery
from dr_pipelines.recovery.report import evidence_lines
from dr_pipelines.recovery.resources import Resources
from dr_pipelines.recovery.state import expected_state, manifest_at, planned_point
from dr_pipelines.recovery.steps import STEPS, Run
from dr_pipelines.recovery.switch import require_unserved
from dr_pipelines.repository.history import History


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
    now = resources.repository.clock()
    watch = Stopwatch(plan, resources.journal, resources.timer, now=now)
    progress = watch.watching(progress)
    with ExitStack() as stack:
        with watch.phase("access"):  # two of one point build under one name
            stack.enter_context(resources.lease(plan.physical))
        attempt = Attempt(plan, resources, watch)
        try:
            run = attempt.run = _begun(attempt, stack, progress)
            for step in STEPS:
                step(run)
                run.require_accepted()
        except Exception as error:
            _keep(attempt, error)
            raise
        watch.end()
        return recovered(run, _keep(attempt, None))


@dataclass
class Attempt:
    """A recovery from the moment that it may touch something; `run` once its state is there."""

    plan: Plan
    resources: Resources
    watch: Stopwatch
    run: Run | None = None


def _begun(attempt: Attempt, stack: ExitStack, progress: Progress | None) -> Run:
    """The run, when log and store answered and the state at the point is there."""
    plan, resources, watch = attempt.plan, attempt.resources, attempt.watch
    with watch.phase("access"):
        require_unserved(plan, resources)
        point = planned_point(plan, resources.repository)
        manifest = manifest_at(History(resources.repository, plan.collection), point)
        stack.enter_context(kept_open(resources.store, plan.physical))
    state = expected_state(
        point, plan, resources, manifest=manifest, watch=watch, progress=progress
    )
    states = stack.enter_context(ExitStack())
    expected = states.enter_context(state)
    building = Building(point, plan, resources, watch)
    return Run(plan, resources, point, expected, building, plan.spec, states, progress)


def _keep(attempt: Attempt, error: Exception | None) -> Evidence:
    """Record how it ended; where an error ended it, the error says where that is recorded."""
    plan, resources = attempt.plan, attempt.resources
    report = report_of(plan, resources, attempt.watch, attempt.run, error=error)
    evidence = keep_evidence(
        History(resources.repository, plan.collection), report, resources.evidence
    )
    if error is not None:
        for line in evidence_lines(evidence):
            error.add_note(line)
    return evidence


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


def recovered(run: Run, evidence: Evidence) -> Recovery:
    """The result of a run, with its differences from the recovery point."""
    plan, watch, manifest = run.plan, run.watch, run.expected.manifest
    verdict, observed = run.verdict(), run.observed
    differs = any(finding.check == "digests" for finding in verdict.findings)
    return Recovery(
        plan=plan,
        phases=tuple(watch.phases),
        records=observed.rows + observed.omitted,
        documents=manifest.counts.documents,
        digests=run.read_back(),
        bit_identical=run.expected.identical and observed.rounded == 0 and not differs,
        switched=plan.switch,
        entry=run.entry,
        verdict=verdict,
        made_in=run.made_in(),
        evidence=evidence,
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
        caught_up=run.caught_up,
        left_behind=run.served.left_behind if run.served else None,
        unseen_since=run.served.unseen_since if run.served else None,
    )
