"""Chroma's errors in our words: the one place where they are translated."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from chromadb import errors as chroma

from dr_pipelines.errors import (
    AlreadyExists,
    Damaged,
    DrError,
    InvalidRequest,
    NotFound,
    Unavailable,
)
from dr_pipelines.stores.shared.calls import detail

BROKEN = ("Error finding id", "Nothing found on disk", "malformed", "not a database", "hnsw")
"""In messages about files that are not what Chroma left behind."""

GOING = ("Missing metadata segment", "Missing vector segment", "Missing record segment")
"""In messages about a collection that somebody deletes at this moment."""


@contextmanager
def translated(place: str) -> Iterator[None]:
    """Raise what Chroma and its transport raise inside as errors of this package; `place` names the
    store, without secrets."""
    try:
        yield
    except DrError:
        raise
    except httpx.TransportError as error:
        raise Unavailable(
            f"{place} cannot be reached ({type(error).__name__}: {_first_line(error)}); "
            "is it running?"
        ) from error
    except chroma.ChromaError as error:
        raise _meant(error, place) from error
    except BaseException as error:  # see _is_failure: everything else goes on as it is
        if not _is_failure(error):
            raise
        raise Unavailable(f"{place} failed: {_first_line(error)}; try again later") from error


def is_taken(error: chroma.ChromaError) -> bool:
    """True if the error says that the name is taken (embedded: an InternalError; a server: a
    plain ChromaError)."""
    return "already exists" in str(error)


def _meant(error: chroma.ChromaError, place: str) -> DrError:
    message = _first_line(error)
    if is_taken(error):
        return AlreadyExists(f"{place}: {message}")
    if "Unapplied migrations" in message:
        return InvalidRequest(f"{place} was written by an older Chroma; open it with this one once")
    if any(word in message for word in GOING):
        return NotFound(f"{place}: the collection was just deleted ({message})")
    match error:
        case chroma.NotFoundError():
            return NotFound(f"{place}: {message}")
        case chroma.AuthorizationError() | chroma.ChromaAuthError():
            return InvalidRequest(f"{place} refuses the credentials; set CHROMA_TOKEN")
        case chroma.RateLimitError() | chroma.QuotaError():
            return Unavailable(f"{place}: {message}; try again later")
        case chroma.InternalError() if any(word in message for word in BROKEN):
            return Damaged(f"{place} cannot read its files: {message}; restore it beside")
        case chroma.InternalError():
            return Unavailable(f"{place} failed: {message}; try again later")
        case _:
            return InvalidRequest(f"{place}: {message}")


def _is_failure(error: BaseException) -> bool:
    """A panic of the embedded engine (its class, which cannot be imported, derives from
    BaseException), or an answer that is not Chroma's, which its client raises as a plain
    Exception."""
    return type(error).__name__ == "PanicException" or type(error) is Exception


def _first_line(error: BaseException) -> str:
    first, *_ = (str(error).strip() or type(error).__name__).splitlines()
    return detail(first)
