"""Names that policies may have, for what others call otherwise."""

import re
from collections.abc import Collection

from dr_pipelines.model.collection import NAME

MOST = 63


def legal_name(text: str, *, taken: Collection[str] = (), fallback: str = "collection") -> str:
    """The text itself where a collection may be called so, else what can be read of it; never one
    of `taken`."""
    plain = text if NAME.fullmatch(text) else _readable(text) or fallback
    if plain not in taken:
        return plain
    numbered = (f"{plain[: MOST - 4]}-{number}" for number in range(2, len(taken) + 3))
    return next(name for name in numbered if name not in taken)


def _readable(text: str) -> str:
    """ASCII letters, digits, hyphens and underscores of it, from the first letter on."""
    joined = re.sub(r"[^A-Za-z0-9_]+", "-", text)
    return re.sub(r"^[^A-Za-z]+", "", joined)[:MOST].strip("-_")
