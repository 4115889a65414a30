"""The phases of a recovery once its state is there, each a small function of the run that they
share; `run` takes them in order, and stops after one that has findings."""

from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import cached_property

from dr_pipelines.errors import DrError
from dr_pipelines.live.left_out import write_left_out
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.details import RestoreDetail
from dr_pipelines.model.query import FloatArray
from dr_pipelines.model.recovery import Plan
from dr_pipelines.model.recovery_point import Digests, RecoveryPoint
from dr_pipelines.model.verdict import Check, CheckName, Override, Verdict
from dr_pipelines.planning.verdict import judge
from dr_pipelines.proof import probes as proof_probes
from dr_pipelines.proof.golden import texts_to_embed
from dr_pipelines.proof.probes import Beside, Target, again
from dr_pipelines.proof.probes import Expected as Wanted
from dr_pipelines.protocols import Definer, Progress, VectorStore
from dr_pipelines.recovery.build import Building
from dr_pipelines.recovery.catch_up import CatchUp
from dr_pipelines.recovery.equality import aliases_check, parts_check
from dr_pipelines.recovery.phases import Stopwatch
from dr_pipelines.recovery.resources import Resources
from dr_pipelines.recovery.state import Expected, expected_state
from dr_pipelines.recovery.stopped import stopped
from dr_pipelines.recovery.switch import Moved, SwitchEntry, switch
from dr_pipelines.repository.history import Committed, History
from dr_pipelines.repository.observation import Observed
from dr_pipelines.repository.rows import strings

NOTHING_READ = Observed(0, "", "")


@dataclass
class Run:
    """One run of a plan: the state that it builds, and what its phases have made so far. `checks`
    are by phase; `observed` is what was read back, `described` what the store last reported of the
    collection, `entry` the log entry that serves it, and `served` its detail. `states` keeps the
    state open; catching up puts a newer point and its state in the place of the plan's."""

    plan: Plan
    resources: Resources
    point: RecoveryPoint
    expected: Expected
    building: Building
    described: CollectionSpec
    states: ExitStack
    progress: Progress | None = None
    checks: dict[str, tuple[Check, ...]] = field(default_factory=dict)
    observed: Observed = NOTHING_READ
    entry: int | None = None
    served: RestoreDetail | None = None

    @cached_property
    def catching(self) -> CatchUp:
        """Follows the served line, where the plan says so."""
        return CatchUp(self.history, self.plan, self.building)

    @property
    def caught_up(self) -> int | None:
        """The entry whose state it is, where that is not the plan's point."""
        return None if self.point.number == self.plan.number else self.point.number

    @property
    def history(self) -> History:
        return History(self.resources.repository, self.plan.collection)

    @property
    def store(self) -> VectorStore:
        return self.resources.store

    @property
    def watch(self) -> Stopwatch:
        return self.building.watch

    @property
    def overrides(self) -> tuple[Override, ...]:
        """Findings that somebody goes on in spite of."""
        return self.plan.terms.overrides

    def read_back(self) -> Digests:
        """The digests of what was read back."""
        update = {"content": self.observed.content, "vectors": self.observed.vectors}
        return self.expected.manifest.digests.model_copy(update=update)

    def asked_for(self) -> Wanted:
        """The contents that queries must find: all but what the engine refused."""
        return Wanted(self.expected.state, strings(self.building.left.table["id"]))

    @cached_property
    def beside(self) -> Beside:
        """The specification that was asked for, and the golden set with the vectors of its texts:
        by the model that made vectors again, or the one that users' queries are embedded by."""
        golden, lineage = self.resources.golden, self.resources.lineage
        make = lineage.embedder.embed_queries if lineage else self.resources.queries
        texts = texts_to_embed(golden) if golden else []
        vectors, reason = dict[str, FloatArray](), ""
        if texts and make is not None:
            try:
                vectors = dict(zip(texts, make(texts), strict=True))
            except DrError as error:
                reason = str(error)
        return Beside(spec=self.plan.spec, golden=golden, vectors=vectors, without_model=reason)

    def every_check(self) -> tuple[Check, ...]:
        """The checks of all phases, in order."""
        return tuple(check for checks in self.checks.values() for check in checks)

    def made_in(self) -> tuple[str, ...]:
        """For each of them, its phase."""
        return tuple(phase for phase, checks in self.checks.items() for _ in checks)

    def verdict(self) -> Verdict:
        """The verdict so far: overrides of what later phases may find do not count yet."""
        checks = self.every_check()
        there = {f.id for check in checks for f in check.every_finding if f.gate == "refuses"}
        overrides = [one for one in self.overrides if one.finding in there]
        return judge(checks, overrides, timed_out=self.watch.timed_out)

    def committed(self, committed: "Committed[SwitchEntry]") -> None:
        """The log says from now on that it is served, whatever becomes of the store's alias."""
        self.entry, self.served = committed.head.number, committed.entry.detail

    def require_accepted(self) -> None:
        """Raise `Stopped` where there are findings that nobody goes on in spite of."""
        if self.checks and (verdict := self.verdict()).in_the_way:
            raise stopped(self.plan, verdict, self.made_in(), entry=self.entry)

    def move_to(self, point: RecoveryPoint) -> None:
        """Expect the state of another point from now on."""
        self.states.close()
        state = expected_state(
            point,
            self.plan,
            self.resources,
            manifest=point.manifest,
            watch=self.watch,
            progress=self.progress,
        )
        self.point, self.expected = point, self.states.enter_context(state)

    def stops(self, check: Check) -> bool:
        """True if a check will end the recovery at the end of its phase."""
        accepted = {override.finding for override in self.overrides}
        return any(f.gate == "refuses" and f.id not in accepted for f in check.every_finding)


