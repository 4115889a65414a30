"""Locks that keep others from what a write would run.

A writer's own lock (ROW EXCLUSIVE) keeps nobody from CREATE INDEX CONCURRENTLY or CREATE STATISTICS
(SHARE UPDATE EXCLUSIVE), whose expressions a write computes. The weakest lock that does is SHARE
UPDATE EXCLUSIVE itself: it conflicts with that and with all that CREATE INDEX (SHARE), CREATE
TRIGGER and foreign keys (SHARE ROW EXCLUSIVE), and CREATE RULE and ALTER TABLE (ACCESS EXCLUSIVE)
take; not with readers, nor with other writers' ROW EXCLUSIVE. It comes before the look at the
catalogs, so that what was looked at is what is written into.

To tables of ours nobody else may add anything: there the lock of any writer keeps the name from
standing for a table of somebody else. No lock does where others own the schema: see `binding`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from psycopg import sql

from dr_pipelines.errors import Conflict
from dr_pipelines.stores.pgvector.binding import bind, unbind
from dr_pipelines.stores.pgvector.catalog import Table, held_tables
from dr_pipelines.stores.pgvector.connections import Session
from dr_pipelines.stores.pgvector.foreign_code import require_writable
from dr_pipelines.stores.pgvector.planner import are_ours, belong_to_others

LOCK = sql.SQL("LOCK TABLE {} {} IN {} MODE")
WRITTEN = sql.SQL("ROW EXCLUSIVE")
ADDED_TO = sql.SQL("SHARE UPDATE EXCLUSIVE")
ALONE = sql.SQL("SHARE ROW EXCLUSIVE")
"""Of a table without a key an id is of a moment, in which nobody else writes. Taken at once: two
writers of which each has a weaker one and waits for this would wait for ever."""


@contextmanager
def held_for_writing(session: Session, find: Callable[[], Table]) -> Iterator[Table]:
    """The table that is found, locked until the end of the transaction; bound until then, where
    others may give its name to another one.

    Raises:
        Conflict: its name stands for another one meanwhile.
    """
    unlocked = find()
    mode = WRITTEN if are_ours(session, held_tables(session, unlocked)) else ADDED_TO
    chosen = mode if unlocked.key else ALONE
    if belong_to_others(session, [session.schema]):
        session.run(LOCK.format(sql.SQL(""), bind(session, unlocked), chosen))  # and what it is of
    else:
        only = sql.SQL("" if unlocked.partitioned else "ONLY")
        session.run(LOCK.format(only, session.table(unlocked.name), chosen))
    table = find()
    if table.id != unlocked.id:
        raise Conflict(f"{unlocked.name!r} was replaced while it was to be written; try again")
    session.locked |= held_tables(session, table)
    yield table
    unbind(session)


def require_guarded(session: Session, table: Table) -> None:
    """Look at what a write into a table that is held would run.

    Raises:
        Refused: something that others wrote.
    """
    require_writable(session, table)
    session.guarded |= held_tables(session, table)
