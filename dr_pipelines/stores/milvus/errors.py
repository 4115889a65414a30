"""Milvus' errors in this package's words: the one place where they are translated."""

from typing import Any

import grpc

from dr_pipelines.errors import (
    DrError,
    InvalidRequest,
    NotFound,
    Refused,
    Unavailable,
)
from dr_pipelines.stores.shared.calls import detail

COLLECTION_NOT_FOUND, DATABASE_NOT_FOUND, ALIAS_NOT_FOUND = 100, 800, 1600
NOT_LOADED = 101
LEGACY_NOT_FOUND, LEGACY_ILLEGAL, LEGACY_NO_INDEX = 4, 6, 11
INDEX_NOT_FOUND = 700
INVALID_PARAMETER = range(1100, 1200)
RATE_LIMITED = (8, 9)
NO_PRIVILEGE = (1400, 1401)
"""Codes of `pkg/util/merr` in Milvus, and of its older `ErrorCode`; milvus-lite sends both."""


class NotLoaded(Unavailable):
    """Try again after loading: the collection is not in the engine's memory."""


class NoIndex(NotFound):
    """There is no index of what was asked."""


class Unsupported(InvalidRequest):
    """Ask for something else: this engine does not have the call (milvus-lite has not all)."""


class TooLarge(InvalidRequest):
    """Ask for less: an answer or a request is larger than the engine lets through."""


def of_call(error: grpc.RpcError, address: object) -> DrError:
    """A call that got no answer of Milvus' own."""
    code, reason = error.code(), detail(error.details() or "")
    match code:
        case grpc.StatusCode.UNIMPLEMENTED:
            return Unsupported(f"{address} does not have this call: {reason}")
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            return TooLarge(f"{address}: {reason}")
        case grpc.StatusCode.UNAUTHENTICATED | grpc.StatusCode.PERMISSION_DENIED:
            return Refused(f"{address} refuses these credentials: {reason}")
        case grpc.StatusCode.INVALID_ARGUMENT | grpc.StatusCode.OUT_OF_RANGE:
            return InvalidRequest(f"{address}: {reason}")
        case _:
            return Unavailable(f"{address} is out of reach ({code.name}): {reason}")


def is_failure(status: Any) -> bool:
    """True if an answer's status reports an error."""
    return bool(status.code or status.error_code)


def of_status(status: Any, address: object) -> DrError:
    """The error that the status of a failure reports."""
    code, legacy = status.code, status.error_code
    reason = f"{address}: {detail(status.reason)}"
    for codes, old, error in _MEANINGS:
        if code in codes or (not code and legacy == old) or (legacy == old and code == old):
            return error(reason)
    if status.extra_info.get("is_input_error") == "true":
        return InvalidRequest(reason)
    if "larger than" in reason or "exceed" in reason:
        return TooLarge(reason)
    return Unavailable(reason)


_MEANINGS: tuple[tuple[tuple[int, ...] | range, int, type[DrError]], ...] = (
    ((COLLECTION_NOT_FOUND, DATABASE_NOT_FOUND, ALIAS_NOT_FOUND), LEGACY_NOT_FOUND, NotFound),
    ((NOT_LOADED,), NOT_LOADED, NotLoaded),
    ((INDEX_NOT_FOUND,), LEGACY_NO_INDEX, NoIndex),
    (INVALID_PARAMETER, LEGACY_ILLEGAL, InvalidRequest),
    (NO_PRIVILEGE, -1, Refused),
    (RATE_LIMITED, -1, Unavailable),
)