Step = Callable[[Run], None]


def build(run: Run) -> None:
    """Everything but its index: the engine's own files, or schema and records."""
    if run.plan.catch_up:
        with run.watch.phase("access"):
            run.catching.resume()
    run.building.whole(run.expected.state)


def prove(run: Run) -> None:
    """The index is built, every record read back and compared, and every part of the specification
    but for the rights of others, which are not given yet."""
    observed, records = run.building.proven(
        run.expected.state, run.expected.manifest, stops=run.stops, progress=run.progress
    )
    run.observed = observed
    spec = run.plan.spec
    expected = run.store.before_rights(spec) if isinstance(run.store, Definer) else spec
    with run.watch.phase("prove"):
        run.checks["prove"] = (records, _parts(run, expected))


def catch_up(run: Run) -> None:
    """The served line's entries since the point, written and read back, until there are none: the
    verdict is about what will be served."""
    while (newer := _newer(run)) is not None:
        with run.catching.following(run.point, newer) as entries:
            run.move_to(newer)
            entries.bring(run.expected.state)
            run.building.index(run.progress)
            run.observed, records = run.building.verified(
                run.expected.state, run.expected.manifest, phase="prove-again"
            )
            run.checks["prove-again"] = (records,)
            run.require_accepted()
            entries.records = run.observed.rows


def _newer(run: Run) -> RecoveryPoint | None:
    """A point to catch up with, where the plan does that."""
    if not run.plan.catch_up:
        return None
    with run.watch.phase("catch-up"):
        return run.catching.newer(run.point)


def rights(run: Run) -> None:
    """The rights of others, where the engine has such, and how they were kept."""
    if run.building.open_up():
        with run.watch.phase("rights"):
            run.checks["rights"] = (_parts(run, run.plan.spec),)


def probe(run: Run, *, phase: str = "probe") -> None:
    """The collection answers as the recovery point does: queries, filters, tenants."""
    with run.watch.phase(phase):
        target = Target.of(run.store, run.plan.physical)
        run.checks[phase] = proof_probes.probe(
            run.asked_for(),
            target,
            seed=run.plan.number,
            beside=run.beside,
            progress=run.progress,
        )


def warm(run: Run) -> None:
    """The engine has read its index once before users ask."""
    with run.watch.phase("warm") as rows:
        target = Target.of(run.store, run.plan.physical)
        rows[0] = again.warm(run.asked_for(), target, seed=run.plan.number)


def require_findings(run: Run) -> None:
    """Nobody goes on in spite of something that was not found: raises `InvalidRequest`."""
    judge(run.every_check(), run.overrides)


def serve(run: Run) -> None:
    """Commit the new timeline and serve it; where the served line has grown meanwhile, catch up and
    ask again: the verdict is about what will be served."""
    while run.plan.switch and run.entry is None:
        with suppress(Moved):
            _switch(run)
            return
        catch_up(run)
        probe(run, phase="probe-again")
        run.require_accepted()


def _switch(run: Run) -> None:
    with run.watch.phase("switch"):
        update = {
            "spec": _named(run),
            "engine": run.store.engine,
            "fitness": None,  # what fits is for the next snapshot to say
            "accepted_losses": (),
            "left_out": write_left_out(run.history, run.building.left),
        }
        switch(
            run.point,
            run.expected.manifest.model_copy(update=update),
            run.plan,
            run.resources,
            seconds=run.watch.seconds(),
            on_commit=run.committed,
            candidate=run.catching.candidate,
        )
        _parts(run, run.plan.spec)  # what waits for its place is there by now


def confirm(run: Run) -> None:
    """It is served: the name leads to it, and answers as the recovery point does."""
    if not run.plan.switch:
        return
    with run.watch.phase("confirm"):
        checks = [aliases_check(run.plan, run.store)]
        if not run.stops(checks[0]):  # else it would be another collection that answers
            target = Target.of(run.store, run.plan.collection)
            checks += again.probe_served(run.asked_for(), target, seed=run.plan.number)
            checks += _golden_again(run, target)
        run.checks["confirm"] = tuple(checks)


def _golden_again(run: Run, target: Target) -> tuple[Check, ...]:
    """The golden queries through the name that users query."""
    if run.resources.golden is None:
        return ()
    only: tuple[CheckName, ...] = ("golden",)
    beside, seed = run.beside, run.plan.number
    return proof_probes.probe(run.asked_for(), target, seed=seed, only=only, beside=beside)


STEPS: tuple[Step, ...] = (
    build,
    prove,
    catch_up,
    rights,
    probe,
    warm,
    require_findings,
    serve,
    confirm,
)
"""All that is done once the state at the point is there, in order."""


def _parts(run: Run, expected: CollectionSpec) -> Check:
    """The parts of what was built; the specification that the store reports is that of the run."""
    run.described = run.store.describe(run.plan.physical)
    return parts_check(
        expected, run.described, engine=run.store.engine, collection=run.plan.collection
    )


def _named(run: Run) -> CollectionSpec:
    """The specification that the store reports for what was built, under the collection's name."""
    named = run.described.physical(run.plan.collection)
    return named.model_copy(update={"aliases": run.plan.spec.aliases})
