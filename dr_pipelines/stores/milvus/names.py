"""Names: Milvus allows letters, digits and underscores; physical names also have `@`, `-`, `.`.

Each of these becomes `_x` and its code (`handbook@12-520d` is `handbook_x4012_x2d520d`). Every
other name stays as it is, so that collections which something else made keep theirs.
"""

import re

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.collection import PHYSICAL_NAME

NATIVE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")
ESCAPED = {"@": "_x40", "-": "_x2d", ".": "_x2e"}
_PLAIN = {code: sign for sign, code in ESCAPED.items()}
_CODES = re.compile("|".join(_PLAIN))
_SIGNS = re.compile("[@.-]")


def to_native(name: str) -> str | None:
    """The name in Milvus; None where there can be no collection or alias of that name."""
    native = _SIGNS.sub(lambda match: ESCAPED[match[0]], name)
    if not NATIVE.fullmatch(native) or from_native(native) != name:
        return None
    return native


def from_native(native: str) -> str:
    """The name here of a collection or alias in Milvus."""
    return _CODES.sub(lambda match: _PLAIN[match[0]], native)


def possible(name: str) -> str:
    """The native name of what is to be made. Raises `InvalidRequest` where it cannot be."""
    native = to_native(name)
    if native is None or not PHYSICAL_NAME.fullmatch(name):
        raise InvalidRequest(
            f"name {name!r}: too long for Milvus, or it reads like an escaped one; choose another"
        )
    return native
