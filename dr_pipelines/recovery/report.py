"""A plan and a recovery as text and as JSON, the same wherever they are shown."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dr_pipelines.model.compatibility import AS_IT_WAS, Note
from dr_pipelines.model.definitions import Definitions
from dr_pipelines.model.parts import PartFinding, shown
from dr_pipelines.model.recovery import Evidence, Phase, Plan, Recovery
from dr_pipelines.planning.recovery import least_first
from dr_pipelines.planning.serving import way_back
from dr_pipelines.recovery.line_report import behind_lines, line_value
from dr_pipelines.recovery.verdict_report import verdict_value

BESIDES = (
    "the rows, by COPY; privileges that defaults granted to others are revoked; progress is "
    "recorded in a comment on the key's index"
)
SHOWN = 10
"""Records known to be refused that a plan names; of the others it says how many."""


def plan_head(plan: Plan) -> str:
    """One sentence: from which point, by which route, to where, and whether it is served."""
    serves = ", and serves it" if plan.switch else ", beside what is served"
    resumes = ", going on with what is there" if plan.resumed else ""
    return (
        f"{plan.collection} at {plan.point}: {plan.records:,} records by {plan.route} into "
        f"{plan.physical} of store {plan.store}{serves}{resumes}"
    )


def outlook_lines(plan: Plan) -> list[str]:
    """Forecasts for parts, records that will be left out, and new members of roles."""
    lines = [*note_lines(plan.notes), *misfit_lines(plan), *membership_lines(plan)]
    return [*lines, *behind_lines(plan)]


def note_lines(notes: Sequence[Note]) -> list[str]:
    """Notes on parts, losses first. Parts that stay the same are only counted."""
    same = [note for note in notes if note.consequence == AS_IT_WAS]
    lines = [
        f"{note.outcome}: {note.part}: {note.consequence}"
        for note in least_first(notes)
        if note not in same
    ]
    count = f"{len(same)} {'part' if len(same) == 1 else 'parts'}"
    return [*lines, f"{count} carried over as they were"] if same else lines


def misfit_lines(plan: Plan) -> list[str]:
    """Records that will be left out, as far as the backup knew."""
    if not plan.misfits:
        return []
    lines = [f"left out: {plan.misfits} records that the engine is known to refuse"]
    lines += [f"left out: {misfit}" for misfit in plan.refused[:SHOWN]]
    more = plan.misfits - len(plan.refused[:SHOWN])
    return [*lines, *([f"left out: and {more} more"] if more else [])]


def membership_lines(plan: Plan) -> list[str]:
    """One for each role that somebody becomes a member of."""
    granted = plan.definitions.memberships if plan.definitions else ()
    return [f"granted: {to} becomes a member of role {role}" for role, to in granted]


def unlisted(definitions: Definitions) -> str | None:
    """Statements that will be executed beside those listed; None where none are listed."""
    return BESIDES if definitions.statements else None


def refusal_lines(plan: Plan) -> list[str]:
    """Why it would not be carried out; code that needs consent is shown with the statements."""
    return [f"refused: {refusal.message}" for refusal in plan.refusals if refusal.about != "code"]


def plan_value(plan: Plan) -> dict[str, Any]:
    """For --json: every field of the plan, what the store would execute beside them."""
    digest = plan.definitions.digest if plan.definitions else None
    consent = any(refusal.about == "code" for refusal in plan.refusals)
    return {
        **plan.model_dump(mode="json", exclude={"definitions"}),
        **_definitions_value(plan.definitions),
        "code_digest": digest,
        "code_accepted": not consent,
    }


def _definitions_value(definitions: Definitions | None) -> dict[str, Any]:
    if definitions is None:
        return {"statements": [], "not_listed": None, "code": [], "memberships": [], "unread": None}
    return {
        "statements": [asdict(statement) for statement in definitions.statements],
        "not_listed": unlisted(definitions),
        "code": [asdict(call) for call in definitions.code],
        "memberships": [{"role": role, "member": to} for role, to in definitions.memberships],
        "unread": definitions.unread,
    }


def recovery_head(done: Recovery) -> str:
    """One sentence: where it is, by which route, how much."""
    plan = done.plan
    again = f", {done.embedded:,} of them embedded again" if done.embedded else ""
    return (
        f"{plan.collection} at {plan.point} is back as {plan.physical} in store {plan.store}, "
        f"by {plan.route}: {done.documents:,} documents, {done.records:,} records{again}"
    )


def compared_line(done: Recovery) -> str:
    """The result of reading it back, in one sentence."""
    if _unequal(done):
        return "read back and compared: NOT equal, and somebody went on in spite of that"
    return f"read back and compared: text and fields equal, vectors {vectors_phrase(done)}"


def _unequal(done: Recovery) -> bool:
    return any(finding.check == "digests" for finding in done.verdict.findings)


def vectors_phrase(done: Recovery) -> str:
    """How close the vectors are to those of the point."""
    if _unequal(done):
        return "not compared: not all is equal"
    if done.bit_identical:
        return "equal bit for bit"
    return "equal within tolerance" if done.same_model else "made by another model"


def interruption_lines(done: Recovery) -> list[str]:
    """Phases that earlier runs of the same plan completed, where one was interrupted; those of
    them that had to be done again, and what is not known of them."""
    lines = []
    if done.earlier or done.interrupted is not None:
        where = f"; interrupted in {done.interrupted}" if done.interrupted else ""
        lines.append(f"an earlier run did: {_timed(done.earlier) or 'nothing'}{where}")
    if done.dropped:
        lines.append(
            f"done again, because what an earlier run made is gone: {_timed(done.dropped)}"
        )
    if done.unrecorded:
        lines.append(f"times of earlier or later runs may be missing: {done.unrecorded}")
    return lines


def _timed(phases: Sequence[Phase]) -> str:
    return ", ".join(f"{phase.name} {phase.seconds:.1f} s" for phase in phases)


def evidence_lines(evidence: Evidence) -> list[str]:
    """Where the evidence of a recovery is, and why it is not there."""
    places = [f"log:{evidence.entry}"] if evidence.entry is not None else []
    places += map(_near, evidence.files)
    lines = [f"evidence: {', '.join(places)}"] if places else []
    if evidence.not_logged:
        lines.append(f"evidence is NOT in the log: {evidence.not_logged}")
    if evidence.not_written:
        lines.append(f"evidence is NOT on this machine: {evidence.not_written}")
    return lines


def _near(path: str) -> str:
    """A path from here, where it lies below."""
    with suppress(ValueError):
        return str(Path(path).relative_to(Path.cwd()))
    return path


def chosen_lines(done: Recovery) -> list[str]:
    """Settings that were chosen for the run, in one line."""
    if not done.chosen:
        return []
    return ["chosen: " + ", ".join(f"{name} {value}" for name, value in done.chosen)]


def recovery_lines(done: Recovery) -> list[str]:
    """Differences from the recovery point: records that the engine refused, parts of the
    configuration."""
    return [*left_out_lines(done), *finding_lines(done.plan.collection, done.findings)]


def left_out_lines(done: Recovery) -> list[str]:
    """Records that the engine refused, and where they are."""
    if not done.left_out:
        return []
    more = done.left_out - len(done.refused)
    lines = [f"left out: {misfit}" for misfit in done.refused]
    lines += [f"left out: {more} more"] if more else []
    return [
        f"NOT ALL OF IT: the engine refused {done.left_out} records; they stay in the recovery "
        "point, and all others are equal",
        *lines,
    ]


def finding_lines(collection: str, findings: Sequence[PartFinding]) -> list[str]:
    """One for each part that is not as it was; those that nobody can look at together, by what is
    said of them."""
    lines = [
        f"not as it was: {finding.part} was {shown(finding.expected, collection=collection)}, is "
        f"{shown(finding.found, collection=collection)}: {finding.consequence}"
        for finding in findings
        if not finding.unreported
    ]
    silent = dict[str, list[str]]()
    for finding in findings:
        if finding.unreported:
            silent.setdefault(finding.consequence, []).append(finding.part)
    lines += [
        f"{consequence}, asked for as they were ({len(parts)}): {', '.join(parts)}"
        for consequence, parts in silent.items()
    ]
    return lines


def next_steps(
    done: Recovery, *, policies: str, policy_store: str, has_source: bool, name_taken: bool
) -> Iterator[str]:
    """Steps for the user to take now. `policy_store` is the store that the file `policies`
    names; `name_taken`: a collection itself has the name in the store, so that no alias can be
    moved."""
    plan = done.plan
    if not done.switched and name_taken:
        yield (
            f"It is not served: {plan.collection} is a collection itself there. If that may "
            f"go: rename or drop it, then: {way_back(plan.collection, plan.collection)}"
        )
    elif not done.switched:
        yield "It is not served: the same command with --switch does that"
    else:
        yield f"{plan.collection} is served from it since log:{done.entry}."
        if plan.store != policy_store:
            yield (
                f"Set store: {plan.store} for it in {policies}, which says {policy_store}: until "
                "then nothing is ingested or backed up."
            )
        if has_source:
            yield f"Changes of the source since then: dr ingest {plan.collection}"


def recovery_value(done: Recovery) -> dict[str, Any]:
    """For --json."""
    plan = done.plan
    return {
        "collection": plan.collection,
        "point": plan.point,
        "route": str(plan.route),
        "physical": plan.physical,
        "store": plan.store,
        "resumed": plan.resumed,
        "records": done.records,
        "documents": done.documents,
        "embedded": done.embedded,
        "bit_identical": done.bit_identical,
        "vectors": vectors_phrase(done),
        "digests": done.digests.model_dump(),
        "switched": done.switched,
        **line_value(done),
        "log": done.entry,
        "notes": [asdict(note) for note in plan.notes],
        "findings": [asdict(finding) for finding in done.findings],
        "left_out": done.left_out,
        "refused": [misfit.model_dump() for misfit in done.refused],
        "estimate": [asdict(phase) for phase in plan.estimate],
        "phases": [asdict(phase) for phase in done.phases],
        "earlier": [asdict(phase) for phase in done.earlier],
        "interrupted": done.interrupted,
        "dropped": [asdict(phase) for phase in done.dropped],
        "unrecorded": done.unrecorded,
        "chosen": dict(done.chosen),
        "verdict": verdict_value(done.verdict, done.made_in),
        "evidence": asdict(done.evidence),
        "seconds": total_seconds(done.phases),
    }


def total_seconds(phases: Sequence[Phase]) -> float:
    """The seconds of some phases together."""
    return sum(phase.seconds for phase in phases)
