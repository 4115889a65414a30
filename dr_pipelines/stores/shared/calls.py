"""Calls to an engine that may be repeated, and what its errors say."""

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from dr_pipelines.model.display import displayed

Result = TypeVar("Result")

PAUSES_SECONDS = (0.1, 0.5)
"""Before a call is repeated that got no answer: two more tries, for a server that starts anew."""
MAX_DETAIL = 500


def repeated(
    call: Callable[[], Result],
    *,
    on: type[Exception],
    but: tuple[type[Exception], ...] = (),
    pauses: Sequence[float] = PAUSES_SECONDS,
) -> Result:
    """The answer of a call that may be made again where it raises `on`, unless it is one of `but`.
    The last try raises what it does."""
    for pause in pauses:
        try:
            return call()
        except but:
            raise
        except on:
            time.sleep(pause)
    return call()


def detail(text: str) -> str:
    """An engine's account of an error on one line, short, and fit to be shown."""
    return displayed(" ".join(text.split()), limit=MAX_DETAIL)
