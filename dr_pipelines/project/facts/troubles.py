"""Errors as troubles: what stands in the way, by what a person does about it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from dr_pipelines.errors import DrError, NotFound, Refused, Unavailable
from dr_pipelines.host.extras import ExtraMissing
from dr_pipelines.model.incident import Trouble, TroubleKind

SECRET = re.compile(
    r"(?i)environment variable|authentication|password|credential|access.?denied|access.?key|"
    r"secret key|session token|unauthori[sz]ed|forbidden|api.?key|no pg_hba.conf entry|"
    r"role .+ does not exist"
)
"""Words of servers and of our own messages about somebody who is not let in."""
SERVER = re.compile(r"(?i)extension|permission denied|must be owner|privilege")
VERSION = re.compile(r"(?i)\bversion\b|older than|newer than|not supported")
CLOCK = re.compile(r"(?i)\bclock")


@contextmanager
def noted(troubles: list[Trouble], *, default: TroubleKind, place: str) -> Iterator[None]:
    """Whatever goes wrong inside becomes a trouble of a place."""
    try:
        yield
    except DrError as error:
        trouble = Trouble(kind=kind_of(error, default), place=place, message=str(error))
        troubles.append(trouble)
    except Exception as error:  # noqa: BLE001 - a defect, and said to be one
        first = (str(error).splitlines() or [""])[0]
        message = f"{type(error).__name__}: {first}. This is a defect in dr_pipelines"
        troubles.append(Trouble(kind="unknown", place=place, message=message))


def kind_of(error: DrError, default: TroubleKind) -> TroubleKind:
    """The kind of an error. Servers refuse people in words of their own, which decide here."""
    text = str(error)
    if isinstance(error, ExtraMissing):
        return "model" if default == "model" else "engine"
    if SECRET.search(text) and not isinstance(error, Unavailable):
        return "secret"
    if CLOCK.search(text):
        return "clock"
    if default == "model":
        return "weights" if isinstance(error, Refused) else "model"
    if default == "store":
        return _of_store(error, text)
    return default


def _of_store(error: DrError, text: str) -> TroubleKind:
    if isinstance(error, Unavailable):
        return "store"
    if SERVER.search(text):
        return "server"
    if VERSION.search(text):
        return "engine"
    return "store" if isinstance(error, NotFound) else "engine"
