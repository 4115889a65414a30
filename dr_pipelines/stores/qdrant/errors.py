"""Translation of errors of Qdrant. No vendor's exception leaves this package."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
from qdrant_client.common.client_exceptions import QdrantException
from qdrant_client.http.exceptions import ApiException, UnexpectedResponse

from dr_pipelines.errors import (
    AlreadyExists,
    Damaged,
    DrError,
    InvalidRequest,
    NotFound,
    Unavailable,
)
from dr_pipelines.stores.shared.calls import detail

STATUS: dict[int, type[DrError]] = {
    400: InvalidRequest,
    401: InvalidRequest,
    403: InvalidRequest,
    404: NotFound,
    409: AlreadyExists,
    413: InvalidRequest,
    422: InvalidRequest,
}
CODES: dict[str, type[DrError]] = {
    "ALREADY_EXISTS": AlreadyExists,
    "INVALID_ARGUMENT": InvalidRequest,
    "NOT_FOUND": NotFound,
    "PERMISSION_DENIED": InvalidRequest,
    "UNAUTHENTICATED": InvalidRequest,
}
DENIED = (401, 403, "PERMISSION_DENIED", "UNAUTHENTICATED")
VENDOR = (ApiException, QdrantException, grpc.RpcError, sqlite3.Error, ValueError, RuntimeError)


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Raise this package's errors in place of those of the client; `where` names the place."""
    try:
        yield
    except VENDOR as error:
        raise translation(error, where) from error


def translation(error: Exception, where: str) -> DrError:
    """The error of the project for an error of the client; its text says no more than the server
    did."""
    if isinstance(error, UnexpectedResponse):
        kind = STATUS.get(error.status_code or 0, Unavailable)
        message = f"{error.status_code} {_reason(error)}{_hint(error.status_code)}"
        return kind(f"{where}: {message}")
    if isinstance(error, grpc.RpcError):
        code = error.code().name if hasattr(error, "code") else "UNKNOWN"
        details = error.details() if hasattr(error, "details") else ""
        kind = CODES.get(code, Unavailable)
        return kind(f"{where}: {code} {detail(str(details))}{_hint(code)}")
    if isinstance(error, ApiException | QdrantException):
        cause = getattr(error, "source", error)
        message = detail(f"{type(cause).__name__}: {cause}")
        return Unavailable(f"{where} cannot be reached ({message}); is the server running?")
    return _local(error, where)


def _local(error: Exception, where: str) -> DrError:
    message = detail(str(error))
    if isinstance(error, sqlite3.OperationalError):
        return Unavailable(f"{where}: {message}; try again")
    if isinstance(error, sqlite3.Error | json.JSONDecodeError):
        return Damaged(f"{where}: {message}; restore the collection from a recovery point")
    if isinstance(error, RuntimeError):
        return Unavailable(f"{where}: {message}")
    if "not found" in message:
        return NotFound(f"{where}: {message}")
    if "already exists" in message:
        return AlreadyExists(f"{where}: {message}")
    return InvalidRequest(f"{where}: {message}")


def _reason(error: UnexpectedResponse) -> str:
    try:
        return detail(str(error.structured()["status"]["error"]))
    except (ValueError, KeyError, TypeError):
        return detail(str(error.reason_phrase))


def _hint(code: int | str | None) -> str:
    return "; is QDRANT_API_KEY set, and to a key that may do this?" if code in DENIED else ""
