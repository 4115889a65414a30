"""A plan carried out: build beside, prove, then switch. Nothing is ever restored over a collection
being served, and nothing is served that was not read back and found equal."""

from dataclasses import dataclass, replace

from dr_pipelines.errors import Damaged, InvalidRequest, Refused
from dr_pipelines.live.keeping import kept_open
from dr_pipelines.live.left_out import write_left_out
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.recovery import Plan, Recovery, Request, Route
from dr_pipelines.model.recovery_point import Manifest, RecoveryPoint
from dr_pipelines.planning.parts import compare_parts, namespace
from dr_pipelines.planning.recovery import left_as_it_is
from dr_pipelines.planning.refusals import require_runnable
from dr_pipelines.protocols import Progress, VectorStore
from dr_pipelines.recovery.build import Building
from dr_pipelines.recovery.phases import Stopwatch
from dr_pipelines.recovery.plan import plan_recovery
from dr_pipelines.recovery.resources import Resources
from dr_pipelines.recovery.state import Expected, expected_state, planned_point
from dr_pipelines.recovery.switch import require_unserved, switch
from dr_pipelines.repository.history import History
from dr_pipelines.repository.observation import Observed


def recover(
    request: Request, resources: Resources, *, progress: Progress | None = None
) -> Recovery:
    """Plan a recovery and carry it out, for callers that need not read the plan first."""
    return run_recovery(plan_recovery(request, resources), resources, progress=progress)


def run_recovery(plan: Plan, resources: Resources, *, progress: Progress | None = None) -> Recovery:
    """Carry out a plan; after a kill the same plan goes on where it stopped.

    Raises the first of its refusals before anything is touched, and `Damaged` when an object is not
    what was written, or when what was restored does not read back equal: the collection is left
    aside, unserved, or where its name is what is served.
    """
    require_runnable(plan)
    _require_planned(plan, resources)
    with resources.lease(plan.physical):  # two restores of one point build under one name
        require_unserved(plan, resources)
        point = planned_point(plan, resources.repository)
        watch = Stopwatch(plan, resources.journal)
        recovery = _Run(plan, resources, point, progress, watch).through()
        watch.end()
        return replace(recovery, unrecorded=watch.unrecorded)


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


@dataclass
class _Run:
    """One run of a plan, phase by phase."""

    plan: Plan
    resources: Resources
    point: RecoveryPoint
    progress: Progress | None
    watch: Stopwatch

    def through(self) -> Recovery:
        """All phases, in order."""
        with kept_open(self.resources.store, self.plan.physical):
            return self._phases()

    def _phases(self) -> Recovery:
        with expected_state(
            self.point, self.plan, self.resources, watch=self.watch, progress=self.progress
        ) as expected:
            make = Building(self.point, self.plan, self.resources, self.watch)
            make.whole(expected.state)
            observed = make.proven(expected.state, expected.manifest, self.progress)
        described = _described(self.plan, store=self.resources.store)
        if make.open_up():
            described = _described(self.plan, store=self.resources.store)
        entry = self.switch(expected.manifest, described, make) if self.plan.switch else None
        if self.plan.switch:  # what waits for its place is there by now
            described = _described(self.plan, store=self.resources.store)
        return self.recovery(expected, observed, make, entry=entry, described=described)

    def switch(self, manifest: Manifest, described: CollectionSpec, make: Building) -> int:
        """Commit the new timeline and serve it; returns its log number."""
        history = History(self.resources.repository, self.plan.collection)
        update = {
            "spec": described,
            "engine": self.resources.store.engine,
            "fitness": None,  # what fits is for the next snapshot to say
            "accepted_losses": (),
            "left_out": write_left_out(history, make.left),
        }
        with self.watch.phase("switch"):
            return switch(
                self.point,
                manifest.model_copy(update=update),
                self.plan,
                self.resources,
                seconds=self.watch.seconds(),
            )

    def recovery(
        self,
        expected: Expected,
        observed: Observed,
        make: Building,
        *,
        entry: int | None,
        described: CollectionSpec,
    ) -> Recovery:
        """The result, with its differences from the recovery point."""
        plan, counts = self.plan, expected.manifest.counts
        engine = namespace(self.resources.store.engine)
        return Recovery(
            plan=plan,
            phases=tuple(self.watch.phases),
            records=counts.records,
            documents=counts.documents,
            digests=expected.manifest.digests,
            bit_identical=expected.identical and observed.rounded == 0,
            switched=plan.switch,
            entry=entry,
            embedded=expected.embedded,
            earlier=self.watch.earlier.phases,
            interrupted=self.watch.earlier.running,
            dropped=self.watch.dropped,
            same_model=expected.manifest.provenance == self.point.manifest.provenance,
            findings=compare_parts(plan.spec, described, engine=engine),
            left_out=make.left.total,
            refused=make.left.named,
            chosen=make.chosen(),
        )


def _described(plan: Plan, *, store: VectorStore) -> CollectionSpec:
    """The specification that the store reports for what was built, under the collection's name.
    Raises `Damaged` if its columns are not the specified ones."""
    described = store.describe(plan.physical)
    if not described.same_contract(plan.spec):
        raise Damaged(
            f"{plan.physical!r} has other columns than were asked for. {left_as_it_is(plan)}"
        )
    named = described.physical(plan.collection)
    return named.model_copy(update={"aliases": plan.spec.aliases})
