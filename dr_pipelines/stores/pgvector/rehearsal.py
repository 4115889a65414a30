"""A restore up to its rows, in a transaction that is undone: what it would execute, exactly, and
what the server then says that this calls. The real one goes through the same functions."""

import re
from dataclasses import dataclass, field

import psycopg
from psycopg import sql

from dr_pipelines.errors import NotFound
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.compatibility import Note, Outcome
from dr_pipelines.model.definitions import Call, Definitions, Statement
from dr_pipelines.stores.pgvector import connections, indexing
from dr_pipelines.stores.pgvector.analysis import Analysis, analyse
from dr_pipelines.stores.pgvector.called import called
from dr_pipelines.stores.pgvector.catalog import Table, find_table
from dr_pipelines.stores.pgvector.completing import complete
from dr_pipelines.stores.pgvector.connections import Session
from dr_pipelines.stores.pgvector.description import Collection, collection_of
from dr_pipelines.stores.pgvector.fitted import without_obstacles
from dr_pipelines.stores.pgvector.foreign_keys import add_foreign_keys, is_beside
from dr_pipelines.stores.pgvector.label import MARK
from dr_pipelines.stores.pgvector.making import (
    ENGINE,
    as_described,
    make_table,
    require_extension,
    section_of,
)
from dr_pipelines.stores.pgvector.membership import (
    Roles,
    bare_roles,
    decided,
    undo_roles,
    without_others,
)
from dr_pipelines.stores.pgvector.opening import open_up
from dr_pipelines.stores.pgvector.owners import owner_notes

PATIENCE = sql.SQL("SET LOCAL lock_timeout = '500ms'")
"""Foreign keys lock what they refer to: others are not to wait for a rehearsal."""
NOT_DEFINITIONS = ("SELECT ", "SET ", "ANALYZE ")
INDEX_LABEL = re.compile(rf"('{re.escape(MARK)}).*", re.DOTALL)


@dataclass
class Rehearsal(Session):
    """A session that keeps what it is told to do."""

    step: str = "table"
    executed: list[tuple[str, str]] = field(default_factory=list)
    untried: list[str] = field(default_factory=list)
    """What others held a lock for."""

    def run(self, command: connections.Statement) -> None:
        """Execute a command and keep it, also where only a lock of others was in the way."""
        try:
            super().run(command)
        except psycopg.errors.LockNotAvailable:  # only that it was not tried
            self._keep(command)
            self.untried.append(command.as_string(self.connection))
            raise
        self._keep(command)

    def _keep(self, command: connections.Statement) -> None:
        text = command.as_string(self.connection)
        if not text.startswith(NOT_DEFINITIONS):
            self.executed.append((self.step, text))


def rehearsed(session: Session, spec: CollectionSpec, *, with_roles: bool) -> Definitions:
    """The code that creating, indexing and opening a collection will execute, and the part of it
    that needs consent. Executes nothing that does.

    Raises:
        InvalidRequest: the section is not one that a description gives.
    """
    with as_described(spec.name):
        return _rehearsed(session, spec, with_roles=with_roles)


def _rehearsed(session: Session, spec: CollectionSpec, *, with_roles: bool) -> Definitions:
    with session.connection.transaction(force_rollback=True):
        there = find_table(session, spec.name)
        if there is not None:  # what an unfinished restore left: this one ends like a first one
            remove(session, there)
        extension = require_extension(session)
        executed = [("table", extension.as_string(session.connection))] if extension else []
        roles = decided(session, section_of(spec), with_roles=with_roles)
        bare = [] if with_roles else bare_roles(section_of(spec), roles)
        section = without_obstacles(session, without_others(section_of(spec), roles))
        spec = _with_section(spec, section)
        notes = tuple(_notes(roles, bare, with_roles=with_roles))
        analysis = analyse(session, spec)
        if analysis.unread:
            return Definitions(
                spec,
                code=analysis.calls,
                notes=notes,
                memberships=roles.granted,
                unread=analysis.unread,
            )
        more, untried = _execute(session, analysis, executed)
        notes = (*notes, *owner_notes(session, spec), *_untried(untried))
    statements = tuple(_statement(step, text, analysis) for step, text in executed)
    code = tuple(dict.fromkeys([*analysis.calls, *more]))
    return Definitions(spec, statements, code, notes, roles.granted)


