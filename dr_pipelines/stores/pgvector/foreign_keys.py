"""Foreign keys of a table to others. A copy beside the table that is served has none yet: its rows
would keep those that they refer to from being deleted. They come when it takes the place.

To hold for the rows that are there, a key is checked by one query of both tables, which is planned
as this role. Adding it has locked both against new indexes, so that a look at them comes in time.
"""

import re
from typing import Any

import psycopg
from psycopg import sql

from dr_pipelines.stores.pgvector.catalog import Table, held_tables
from dr_pipelines.stores.pgvector.connections import Session
from dr_pipelines.stores.pgvector.foreign_code import is_called_by_plans
from dr_pipelines.stores.pgvector.names import derived, placed, with_table
from dr_pipelines.stores.pgvector.planner import are_ours
from dr_pipelines.stores.pgvector.statements import oid, qualified, verbatim
from dr_pipelines.stores.pgvector.structure import constraints_of

Section = dict[str, Any]
NOT_VALID = " NOT VALID"
REFERRED = qualified("""
    SELECT u.id::int8 FROM pg_constraint c, LATERAL (
        SELECT c.conrelid AS id UNION SELECT c.confrelid
        UNION SELECT relid::oid FROM pg_partition_tree(c.conrelid)
        UNION SELECT relid::oid FROM pg_partition_tree(c.confrelid)
    ) u
    WHERE c.conrelid = {table} AND c.conname = {name} AND u.id IS NOT NULL
""")
TREE = qualified("""
    SELECT t.id::oid::int8 FROM (
        SELECT pg_catalog.to_regclass({name}) AS id
        UNION SELECT relid FROM pg_partition_tree(pg_catalog.to_regclass({name}))
    ) t WHERE t.id IS NOT NULL
""")
TO = re.compile(r' REFERENCES (?:ONLY )?((?:"(?:[^"]|"")*"|[^"(])+)\(')
LOCKS = ("SHARE ROW EXCLUSIVE", "ACCESS SHARE")


def is_beside(table: str) -> bool:
    """True if, by its name, a table is one that a restore builds beside another."""
    return "@" in table


def add_foreign_keys(session: Session, table: Table, section: Section) -> None:
    """Add those that are not there: at first for new rows alone, then for all of them where these
    hold. One that cannot be added, since what it refers to is not there, or is not whole, is left
    out, and where the query for all of them would run what others wrote it stays one for new rows;
    a description says which are there."""
    existing = constraints_of(session, table.id, table.quoted, root=table.name, keys=True)
    there = {part["name"] for part in existing["foreign_keys"]}
    for part in section.get("foreign_keys", []):
        name = placed(part["name"], table.name, taken=False)
        if derived(name, table.name) not in there:
            _add(session, table, part, name)


def _add(session: Session, table: Table, part: Section, name: str) -> None:
    target, label = session.table(table.name), sql.Identifier(name)
    definition = with_table(part["definition"], table.quoted)
    later = definition if definition.endswith(NOT_VALID) else definition + NOT_VALID
    add = sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} {}")
    added = _tried(session, add.format(target, label, verbatim(later)))
    if added and later != definition:
        both = session.rows(REFERRED.format(table=oid(table.id), name=sql.Literal(name)))
        validate = sql.SQL("ALTER TABLE {} VALIDATE CONSTRAINT {}")
        if not is_called_by_plans(session, frozenset(row[0] for row in both)):
            _tried(session, validate.format(target, label))
    elif not added and table.partitioned and _is_harmless(session, table, definition):
        # which older servers want whole at once
        added = _tried(session, add.format(target, label, verbatim(definition)))
    if added and "comment" in part:
        say = sql.SQL("COMMENT ON CONSTRAINT {} ON {} IS {}")
        session.run(say.format(label, target, sql.Literal(part["comment"])))


def _is_harmless(session: Session, table: Table, definition: str) -> bool:
    """True if a key that is checked as it is added runs nothing of others: the table it refers
    to is locked first, against new indexes where this role may."""
    referred = TO.search(definition)
    if referred is None:
        return False
    lock = sql.SQL("LOCK TABLE {} IN {} MODE")
    modes = (lock.format(verbatim(referred[1]), verbatim(mode)) for mode in LOCKS)
    alone = _tried(session, next(modes))
    if not alone and not _tried(session, next(modes)):
        return False
    rows = session.printed(TREE.format(name=sql.Literal(referred[1])))
    tables = frozenset(row[0] for row in rows)
    allowed = held_tables(session, table) | tables
    return (alone or are_ours(session, tables)) and not is_called_by_plans(session, allowed)


def _tried(session: Session, command: sql.Composed) -> bool:
    """Run a command that may not be possible: then nothing of it is done."""
    try:
        with session.connection.transaction():
            session.define(command)
    except (
        psycopg.errors.ForeignKeyViolation,
        psycopg.errors.FeatureNotSupported,
        psycopg.errors.InsufficientPrivilege,
        psycopg.errors.InvalidForeignKey,
        psycopg.errors.LockNotAvailable,
        psycopg.errors.UndefinedColumn,
        psycopg.errors.UndefinedTable,
        psycopg.errors.WrongObjectType,
    ):
        return False
    return True
