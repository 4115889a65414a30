"""Tables that inherit from one another without being partitions."""

from dr_pipelines.errors import Refused
from dr_pipelines.stores.pgvector.catalog import Table
from dr_pipelines.stores.pgvector.connections import Session
from dr_pipelines.stores.pgvector.statements import oid, qualified

HEIRS = qualified("""
    WITH RECURSIVE heirs (id) AS (
        SELECT i.inhrelid FROM pg_inherits i WHERE i.inhparent = {table}
        UNION SELECT i.inhrelid FROM pg_inherits i JOIN heirs h ON i.inhparent = h.id
    )
    SELECT c.relname FROM heirs h JOIN pg_class c ON c.oid = h.id
    ORDER BY c.relname COLLATE "C"
""")
NAMED = 5


def require_whole(session: Session, table: Table) -> None:
    """Refuse a table of which others inherit: whoever reads it sees their rows too, nothing tells
    these apart from its own, and a copy with its own alone would be called whole.

    Raises:
        Refused: names the tables.
    """
    if table.partitioned:
        return
    heirs = [row[0] for row in session.rows(HEIRS.format(table=oid(table.id)))]
    if heirs:
        named = ", ".join(repr(name) for name in heirs[:NAMED])
        more = f" and {len(heirs) - NAMED} more" if len(heirs) > NAMED else ""
        raise Refused(
            f"table {table.name!r} has rows in tables that inherit from it (INHERITS): {named}"
            f"{more}. Such a tree is not backed up as one: make it a partitioned table, or detach "
            "them (ALTER TABLE … NO INHERIT …) and back up each as a collection of its own"
        )
