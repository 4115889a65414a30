"""Why a plan is not carried out: each a value, found before anything is touched."""

from typing import Literal

from dr_pipelines.errors import AlreadyExists, DrError, InvalidRequest, Refused
from dr_pipelines.model.compatibility import CompatibilityReport
from dr_pipelines.model.definitions import Definitions
from dr_pipelines.model.recovery import Facts, Plan, Refusal, Request, Route
from dr_pipelines.planning.candidate import catches_up
from dr_pipelines.planning.parts import namespace

CONSENT = ("loss", "code")
"""What a refusal is about that somebody may accept."""
ERRORS: dict[str, type[DrError]] = {
    "InvalidRequest": InvalidRequest,
    "AlreadyExists": AlreadyExists,
    "Refused": Refused,
}


def require_runnable(plan: Plan) -> None:
    """Raise the first of a plan's refusals as the error that it stands for."""
    for refusal in plan.refusals:
        raise ERRORS[refusal.error](refusal.message)


def require_possible(plan: Plan) -> None:
    """`require_runnable`, but for what somebody's consent would lift."""
    require_runnable(plan.model_copy(update={"refusals": impossible(plan)}))


def impossible(plan: Plan) -> tuple[Refusal, ...]:
    """The refusals that no consent lifts."""
    return tuple(refusal for refusal in plan.refusals if refusal.about not in CONSENT)


def refusal_of(
    about: Literal["route", "name", "loss", "code"],
    error: DrError,
) -> Refusal:
    """An error as a value."""
    kinds: dict[type[DrError], Literal["InvalidRequest", "AlreadyExists", "Refused"]] = {
        AlreadyExists: "AlreadyExists",
        Refused: "Refused",
    }
    return Refusal(about=about, error=kinds.get(type(error), "InvalidRequest"), message=str(error))


def route_refusal(request: Request, facts: Facts, route: Route) -> Refusal | None:
    """A route needs what it is made of: an embedder and chunks that were kept, or files."""
    error = _route_error(request, facts, route)
    return None if error is None else refusal_of("route", error)


def catch_up_refusal(request: Request, facts: Facts, route: Route) -> Refusal | None:
    """Catching up goes on from a whole state, with the vectors that were kept."""
    if not request.catch_up or catches_up(request, facts, route):
        return None
    reason = (
        f"{request.at} is a position within what was read: what follows it is the newest point"
        if facts.point.until is not None
        else "--route replay makes the vectors again, and what is logged meanwhile has others"
    )
    return refusal_of("route", InvalidRequest(f"--catch-up: {reason}"))


def _route_error(request: Request, facts: Facts, route: Route) -> DrError | None:
    point, collection = facts.point, facts.point.collection
    if request.embedder is not None and route is not Route.REPLAY:
        return InvalidRequest(
            f"--embedder is for --route replay: {route} takes the vectors that were kept"
        )
    if route is Route.NATIVE and not facts.files:
        engine = namespace(facts.store.engine)
        return Refused(
            f"{collection}: no files of {engine} were kept for {point.id}. Use --route load"
        )
    return _replay_error(facts) if route is Route.REPLAY else None


def _replay_error(facts: Facts) -> DrError | None:
    collection, chunks = facts.point.collection, facts.point.chunks
    if facts.maker is None:
        return InvalidRequest(f"{collection}: --route replay needs an embedder in the policy")
    if not chunks:
        return Refused(
            f"{collection}: no chunks were kept (it is backed up from its store alone), "
            "so nothing can be embedded again. Use --route load"
        )
    if set(chunks) != {facts.maker.chunks}:
        return Refused(
            f"{collection}: the chunks that were kept come from another source or chunker "
            "than the policy names. Restore with that chunker, or use --route load"
        )
    return None


def loss_refusal(report: CompatibilityReport, *, store: str, accept_loss: bool) -> Refusal | None:
    """The refusal of a restore that would lose parts, unless their loss is accepted."""
    if not report.lost or accept_loss:
        return None
    named = "; ".join(f"{note.part}: {note.consequence}" for note in report.lost)
    return refusal_of(
        "loss",
        Refused(f"in store {store!r} these parts would be lost: {named}. --accept-loss goes on"),
    )


def code_refusal(
    definitions: Definitions | None, *, physical: str, store: str, accept_code: str | None
) -> Refusal | None:
    """Definitions call code and the digest of what they call was not given: nothing is touched
    until somebody has read it."""
    if definitions is None or definitions.digest in (None, accept_code):
        return None
    listed = "".join(f"\n  {call}" for call in definitions.code)
    unread = f" No statements: {definitions.unread}." if definitions.unread else ""
    changed = " It is not what the digest that was given stands for." if accept_code else ""
    return refusal_of(
        "code",
        Refused(
            f"a restore of {physical!r} in store {store!r} would run code of others:{listed}"
            f"\nNothing was touched.{unread}{changed} --plan shows every statement. To go on: "
            f"--accept-code {definitions.digest}"
        ),
    )
