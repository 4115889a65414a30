"""Translation of errors of Qdrant Edge."""

from collections.abc import Iterator
from contextlib import contextmanager

from dr_pipelines.errors import (
    Damaged,
    DrError,
    InvalidRequest,
    Unavailable,
)
from dr_pipelines.stores.shared.calls import detail

WRONG = ("dimension error", "Not existing vector name", "Wrong input", "Bad request", "Validation")
FULL = ("No space left", "Out of disk", "out of memory")


@contextmanager
def vendor(where: str, *, by_caller: bool = False) -> Iterator[None]:
    """Raise this package's errors in place of the engine's. It raises bare `Exception`s, which only
    their text tells apart; `by_caller`: a wrong value is the caller's, not the disk's."""
    try:
        yield
    except DrError:
        raise
    except Exception as error:
        raise translation(error, where, by_caller=by_caller) from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # what Rust code raises when it gives up
            raise
        raise Damaged(f"{where}: the engine gave up: {detail(str(error))}") from error


def translation(error: Exception, where: str, *, by_caller: bool) -> DrError:
    """The error of this package that says the same."""
    message = detail(str(error))
    if any(sign in message for sign in FULL):
        return Unavailable(f"{where}: {message}; make room and try again")
    if any(sign in message for sign in WRONG) or (
        by_caller and isinstance(error, ValueError | TypeError)
    ):
        return InvalidRequest(f"{where}: {message}")
    return Damaged(f"{where}: {message}; restore the collection from a recovery point")
