"""Vectors in the rows of our own tables, where two such rows fit on a page.

The engine moves values out of a row that is longer than a quarter of a page, to be looked for one
by one in another table whenever they are read. That is worth its cost for long values that are
seldom read; a vector is read by each backup, each exact search and each index that is built. With
`toast_tuple_target` set to half a page a row stays whole as long as two of them fit on one; a
longer row is cut as ever, by the server and row by row. Tables of others keep what they have.
"""

from collections.abc import Mapping

from dr_pipelines.model.collection import CollectionSpec, Vector
from dr_pipelines.stores.pgvector.columns import vector_type
from dr_pipelines.stores.pgvector.connections import Session
from dr_pipelines.stores.pgvector.statements import qualified

OPTION = "toast_tuple_target"
PAGE_HEAD, PLACE, ALIGNMENT = 24, 4, 8
"""Bytes of a page before its places, of a row's place, and what a row's length is a multiple of:
`MaximumBytesPerTuple` of the server."""
USUAL = 4
"""So many rows fit on a page where a table says nothing: `TOAST_TUPLES_PER_PAGE`."""
ROOM = 512
"""Bytes of a row for all but vectors. Where less is left rows would be cut as before, while what
stays of them would make pages longer to read."""
COMPONENT = {"vector": 4, "halfvec": 2}
VECTOR_HEAD = 8
BLOCK = qualified("SELECT pg_catalog.current_setting('block_size')::int4")


def inline_options(session: Session, spec: CollectionSpec) -> dict[str, str]:
    """The setting of a new table of ours; none where its vectors do not fit."""
    page = int(session.one(BLOCK))
    target = _largest_row(page, rows=2)
    widths = [_width(vector) for vector in spec.vectors]
    fits = all(widths) and sum(width or 0 for width in widths) + ROOM <= target
    return {OPTION: str(target)} if fits else {}


def described_options(
    session: Session, spec: CollectionSpec, options: Mapping[str, str]
) -> dict[str, str]:
    """Settings of a table of ours as its description has them: without the layout's own. One that
    somebody changed is said, and one that was taken away as well, as what the server does then."""
    own = inline_options(session, spec)
    remaining = dict(options)
    if own and OPTION not in remaining:
        return remaining | {OPTION: str(_largest_row(int(session.one(BLOCK)), rows=USUAL))}
    if own.get(OPTION) == remaining.get(OPTION):
        remaining.pop(OPTION, None)
    return remaining


def _width(vector: Vector) -> int | None:
    """Bytes of each vector; None where they differ, or the engine has no type of one width."""
    kind = str(vector_type(vector)).partition("(")[0]
    if kind == "bit":
        return VECTOR_HEAD + -(-vector.dimension // 8)
    size = COMPONENT.get(kind)
    return None if size is None else VECTOR_HEAD + size * vector.dimension


def _largest_row(page: int, *, rows: int) -> int:
    """The most bytes that each of so many rows on a page may have."""
    head = -(-(PAGE_HEAD + PLACE * rows) // ALIGNMENT) * ALIGNMENT
    return (page - head) // rows // ALIGNMENT * ALIGNMENT
