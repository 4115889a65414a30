"""Roles that a collection's rights name and that do not exist: which are made, and who is in them.

A manifest that somebody forged must make nobody mighty: membership in a role that is a superuser,
may make roles or databases, passes policies by, replicates, or belongs to the engine is never
granted, also not by way of a role that is itself a member of one.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from dr_pipelines.errors import InvalidRequest, Refused
from dr_pipelines.stores.pgvector.connections import Session
from dr_pipelines.stores.pgvector.rights import missing_roles, named_roles
from dr_pipelines.stores.pgvector.statements import qualified, text_array

Section = dict[str, Any]
MIGHTY = qualified("""
    WITH RECURSIVE above (start, id) AS (
        SELECT r.rolname, r.oid FROM pg_catalog.pg_roles r WHERE r.rolname = ANY ({names})
        UNION SELECT a.start, m.roleid FROM above a
        JOIN pg_catalog.pg_auth_members m ON m.member = a.id
    )
    SELECT a.start, r.rolname, CASE
        WHEN r.rolsuper THEN 'a superuser'
        WHEN r.rolcreaterole THEN 'allowed to make roles'
        WHEN r.rolcreatedb THEN 'allowed to make databases'
        WHEN r.rolbypassrls THEN 'not held by row-level security'
        WHEN r.rolreplication THEN 'allowed to replicate'
        ELSE 'a role of the engine' END
    FROM above a JOIN pg_catalog.pg_roles r ON r.oid = a.id
    WHERE r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR r.rolbypassrls OR r.rolreplication
        OR pg_catalog.starts_with(r.rolname, 'pg_')
    ORDER BY 1, 2
""")
OIDS = qualified("""
    SELECT r.rolname, r.oid::int8 FROM pg_catalog.pg_roles r
    WHERE r.rolname = ANY ({names}) ORDER BY 1
""")
Membership = tuple[str, str]
"""A role, and who becomes a member of it."""


@dataclass(frozen=True, slots=True)
class Roles:
    """The result for roles: `made` are new, `granted` are memberships in or of them, `refused`
    those that nobody gets, each with the reason; `absent` ones do not exist and are not made."""

    made: tuple[str, ...] = ()
    granted: tuple[Membership, ...] = ()
    refused: tuple[tuple[str, str, str], ...] = ()
    absent: tuple[str, ...] = ()


def decided(session: Session, section: Section, *, with_roles: bool) -> Roles:
    """Which roles are made for a section here. Memberships only with `with_roles`, and only of
    roles that are made: who is in a role that exists is its database's own affair."""
    described = {role["name"]: role for role in section.get("roles", [])}
    names = {*named_roles(section), *(described if with_roles else ())}
    made = missing_roles(session, names)
    if not with_roles:
        return Roles(tuple(made), absent=tuple(missing_roles(session, set(described) - set(made))))
    edges = list[Membership]()
    for name in made:
        edges += [(parent, name) for parent in described.get(name, {}).get("member_of", [])]
        edges += [(name, member) for member in described.get(name, {}).get("members", [])]
    edges = list(dict.fromkeys(edges))
    absent = missing_roles(session, {role for edge in edges for role in edge} - set(made))
    possible = [edge for edge in edges if not set(edge) & set(absent)]
    mighty = _mighty(session, {role for role, _ in possible})
    return Roles(
        tuple(made),
        tuple(edge for edge in possible if edge[0] not in mighty),
        tuple((role, to, mighty[role]) for role, to in possible if role in mighty),
        tuple(absent),
    )


def _mighty(session: Session, names: Iterable[str]) -> dict[str, str]:
    """Roles of which nobody becomes a member, and why."""
    rows = session.rows(MIGHTY.format(names=text_array(sorted(names))))
    return {
        start: f"is {why}" if start == role else f"is a member of {role}, which is {why}"
        for start, role, why in rows
    }


def bare_roles(section: Section, roles: Roles) -> list[str]:
    """Roles that are made and had memberships."""
    described = {role["name"]: role for role in section.get("roles", [])}
    had = {name for name, role in described.items() if role.get("member_of") or role.get("members")}
    return [name for name in roles.made if name in had]


def without_others(section: Section, roles: Roles) -> Section:
    """A section with those memberships alone that are granted, for roles that are made; of roles
    that exist it says what it said."""
    roles_left = list[Section]()
    absent = set(roles.absent)
    for role in section.get("roles", []):
        name = role["name"]
        if name in absent:
            continue
        if name not in roles.made:
            roles_left.append(role)
            continue
        members = [to for of, to in roles.granted if of == name]
        role = {key: value for key, value in role.items() if key != "members"}
        role["member_of"] = [of for of, to in roles.granted if to == name]
        roles_left.append(role | ({"members": members} if members else {}))
    return {**section, "roles": roles_left} if "roles" in section else section


def make_roles(session: Session, section: Section) -> dict[str, int]:
    """Make the roles that are missing: without login, password or attributes, with the memberships
    that the section says. Gives the number of each.

    Raises:
        InvalidRequest: this user may not make them.
        Refused: a membership is one that nobody gets.
    """
    roles = decided(session, section, with_roles=True)
    if roles.refused:
        reasons = "; ".join(f"{to} in {role}, which {why}" for role, to, why in roles.refused)
        raise Refused(f"these memberships are never granted: {reasons}")
    if not roles.made:
        return {}
    try:
        with session.connection.transaction():
            for name in roles.made:
                session.run(sql.SQL("CREATE ROLE {}").format(sql.Identifier(name)))
            for role, to in roles.granted:
                grant = sql.SQL("GRANT {} TO {}")
                session.run(grant.format(sql.Identifier(role), sql.Identifier(to)))
    except psycopg.errors.InsufficientPrivilege:
        raise InvalidRequest(
            f"roles {', '.join(roles.made)} do not exist here, and this user may not make them: "
            "create them first, so that grants and policies name somebody"
        ) from None
    return dict(session.rows(OIDS.format(names=text_array(list(roles.made)))))


def undo_roles(session: Session, made: dict[str, int]) -> tuple[str, ...]:
    """Remove roles that a restore made. One that has been made anew since is somebody's; one that
    has got something by now, or that this user may not remove, stays: these are returned."""
    remaining = list[str]()
    rows = session.rows(OIDS.format(names=text_array(list(made))))
    numbers: dict[str, int] = dict(rows)
    for name in sorted(name for name, number in made.items() if numbers.get(name) == number):
        try:
            with session.connection.transaction():
                session.run(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))
        except (psycopg.errors.DependentObjectsStillExist, psycopg.errors.InsufficientPrivilege):
            remaining.append(name)
    return tuple(remaining)
