"""A backup decided: which steps it has."""

from dr_pipelines.model.assurance import Assurance
from dr_pipelines.model.backup import BackupFacts, BackupPlan, BackupRequest, Step
from dr_pipelines.model.recovery_point import Timeline


def decide_backup(request: BackupRequest, facts: BackupFacts) -> BackupPlan:
    """The plan for a request, given what is known: equal facts, equal plans.

    Where nothing changed that is recorded if the policy accepts signs of change, and else there is
    nothing to prove; the engine's files are kept all the same, if they were not. Somebody who
    accepts a loss gets an entry that says so.
    """
    unchanged = None if request.accept_losses else facts.unchanged
    steps: list[Step] = []
    if unchanged is None:
        steps = ["snapshot"]
    elif facts.owed is Assurance.SIGNS:
        steps = ["confirm"]
    if steps and request.prove:
        steps.append("prove")
    if request.files:
        steps.append("files")
    return BackupPlan(
        request=request,
        store=facts.store,
        steps=tuple(steps),
        assurance=_assured(facts.owed, signs=unchanged is not None),
        adopt=_adopted(facts),
        unchanged=unchanged,
        unfit=facts.unfit if unchanged is not None else (),
        unread=facts.unread,
    )


def _adopted(facts: BackupFacts) -> Timeline | None:
    """The first timeline of a log where the store is the authority; None otherwise."""
    if facts.has_source or facts.begun:
        return None
    return Timeline(id=1, physical=facts.physical, store=facts.store)


def _assured(owed: Assurance, *, signs: bool) -> Assurance:
    """The least that a snapshot rests on: where it is scanned, more than signs."""
    if signs:
        return Assurance.SIGNS
    return Assurance.FILES if owed is Assurance.SIGNS else owed
