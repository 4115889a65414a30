"""The base of every value that is stored as JSON."""

import hashlib
import json
import re
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict
from pydantic import Field as Constraint

_NOT_PLAIN = re.compile(r"(?:^|/)\.{0,2}(?:/|$)|[^/]{256}")
"""A name that is empty, `.` or `..`, or too long; looked for at once, since a list of points has
tens of thousands of keys."""


def _plain(key: str) -> str:
    """A key that every store takes for a name below its root, whoever wrote it."""
    if _NOT_PLAIN.search(key):
        raise ValueError("expected names of at most 255 bytes, none of them '.' or '..'")
    return key


def _utc(time: datetime) -> datetime:
    """The same moment in UTC; one without a zone is no moment."""
    if time.utcoffset() is None:
        raise ValueError("expected a time with its zone")
    try:
        return time.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("expected a time of the years 1 to 9999 in UTC") from error


Key = Annotated[
    str, Constraint(pattern=r"^[A-Za-z0-9][A-Za-z0-9_./-]{0,511}$"), AfterValidator(_plain)
]
"""Of an object in a repository."""
Sha256 = Annotated[str, Constraint(pattern=r"^[0-9a-f]{64}$")]
Time = Annotated[datetime, AfterValidator(_utc)]
Day = Annotated[str, Constraint(pattern=r"^\d{4}-\d{2}-\d{2}$")]
Count = Annotated[int, Constraint(ge=0)]


def canonical_json(value: Any) -> bytes:
    """Encode as UTF-8 JSON with sorted keys and no spaces; refuses NaN and infinities."""
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode()


class Stored(BaseModel):
    """A frozen value that refuses unknown keys, so that a newer format is never half-read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def canonical(self) -> bytes:
        """The canonical JSON bytes of this value."""
        return canonical_json(self.model_dump(mode="json"))

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the canonical bytes; equal exactly when the values are."""
        return hashlib.sha256(self.canonical()).hexdigest()
