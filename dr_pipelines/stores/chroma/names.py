"""Names of collections: ours in Chroma's alphabet, and Chroma's in ours.

Chroma takes 3 to 512 characters of `[a-zA-Z0-9._-]` that start and end with a letter or digit, have
no `..` and are no IP address. A physical name of ours may be shorter, end otherwise and hold one
`@`. Ours are written like this:

- a name that Chroma takes stays as it is, and its `@` becomes the first `.`, which our names do not
  have before an `@`: `handbook@12-520d2a36` is `handbook.12-520d2a36`;
- any other is `0dr` and its bytes in hexadecimal: `b` is `0dr62`. No name of ours starts so.

Names that something else gave are read the same way. Those that have no counterpart (they are
longer, start with a digit, or have a `.` where ours cannot) are called by what can be read of them
and a digest: `2024.sales` is `c2024-sales@1f0e…`. Which one that is says the list of all names.
"""

import hashlib
import re

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.collection import PHYSICAL_NAME

RESERVED = "0dr."
"""What this adapter keeps for itself; no collection of ours is called so."""
_ESCAPED = "0dr"
_DIGEST = re.compile(r"c.*@[0-9a-f]{32}")
_TAKEN = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{1,510}[a-zA-Z0-9]")


def to_engine(physical: str) -> str:
    """Chroma's name for a collection that this adapter creates."""
    dotted = physical.replace("@", ".", 1)
    if _TAKEN.fullmatch(dotted) and ".." not in dotted:
        return dotted
    return _ESCAPED + physical.encode().hex()


def to_physical(engine: str) -> str:
    """Our name for a collection of Chroma's. Different names stay different."""
    plain = _unescaped(engine) or engine.replace(".", "@", 1)
    if PHYSICAL_NAME.fullmatch(plain) and to_engine(plain) == engine:
        return plain
    readable = re.sub(r"[^A-Za-z0-9]+", "-", engine)[:40].strip("-")
    return f"c{readable}@{hashlib.sha256(engine.encode()).hexdigest()[:32]}"


def alias_target(physical: str) -> str:
    """The name under which Chroma's own client opens a collection that an alias stands for.

    Raises:
        InvalidRequest: it is called by a digest here, from which its own name cannot be told.
    """
    if _DIGEST.fullmatch(physical):
        raise InvalidRequest(f"{physical} is called by a digest of its name; open it by the name")
    return to_engine(physical)


def is_reserved(engine: str) -> bool:
    """True if the name is one of this adapter's own objects."""
    return engine.startswith(RESERVED)


def _unescaped(engine: str) -> str | None:
    if not engine.startswith(_ESCAPED) or is_reserved(engine):
        return None
    try:
        return bytes.fromhex(engine.removeprefix(_ESCAPED)).decode()
    except ValueError:
        return None
