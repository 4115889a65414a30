"""The client library's and the server's errors as this package's."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from dr_pipelines.errors import (
    AlreadyExists,
    Conflict,
    Damaged,
    DrError,
    InvalidRequest,
    NotFound,
    Refused,
    Unavailable,
)

BY_STATE: dict[str, type[DrError]] = {
    "2BP01": Refused,  # others depend on it
    "23505": Conflict,  # somebody else wrote the same key meanwhile
    "3D000": NotFound,  # database
    "3F000": NotFound,  # schema
    "42501": Refused,  # privileges, row-level security
    "42704": NotFound,  # type, role
    "42710": AlreadyExists,
    "42P01": NotFound,
    "42P07": AlreadyExists,
    "57014": Unavailable,  # statement_timeout, an administrator
    "XX001": Damaged,
    "XX002": Damaged,
}
REFUSED_AT_THE_DOOR = ("does not exist", "authentication failed", "no pg_hba.conf entry")
"""What a server says to a connection that it does not take comes as a text without a code."""
BY_CLASS: dict[str, type[DrError]] = {
    "08": Unavailable,
    "0A": InvalidRequest,
    "22": InvalidRequest,
    "23": InvalidRequest,
    "25": Unavailable,  # a standby, a transaction that timed out
    "28": InvalidRequest,  # authentication
    "40": Unavailable,  # deadlock, serialization
    "42": InvalidRequest,
    "53": Unavailable,  # disk, memory, connections
    "54": InvalidRequest,  # a limit of the engine
    "55": Unavailable,  # lock_timeout
    "57": Unavailable,  # shutting down, starting up
    "58": Unavailable,
}


DROPPED = ("could not open relation with OID", "cache lookup failed")
"""What a server says, as an error of its own, where a query of the catalogs meets what is dropped
at that moment: it sees the row, and what the row speaks of is gone."""


INLINED = re.compile(r'SQL function "(.+)" during inlining')
"""How a server says that it met the error in a function's body, while it planned."""


@contextmanager
def translated(place: str) -> Iterator[None]:
    """Errors of the client library leave as this package's, with `place` in the message."""
    try:
        yield
    except psycopg.Error as error:
        raise translation(error, place) from error


def translation(error: psycopg.Error, place: str) -> DrError:
    """The error of the project for an error of the driver."""
    state = error.sqlstate or ""
    kind = BY_STATE.get(state) or BY_CLASS.get(state[:2])
    if not state and any(words in str(error) for words in REFUSED_AT_THE_DOOR):
        kind = InvalidRequest
    if state == "XX000" and str(error).startswith(DROPPED):
        kind = Conflict
    if kind is None:
        lost = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
        kind = Unavailable if lost or state else InvalidRequest
    message = error.diag.message_primary or str(error).strip() or type(error).__name__
    detail = f" ({error.diag.message_detail})" if error.diag.message_detail else ""
    hint = "; try again later" if kind is Unavailable else ""
    if inlined := INLINED.search(error.diag.context or ""):
        hint = (
            f"; function {inlined[1]!r}, which an index of the table calls, names something "
            "without its schema. Nothing is found so: ALTER FUNCTION … SET search_path = …"
        )
    return kind(f"{place}: {message}{detail}{hint}")
