"""The base of every value that is stored as JSON."""

import hashlib
import json
from typing import Any

from pydantic import BaseModel, ConfigDict


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