def _with_section(spec: CollectionSpec, section: dict[str, object]) -> CollectionSpec:
    if ENGINE not in spec.engine:
        return spec
    return spec.model_copy(update={"engine": {**spec.engine, ENGINE: section}})


def _execute(
    session: Session, analysis: Analysis, executed: list[tuple[str, str]]
) -> tuple[list[Call], list[str]]:
    """Make the table without what needs consent, and keep what is `executed`; what the server says
    that this calls and the analysis did not, and what could not be tried."""
    rehearsal = Rehearsal(session.connection, session.schema, session.extension, executed=executed)
    rehearsal.run(PATIENCE)
    make_table(rehearsal, analysis.harmless)
    collection = _made(rehearsal, analysis.harmless)
    rehearsal.step = "indexes"
    for index in indexing.all_wanted(rehearsal, collection):
        rehearsal.define(indexing.command(rehearsal, index, collection.table.name))
    complete(rehearsal, collection)
    rehearsal.step = "rights"
    open_up(rehearsal, _made(rehearsal, analysis.harmless))
    if is_beside(collection.table.name):
        rehearsal.step = "switch"
        section = section_of(analysis.harmless)
        add_foreign_keys(rehearsal, _made(rehearsal, analysis.harmless).table, section)
    return called(session, collection.table), rehearsal.untried


def _made(session: Session, spec: CollectionSpec) -> Collection:
    table = find_table(session, spec.name)
    collection = collection_of(session, table) if table else None
    if collection is None:
        raise NotFound(f"{spec.name!r}: its section {ENGINE!r} makes no collection")
    return collection


def _statement(step: str, text: str, analysis: Analysis) -> Statement:
    """As it will be: with what was replaced for the rehearsal, and without the whole label."""
    calls = list[Call]()
    text = INDEX_LABEL.sub(r"\1…'", text)
    if analysis.replaced:
        places = re.compile("|".join(re.escape(instead) for instead in analysis.replaced))

        def original(match: re.Match[str]) -> str:
            expression, called = analysis.replaced[match.group()]
            calls.extend(called)
            return expression

        text = places.sub(original, text)
    return Statement(text, step, tuple(dict.fromkeys(calls)))


def _notes(roles: Roles, bare: list[str], *, with_roles: bool) -> list[Note]:
    part = f"engine.{ENGINE}.roles"
    notes = [
        Note(f"{part}.{to}", Outcome.LOST, f"never becomes a member of {role}, which {why}")
        for role, to, why in roles.refused
    ]
    if with_roles and roles.absent:
        consequence = f"{', '.join(roles.absent)} do not exist here: their memberships are not made"
        notes.append(Note(part, Outcome.LOST, consequence))
    if bare:
        consequence = f"{', '.join(bare)}: made without memberships; --with-roles grants them"
        notes.append(Note(f"{part}.members", Outcome.APPROXIMATED, consequence))
    return notes


def _untried(commands: list[str]) -> list[Note]:
    part = f"engine.{ENGINE}.foreign_keys"
    consequence = (
        "not rehearsed, since others hold a lock that it waits for; the restore tries it: "
    )
    return [Note(part, Outcome.APPROXIMATED, consequence + command) for command in commands]


def remove(session: Session, table: Table) -> tuple[str, ...]:
    """Drop a table, and the roles that were made for it; gives those of them that stay."""
    session.run(sql.SQL("DROP TABLE IF EXISTS {}").format(session.table(table.name)))
    if table.label is None or not table.label.made:
        return ()
    return undo_roles(session, dict(table.label.made))
