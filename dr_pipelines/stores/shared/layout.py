"""In whose layout the records of a collection lie, and which column has which role there.

An engine's section of a specification has both: `layout`, and in a layout that something else made
`column_roles`: what that calls the column whose values are ids, texts and so on.
"""

import re
from collections.abc import Collection, Mapping
from enum import StrEnum
from itertools import chain, count
from typing import Any

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.collection import RESERVED_COLUMNS

LAYOUT, COLUMN_ROLES = "layout", "column_roles"
"""Keys of an engine's section."""


class Layout(StrEnum):
    """`managed`: as the adapter lays records out. `foreign`: as whoever made the collection did."""

    MANAGED = "managed"
    FOREIGN = "foreign"


class Role(StrEnum):
    """The role of a foreign collection's column in a record."""

    ID = "id"
    TEXT = "text"
    URI = "uri"


def layout_of(section: Mapping[str, Any]) -> Layout:
    """The layout that a section asks for, managed where it asks for none.

    Raises:
        InvalidRequest: it asks for another.
    """
    layout = section.get(LAYOUT, Layout.MANAGED)
    if layout not in list(Layout):
        raise InvalidRequest(
            f"layout {layout!r} of an engine's section: expected {' or '.join(Layout)}"
        )
    return Layout(layout)


def column_roles_of(section: Mapping[str, Any]) -> dict[Role, str]:
    """The engine's column of each role that a section names; roles that nobody knows are none."""
    columns = section.get(COLUMN_ROLES, {})
    return {role: str(columns[role]) for role in Role if columns.get(role) is not None}


def column_name(native: str, *, taken: Collection[str]) -> str:
    """The name of a foreign column here: its own where it can be one that nothing else has, else as
    like it as can be (`document_id_`, `document_id_2`)."""
    plain = re.sub(r"[^A-Za-z0-9_]", "_", native)[:48]
    plain = plain if re.match("[A-Za-z_]", plain) else f"_{plain}"
    usable = (f"{plain}{suffix}" for suffix in chain(("", "_"), (f"_{n}" for n in count(2))))
    return next(name for name in usable if name not in RESERVED_COLUMNS and name not in taken)


def laid_out(layout: Layout, roles: Mapping[Role, str | None] | None = None) -> dict[str, Any]:
    """The entries of a section that say it."""
    named = {role.value: column for role, column in (roles or {}).items() if column is not None}
    return {LAYOUT: layout.value} | ({COLUMN_ROLES: named} if named else {})
