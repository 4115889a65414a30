"""Errors as Dagster shows them: a message and the way out, no stack trace.

What declares assets, checks, jobs and sensors wraps the functions that Dagster runs in `explained`.
"""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import dagster as dg

from dr_pipelines.errors import (
    Conflict,
    Damaged,
    DrError,
    InvalidRequest,
    OutcomeUnknown,
    Refused,
    Unavailable,
    in_words,
)
from dr_pipelines.model.display import displayed
from dr_pipelines.project.extras import missing_extra
from dr_pipelines.recovery.stopped import Stopped

P = ParamSpec("P")
R = TypeVar("R")

NEXT: tuple[tuple[type[DrError], str], ...] = (
    (InvalidRequest, "Ask for something else: the policy or the run's configuration is wrong."),
    (Conflict, "Run it again: somebody else wrote first."),
    (Damaged, "Use another recovery point or copy: something that was kept is lost or altered."),
    (Refused, "Decide: going on would mix what must not mix, or destroy what must be kept."),
    (Unavailable, "Try again later: something is locked or out of reach."),
    (Stopped, "Look at the findings: mend what they name, or go on in spite of them by name."),
    (OutcomeUnknown, "Read the log before repeating it: it may have been done."),
)
"""For each kind of error, what a person does next."""
REPEATABLE = (Conflict, Unavailable)
"""Errors after which the same step may succeed, so that a retry policy may try."""


def explained(function: Callable[P, R]) -> Callable[P, R]:
    """The same function, whose errors of this package are failures with a description."""

    @wraps(function)
    def explaining(*args: P.args, **named: P.kwargs) -> R:
        try:
            return function(*args, **named)
        except DrError as error:
            failure = failure_of(error)
        except ModuleNotFoundError as error:
            missing = missing_extra(error)
            if missing is None:
                raise
            failure = failure_of(missing)
        raise failure  # here, so that nothing is said of where it came from

    return explaining


def failure_of(error: DrError) -> dg.Failure:
    """The failure that Dagster shows for an error."""
    then = next((text for kind, text in NEXT if isinstance(error, kind)), "")
    facts = {"error": type(error).__name__} | ({"next": then} if then else {})
    return dg.Failure(
        displayed(in_words(error)), metadata=facts, allow_retries=isinstance(error, REPEATABLE)
    )
