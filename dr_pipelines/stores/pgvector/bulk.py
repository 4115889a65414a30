"""Filling a table that nobody reads yet."""

from dr_pipelines.stores.pgvector.catalog import Table, held_tables
from dr_pipelines.stores.pgvector.connections import Session
from dr_pipelines.stores.pgvector.planner import are_ours
from dr_pipelines.stores.pgvector.statements import oid, qualified

IMMEDIATE = qualified("SELECT indimmediate FROM pg_index WHERE indexrelid = {}")


def takes_two_writers(session: Session, table: Table) -> bool:
    """True where two transactions that write different ids never wait for each other: the table is
    this role's own, and nothing but its key keeps one row from another."""
    if not table.key or table.partitioned:
        return False
    others = [i for i in table.indexes if i.id != table.key_index and (i.unique or i.constraint)]
    return not others and are_ours(session, held_tables(session, table))


def refuses_at_once(session: Session, table: Table) -> bool:
    """True if a second row of one id is an error as it comes, and not at the end, and the write can
    be begun again then: where others own the schema its name may stand for another table by then.
    """
    if not table.key or session.bound:
        return False
    return session.one(IMMEDIATE.format(oid(table.key_index))) is True
