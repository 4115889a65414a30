"""What a restore would do, for people and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dr_pipelines.cli.output import Answer

if TYPE_CHECKING:  # imported by the commands that need them
    from rich.console import Console

    from dr_pipelines.model.compatibility import Note
    from dr_pipelines.model.definitions import Definitions
    from dr_pipelines.model.recovery import Plan

SHOWN = 10
BESIDES = (
    "besides: the rows, by COPY; what default privileges gave to others is revoked; how far it is "
    "is kept in a comment of the key's index"
)


def plan_answer(plan: "Plan", *, accepted: str | None) -> Answer:
    """A plan that nobody carries out; `accepted` is the digest that was given for its code."""
    digest = plan.definitions.digest if plan.definitions else None
    value: dict[str, Any] = {
        "collection": plan.collection,
        "point": plan.point,
        "route": str(plan.route),
        "physical": plan.physical,
        "store": plan.store,
        "switch": plan.switch,
        "resumed": plan.resumed,
        "records": plan.records,
        "misfits": plan.misfits,
        "refused": [misfit.model_dump(mode="json") for misfit in plan.refused],
        "notes": [asdict(note) for note in plan.notes],
        "estimate": [asdict(phase) for phase in plan.estimate],
        **_definitions_value(plan.definitions),
        "code_digest": digest,
        "code_accepted": digest is None or digest == accepted,
    }

    def show(console: "Console") -> None:
        from dr_pipelines.cli.console import number, wrapped

        serves = ", and serves it" if plan.switch else ", beside what is served"
        console.print(
            f"{plan.collection} at {plan.point}: {number(plan.records)} records by {plan.route} "
            f"into {plan.physical} of store {plan.store}{serves}. Nothing was touched"
        )
        for line in [*note_lines(plan.notes), *misfit_lines(plan), *membership_lines(plan)]:
            console.print(wrapped(line, console=console), soft_wrap=True)
        if plan.definitions is not None:
            _show_definitions(console, plan.definitions, accepted=accepted)

    return Answer(value, show)


def _definitions_value(definitions: "Definitions | None") -> dict[str, Any]:
    if definitions is None:
        return {"statements": [], "code": [], "memberships": [], "unread": None}
    return {
        "statements": [asdict(statement) for statement in definitions.statements],
        "code": [asdict(call) for call in definitions.code],
        "memberships": [{"role": role, "member": to} for role, to in definitions.memberships],
        "unread": definitions.unread,
    }


def _show_definitions(
    console: "Console", definitions: "Definitions", *, accepted: str | None
) -> None:
    from dr_pipelines.cli.console import wrapped

    step = ""
    for statement in definitions.statements:
        if statement.step != step:
            step = statement.step
            console.print(f"-- {step}")
        console.print(f"{statement.sql};", soft_wrap=True)
    if definitions.statements:
        console.print(f"-- {BESIDES}", soft_wrap=True)
    if definitions.unread:
        console.print(f"no statements: {definitions.unread}", soft_wrap=True)
    for call in definitions.code:
        console.print(wrapped(f"code: {call}", console=console), soft_wrap=True)
    if definitions.digest == accepted and accepted:
        console.print(f"accepted: {accepted}")
    elif definitions.digest:
        console.print(f"to go on: --accept-code {definitions.digest}", soft_wrap=True)


def misfit_lines(plan: "Plan") -> list[str]:
    """Records that will be left out, as far as the backup knew."""
    if not plan.misfits:
        return []
    lines = [f"left out: {plan.misfits} records that the engine is known to refuse"]
    lines += [f"left out: {misfit}" for misfit in plan.refused[:SHOWN]]
    more = plan.misfits - len(plan.refused[:SHOWN])
    return [*lines, *([f"left out: and {more} more"] if more else [])]


def membership_lines(plan: "Plan") -> list[str]:
    """One for each role that somebody becomes a member of."""
    granted = plan.definitions.memberships if plan.definitions else ()
    return [f"granted: {to} becomes a member of role {role}" for role, to in granted]


def note_lines(notes: "Sequence[Note]") -> list[str]:
    """What is lost first. Parts that are as they were are counted."""
    from dr_pipelines.model.compatibility import AS_IT_WAS
    from dr_pipelines.planning.recovery import least_first

    same = [note for note in notes if note.consequence == AS_IT_WAS]
    lines = [
        f"{note.outcome}: {note.part}: {note.consequence}"
        for note in least_first(notes)
        if note not in same
    ]
    count = f"{len(same)} {'part' if len(same) == 1 else 'parts'}"
    return [*lines, f"{count} carried over as they were"] if same else lines
