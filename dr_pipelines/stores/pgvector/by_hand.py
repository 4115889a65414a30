"""Statements for what a restore does not make of a single partition: its own foreign keys, and its
own sequences."""

from collections.abc import Iterator
from typing import Any

from psycopg import sql

from dr_pipelines.stores.pgvector.connections import Session
from dr_pipelines.stores.pgvector.making import quoted_name, sequence_options
from dr_pipelines.stores.pgvector.names import placed, with_table
from dr_pipelines.stores.pgvector.statements import qualified, verbatim

Section = dict[str, Any]


def statements_of(
    session: Session, name: str, part: Section, key: str, *, root: str
) -> Iterator[str]:
    """Statements to run for the `key` of a partition `name` of the table `root`."""
    if key == "foreign_keys":
        yield from _foreign_keys(session, name, part, root=root)
    for sequence in part.get("sequences", []) if key == "sequences" else ():
        yield from _sequence(session, name, sequence, root=root)


def _foreign_keys(session: Session, name: str, part: Section, *, root: str) -> Iterator[str]:
    quoted = quoted_name(session, name)
    for key in part["foreign_keys"]:
        label = sql.Identifier(placed(key["name"], root, taken=False))
        definition = verbatim(with_table(key["definition"], quoted))
        add = sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} {}")
        yield add.format(session.table(name), label, definition).as_string()


def _sequence(session: Session, name: str, sequence: Section, *, root: str) -> Iterator[str]:
    target = session.table(placed(sequence["name"], root, taken=False))
    column = sql.Identifier(sequence["column"])
    create = sql.SQL("CREATE SEQUENCE {} AS {} {} OWNED BY {}.{}")
    kind, options = verbatim(sequence["type"]), sequence_options(sequence)
    yield create.format(target, kind, options, session.table(name), column).as_string()
    default = qualified("ALTER TABLE {} ALTER COLUMN {} SET DEFAULT nextval({}::regclass)")
    yield default.format(session.table(name), column, sql.Literal(target.as_string())).as_string()
