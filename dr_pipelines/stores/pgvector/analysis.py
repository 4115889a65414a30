"""Calls that the definitions of a section make, found by the server's own parse before any is
executed.

Each expression is parsed as the column of a temporary view over an empty table with the same
columns, in a transaction that is undone: to define a view is to parse, and nothing else. The DDL
that an expression is meant for would do more: it folds constants, which runs immutable functions,
and evaluates bounds. Expressions that call what needs consent are replaced in a copy of the
section, so that the rest of it can be rehearsed.

Reading a constant may run the check of a domain. Where a database has domains with checks that need
consent, a section that could read such a value is not parsed at all.
"""

import copy
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.definitions import Call
from dr_pipelines.planning.parts import OWN_NAME
from dr_pipelines.stores.pgvector import clauses
from dr_pipelines.stores.pgvector.columns import own_columns
from dr_pipelines.stores.pgvector.connections import Session
from dr_pipelines.stores.pgvector.making import AS_IT_WAS, ENGINE, section_of
from dr_pipelines.stores.pgvector.names import table_of, with_table
from dr_pipelines.stores.pgvector.slots import PIECES, Slot, require_shape, slots_of
from dr_pipelines.stores.pgvector.statements import qualified, text_array, verbatim
from dr_pipelines.stores.pgvector.trust import (
    Armed,
    armed_types,
    called_by_types,
    callees,
    functions_among,
)

Section = dict[str, Any]
PARSED = "dr_pipelines_parsed"
ALONE = (
    sql.SQL("CASE WHEN true THEN {}\n END"),
    sql.SQL("({}\n)"),
)
"""What is an expression in both of these is one, and ends where it ends."""
TREE = qualified("""
    SELECT r.ev_action::text FROM pg_catalog.pg_rewrite r
    JOIN pg_catalog.pg_class c ON c.oid = r.ev_class
    WHERE c.relname = {} AND c.relnamespace = pg_catalog.pg_my_temp_schema()
""")
RESULT = qualified("""
    SELECT pg_catalog.format_type(a.atttypid, a.atttypmod) FROM pg_catalog.pg_attribute a
    JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
    WHERE c.relname = {} AND c.relnamespace = pg_catalog.pg_my_temp_schema() AND a.attnum = 1
""")
TYPES = qualified("""
    SELECT u.name, pg_catalog.to_regtype(u.name)::oid::int8 FROM pg_catalog.unnest({}) AS u (name)
""")
PROCEDURE = qualified("SELECT pg_catalog.to_regprocedure({})::oid::int8")
ROWS = sql.SQL("pg_temp.{table}")
OLD_AND_NEW = sql.SQL("pg_temp.{table} AS old, pg_temp.{table} AS new")


@dataclass(frozen=True, slots=True)
class Analysis:
    """`calls` need consent; `harmless` is the specification without them, in which `replaced` has
    what stands for which expression, and what that one calls."""

    calls: tuple[Call, ...]
    harmless: CollectionSpec
    replaced: dict[str, tuple[str, tuple[Call, ...]]]
    unread: str | None = None


def analyse(session: Session, spec: CollectionSpec, *, accepted: bool = False) -> Analysis:
    """Parse all that a specification's section would have the server execute; executes none of it.
    With `accepted`, definitions that cannot be parsed without running something are parsed too.

    Raises:
        InvalidRequest: something in it is not what it should be: one expression, one type, one
            constraint, one index, one bound.
    """
    section = copy.deepcopy(section_of(spec))
    name = table_of(spec.name, section.get(OWN_NAME))
    slots = list(slots_of(section, name))
    for slot in slots:
        require_shape(slot)
    if not slots:
        return Analysis((), spec, {})
    types = _types(session, slots)
    reading = _reading(session, slots, types, armed_types(session))
    if reading and not accepted:
        unread = "parsing them would already run it: what else they do is not analysed"
        return Analysis(reading, spec, {}, unread)
    calls, replaced = [*reading], dict[str, tuple[str, tuple[Call, ...]]]()
    with session.connection.transaction(force_rollback=True):
        _stand_in(session, spec, name, types)
        parser = _Parser(session, name, replaced)
        for slot in slots:
            calls += parser.of_slot(slot)
    harmless = spec.model_copy(update={"engine": {**spec.engine, ENGINE: section}})
    return Analysis(tuple(dict.fromkeys(calls)), harmless if section else spec, replaced)


def _types(session: Session, slots: list[Slot]) -> dict[str, int | None]:
    """The numbers of the types of columns. A text that is not one type, and nothing besides, has
    none."""
    texts = [slot.text for slot in slots if slot.kind == "type"]
    return dict(session.printed(TYPES.format(text_array(texts))))


