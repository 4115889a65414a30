"""The base of every value that is stored as JSON."""

import hashlib
import json
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict
from pydantic import Field as Constraint


def _plain(key: str) -> str:
    """A key that every store takes for a name below its root, whoever wrote it."""
    names = key.split("/")
    if any(name in ("", ".", "..") or len(name) > 255 for name in names):
        raise ValueError("expected names of at most 255 bytes, none of them '.' or '..'")
    return key


Key = Annotated[
    str, Constraint(pattern=r"^[A-Za-z0-9][A-Za-z0-9_./-]{0,511}$"), AfterValidator(_plain)
]
"""Of an object in a repository."""
Sha256 = Annotated[str, Constraint(pattern=r"^[0-9a-f]{64}$")]
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
