"""Whose a restored table is: its owner's as before, where this user may act for him, and who is
granted what besides; else the statements that give it back."""

from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg import sql

from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.compatibility import Note, Outcome
from dr_pipelines.planning.parts import OWN_NAME
from dr_pipelines.stores.pgvector.connections import Session
from dr_pipelines.stores.pgvector.making import ENGINE, section_of
from dr_pipelines.stores.pgvector.names import placed, table_of
from dr_pipelines.stores.pgvector.rights import grant_command, missing_roles, partitions_of
from dr_pipelines.stores.pgvector.statements import qualified

Section = dict[str, Any]
USER = qualified("SELECT current_user::text")
MAY = qualified("""
    SELECT (SELECT r.rolsuper FROM pg_roles r WHERE r.rolname = current_user)
        OR (pg_catalog.pg_has_role(current_user, {owner}, {way})
            AND pg_catalog.has_schema_privilege({owner}, {schema}, 'CREATE'))
""")
ROLE_NOW = qualified("SELECT pg_catalog.current_setting('role')")
AS_ROLE = qualified("SELECT pg_catalog.set_config('role', {}, true)")


def apply_owner(session: Session, name: str, part: Section) -> None:
    """Give a table to its owner, where he exists and this user may act for him; else it stays this
    user's, which a description says. What this user himself is granted comes then: it would go with
    the owner whom he was."""
    owner, user = part.get("owner"), session.one(USER)
    if owner is None or owner == user:
        return
    target = session.table(name)
    try:
        with session.connection.transaction():
            session.run(sql.SQL("ALTER TABLE {} OWNER TO {}").format(target, sql.Identifier(owner)))
            _grant_as(session, owner, own_grants(session, name, part, user))
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedObject):
        return


def own_grants(session: Session, name: str, part: Section, user: str) -> list[sql.Composed]:
    """Grants of a user on a table of somebody else, as statements."""
    if part.get("owner") in (None, user):
        return []
    return [grant_command(session, g, name) for g in part.get("grants", []) if g["role"] == user]


def _grant_as(session: Session, owner: str, commands: list[sql.Composed]) -> None:
    """Grants are the owner's to give, and who may act for him need not be given what is his."""
    if not commands:
        return
    before = session.one(ROLE_NOW)
    session.one(AS_ROLE.format(sql.Literal(owner)))
    for command in commands:
        session.run(command)
    session.one(AS_ROLE.format(sql.Literal(before)))


def owner_notes(session: Session, spec: CollectionSpec) -> Iterator[Note]:
    """A note for each owner for whom this user may not act, with the statements that give him his
    tables back, and this user what he is granted there."""
    user, by_reason = session.one(USER), dict[str, tuple[str, list[str]]]()
    for place, name, part in _tables(spec):
        why = _obstacle(session, part.get("owner"), user)
        if why is None:
            continue
        give = sql.SQL("ALTER TABLE {} OWNER TO {}")
        commands = [
            give.format(session.table(name), sql.Identifier(part["owner"])),
            *own_grants(session, name, part, user),
        ]
        _, statements = by_reason.setdefault(why, (place, []))
        statements += [command.as_string(session.connection) for command in commands]
    for why, (place, statements) in by_reason.items():
        consequence = f"{why}. Then run, as who may: {'; '.join(statements)}"
        yield Note(place, Outcome.APPROXIMATED, consequence)


def _tables(spec: CollectionSpec) -> Iterator[tuple[str, str, Section]]:
    """The table and its partitions: where it is said, the name, the part with its owner."""
    section, place = section_of(spec), f"engine.{ENGINE}"
    root = table_of(spec.name, section.get(OWN_NAME))
    yield f"{place}.owner", root, section
    for part in partitions_of(section):
        name = placed(part["name"], root, taken=False)
        owner = part.get("owner", section.get("owner"))
        yield f"{place}.partitions.{name}.owner", name, {**part, "owner": owner}


def _obstacle(session: Session, owner: str | None, user: str) -> str | None:
    if owner is None:
        return None
    if missing_roles(session, [owner]):
        return f"role {owner} does not exist here: the table becomes {user}'s"
    way = "SET" if session.connection.info.server_version >= 160_000 else "MEMBER"
    names = {"owner": sql.Literal(owner), "schema": sql.Literal(session.schema)}
    if session.one(MAY.format(way=sql.Literal(way), **names)):
        return None
    return f"{user} may not act for {owner} here: a table that {user} restores is {user}'s"
