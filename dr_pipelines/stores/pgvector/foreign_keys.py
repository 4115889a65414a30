"""Foreign keys of a table to others. A copy beside the table that is served has none yet: its rows
would keep those that they refer to from being deleted. They come when it takes the place."""

from typing import Any

import psycopg
from psycopg import sql

from dr_pipelines.stores.pgvector.catalog import Table
from dr_pipelines.stores.pgvector.connections import Session
from dr_pipelines.stores.pgvector.names import derived, placed, with_table
from dr_pipelines.stores.pgvector.statements import verbatim
from dr_pipelines.stores.pgvector.structure import constraints_of

Section = dict[str, Any]
NOT_VALID = " NOT VALID"


def is_beside(table: str) -> bool:
    """Whether a table is one that a restore builds beside another, by its name."""
    return "@" in table


def add_foreign_keys(session: Session, table: Table, section: Section) -> None:
    """Add those that are not there: at first for new rows alone, then for all of them where these
    hold. One that cannot be added, since what it refers to is not there, or is not whole, is left
    out; a description says which are there."""
    found = constraints_of(session, table.id, table.quoted, root=table.name, keys=True)
    there = {part["name"] for part in found["foreign_keys"]}
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
        validate = sql.SQL("ALTER TABLE {} VALIDATE CONSTRAINT {}")
        _tried(session, validate.format(target, label))
    elif not added and table.partitioned:  # which older servers want whole at once
        added = _tried(session, add.format(target, label, verbatim(definition)))
    if added and "comment" in part:
        say = sql.SQL("COMMENT ON CONSTRAINT {} ON {} IS {}")
        session.run(say.format(label, target, sql.Literal(part["comment"])))


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