def _reading(
    session: Session, slots: list[Slot], types: dict[str, int | None], armed: Armed
) -> tuple[Call, ...]:
    """Calls that reading a value makes already, or may come to make: of a column's type, or of a
    type that an expression names, or may get by a function that takes one."""
    calls = list[Call]()
    called_by = called_by_types(session, {number for number in types.values() if number})
    for slot in slots:
        called = armed.calls if clauses.identifiers(slot.text) & armed.names else ()
        if slot.kind == "type":
            called = called_by.get(types[slot.text] or 0, ())
        calls += [Call(slot.caller, callee.name, callee.reason) for callee in called]
    return tuple(dict.fromkeys(calls))


def _stand_in(
    session: Session, spec: CollectionSpec, name: str, types: dict[str, int | None]
) -> None:
    """An empty temporary table with the columns and nothing else."""
    section = section_of(spec)
    if section.get("layout") == AS_IT_WAS:
        columns = [_declared(column, types) for column in section["columns"]]
    else:
        oid = session.extension.vector if session.extension else 0
        columns = [
            sql.SQL("{} {}").format(column.identifier, verbatim(column.type))
            for column in own_columns(spec, vector_oid=oid)
        ]
    session.define(
        sql.SQL("CREATE TEMPORARY TABLE {} ({}) ON COMMIT DROP").format(
            sql.Identifier(name), sql.SQL(", ").join(columns)
        )
    )


def _declared(column: Section, types: dict[str, int | None]) -> sql.Composed:
    declared = column["type"]
    if types[declared] is None:
        raise InvalidRequest(f"column {column['name']}: there is no type {declared!r} here")
    collation = column.get("collation")
    words = sql.SQL(" COLLATE {}").format(verbatim(collation)) if collation else sql.SQL("")
    return sql.SQL("{} {}{}").format(sql.Identifier(column["name"]), verbatim(declared), words)


@dataclass(frozen=True, slots=True)
class _Parser:
    """Asks the server for its parse of one expression after the other."""

    session: Session
    table: str
    replaced: dict[str, tuple[str, tuple[Call, ...]]]

    def of_slot(self, slot: Slot) -> list[Call]:
        """Calls of one place; if they need consent, something harmless stands there afterwards."""
        if slot.kind == "function":
            return self._of_function(slot)
        if slot.kind in ("condition", "expression"):
            rows = OLD_AND_NEW if slot.kind == "condition" else ROWS
            text, calls = self._of_expression(slot.text, slot.caller, rows)
            slot.holder[slot.key] = text
            return calls
        if slot.kind not in PIECES:
            return []
        pieces, calls_of_pieces = list[clauses.Piece](), list[Call]()
        for piece in PIECES[slot.kind](slot.text):
            if not piece.expression:
                pieces.append(piece)
                continue
            text, calls = self._of_expression(piece.text, slot.caller)
            pieces.append(clauses.Piece(text, expression=True))
            calls_of_pieces += calls
        if calls_of_pieces:
            slot.holder[slot.key] = clauses.joined(pieces)
        return calls_of_pieces

    def _of_function(self, slot: Slot) -> list[Call]:
        ((number,),) = self.session.printed(PROCEDURE.format(sql.Literal(slot.text)))
        if number is None:
            raise InvalidRequest(f"{slot.caller}: there is no function {slot.text} here")
        needing = functions_among(self.session, [number]).values()
        return [Call(slot.caller, callee.name, callee.reason) for callee in needing]

    def _of_expression(
        self, text: str, caller: str, rows: sql.SQL = ROWS
    ) -> tuple[str, list[Call]]:
        tree, result = self._parsed(text, caller, rows)
        needing = callees(self.session, [tree])
        if not needing:
            return text, []
        calls = [Call(caller, callee.name, callee.reason) for callee in needing]
        number = len(self.replaced)
        instead = f"(CASE WHEN 'code {number}' IS NULL THEN NULL::{result} END)"
        self.replaced[instead] = (text, tuple(calls))
        return instead, calls

    def _parsed(self, text: str, caller: str, rows: sql.SQL) -> tuple[str, str]:
        """The parse of one expression as the server keeps it, and the type of its result."""
        quoted = sql.Identifier(self.table).as_string()
        expression = verbatim(with_table(text, quoted))
        create = sql.SQL("CREATE TEMPORARY VIEW {} AS SELECT {} AS e FROM {}")
        view = sql.Identifier(PARSED)
        for context in ALONE:
            table = rows.format(table=sql.Identifier(self.table))
            whole = create.format(view, context.format(expression), table)
            try:
                with self.session.connection.transaction(force_rollback=True):
                    self.session.define(whole)
                    tree = str(self.session.one(TREE.format(sql.Literal(PARSED))))
                    result = str(self.session.one(RESULT.format(sql.Literal(PARSED))))
            except psycopg.errors.InsufficientPrivilege:
                raise
            except psycopg.Error as error:
                message = error.diag.message_primary or str(error)
                raise InvalidRequest(f"{caller}: no expression of this server: {message}") from None
        return tree, result
