"""Who may do what: owner, grants, row-level security, and the roles that they name."""

from collections.abc import Iterable, Iterator
from typing import Any

from psycopg import sql

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.stores.pgvector.connections import Session
from dr_pipelines.stores.pgvector.names import with_table, without_table
from dr_pipelines.stores.pgvector.statements import (
    oid,
    qualified,
    text_array,
    verbatim,
)

Section = dict[str, Any]
PUBLIC = "public"
"""Everybody: no role may have the name."""

OWNER = qualified(
    "SELECT pg_catalog.pg_get_userbyid(relowner), relrowsecurity, relforcerowsecurity "
    "FROM pg_class WHERE oid = {table}"
)
OWNED = qualified(
    "SELECT pg_catalog.pg_get_userbyid(relowner), "
    "pg_catalog.pg_get_userbyid(relowner) = current_user FROM pg_class WHERE oid = {table}"
)
GRANTS = qualified("""
    SELECT g.place, coalesce(r.rolname, 'public'), g.privilege_type, g.is_grantable
    FROM (
        SELECT '' AS place, c.relowner, a.* FROM pg_class c, pg_catalog.aclexplode(c.relacl) a
        WHERE c.oid = {table}
        UNION ALL
        SELECT pg_catalog.concat('column ', t.attname), c.relowner, a.* FROM pg_attribute t
        JOIN pg_class c ON c.oid = t.attrelid, pg_catalog.aclexplode(t.attacl) a
        WHERE t.attrelid = {table} AND NOT t.attisdropped
        UNION ALL
        SELECT pg_catalog.concat('sequence ', t.attname), c.relowner, a.* FROM pg_attribute t
        JOIN pg_class c ON c.oid = pg_catalog.to_regclass(
            pg_catalog.pg_get_serial_sequence(t.attrelid::regclass::text, t.attname::text)
        )::oid, pg_catalog.aclexplode(c.relacl) a
        WHERE t.attrelid = {table} AND t.attnum > 0 AND NOT t.attisdropped
    ) g LEFT JOIN pg_roles r ON r.oid = g.grantee
    WHERE g.grantee <> g.relowner
    ORDER BY 1, 2, 3
""")
POLICIES = qualified("""
    SELECT polname, polpermissive, polcmd::text,
        ARRAY(SELECT coalesce(r.rolname, 'public') FROM pg_catalog.unnest(polroles) u (id)
            LEFT JOIN pg_roles r ON r.oid = u.id ORDER BY 1)::text[],
        pg_catalog.pg_get_expr(polqual, polrelid), pg_catalog.pg_get_expr(polwithcheck, polrelid)
    FROM pg_policy WHERE polrelid = {table} ORDER BY polname
""")
COMMANDS = {"r": "select", "a": "insert", "w": "update", "d": "delete", "*": "all"}
ROLES = qualified("""
    WITH RECURSIVE named (id) AS (
        SELECT oid FROM pg_roles WHERE rolname = ANY ({names})
        UNION SELECT m.roleid FROM pg_auth_members m JOIN named ON m.member = named.id
    )
    SELECT r.rolname, r.rolcanlogin, r.rolinherit, r.rolbypassrls,
        CASE WHEN r.rolname = ANY ({names}) THEN
            ARRAY(SELECT p.rolname FROM pg_auth_members m JOIN pg_roles p ON p.oid = m.member
                WHERE m.roleid = r.oid AND (m.inherit_option OR m.set_option) ORDER BY 1)::text[]
        END,
        ARRAY(SELECT p.rolname FROM pg_auth_members m JOIN pg_roles p ON p.oid = m.roleid
            WHERE m.member = r.oid ORDER BY 1)::text[]
    FROM pg_roles r WHERE r.oid IN (SELECT id FROM named) ORDER BY 1
""")


def rights(session: Session, relation: int, quoted: str) -> Section:
    """All parts that a table or a partition has, by its number and its name as the server writes
    it."""
    place = oid(relation)
    owner, enabled, forced = session.rows(OWNER.format(table=place))[0]
    grants = _grants(session.rows(GRANTS.format(table=place)))
    policies: Section = {"enabled": enabled, "forced": forced, "rules": []}
    for name, permissive, command, roles, using, check in session.printed(
        POLICIES.format(table=place)
    ):
        rule = {
            "name": name,
            "permissive": permissive,
            "command": COMMANDS[command],
            "roles": roles,
            "using": using and without_table(using, quoted),
            "check": check and without_table(check, quoted),
        }
        policies["rules"].append({key: value for key, value in rule.items() if value is not None})
    section: Section = {"owner": owner, "grants": grants}
    if enabled or forced or policies["rules"]:
        section["policies"] = policies
    return {key: value for key, value in section.items() if value}


def owner_of(session: Session, relation: int) -> tuple[str, bool]:
    """Who owns a table, and whether that is who asks."""
    ((owner, ours),) = session.rows(OWNED.format(table=oid(relation)))
    return owner, ours


def named_roles(section: Section) -> list[str]:
    """The roles that grants and policies of a section and its partitions name, ascending."""
    named = set[str]()
    for part in (section, *partitions_of(section)):
        named |= {grant["role"] for grant in part.get("grants", [])}
        for rule in part.get("policies", {}).get("rules", []):
            named.update(rule["roles"])
    return sorted(named - {PUBLIC})


def partitions_of(section: Section) -> Iterator[Section]:
    """Every partition that a section says, with those of partitions."""
    for part in section.get("partitions", {}).get("tables", section.get("tables", [])):
        yield part
        yield from partitions_of(part)


WIDENED = qualified("""
    SELECT c.relname, c.relkind::text, coalesce(r.rolname, 'public')
    FROM pg_class c CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) a
    LEFT JOIN pg_roles r ON r.oid = a.grantee
    WHERE a.grantee <> c.relowner AND c.oid IN (
        SELECT t.oid FROM pg_class t JOIN pg_namespace n ON n.oid = t.relnamespace
        WHERE n.nspname = {schema} AND t.relname = {table}
        UNION SELECT p.relid::oid FROM pg_catalog.pg_partition_tree({quoted}::regclass) p
        UNION SELECT d.objid FROM pg_depend d
        WHERE d.classid = 'pg_catalog.pg_class'::regclass::oid AND d.refclassid = d.classid
            AND d.refobjid = {quoted}::regclass::oid AND d.deptype IN ('a', 'i')
    )
""")


def revoke_defaults(session: Session, table: str) -> None:
    """Take back what default privileges gave to others on what was just made: a table or view, its
    partitions, its sequences."""
    quoted = sql.Literal(session.table(table).as_string())
    grantees = session.rows(
        WIDENED.format(schema=sql.Literal(session.schema), table=sql.Literal(table), quoted=quoted)
    )
    for name, kind, role in {(name, kind, role) for name, kind, role in grantees}:
        session.run(
            sql.SQL("REVOKE ALL ON {} {} FROM {}").format(
                sql.SQL("SEQUENCE" if kind == "S" else "TABLE"), session.table(name), _role(role)
            )
        )


def apply_rights(session: Session, table: str, quoted: str, section: Section) -> None:
    """Give a table the policies and grants of a section; roles that they name are there."""
    target = session.table(table)
    policies = section.get("policies", {})
    for rule in policies.get("rules", []):
        session.define(_policy(rule, target, quoted))
    for key, words in (("enabled", "ENABLE"), ("forced", "FORCE")):
        if policies.get(key):
            command = sql.SQL("ALTER TABLE {} {} ROW LEVEL SECURITY")
            session.run(command.format(target, verbatim(words)))
    user = session.one(qualified("SELECT current_user::text"))
    for grant in section.get("grants", []):
        if grant["role"] != user:  # who has all of it now; what is granted comes with the owner
            session.run(grant_command(session, grant, table))


def missing_roles(session: Session, names: Iterable[str]) -> list[str]:
    """Which of these roles do not exist."""
    query = qualified(
        "SELECT n FROM unnest({}) u (n) WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = n)"
    )
    return sorted(row[0] for row in session.rows(query.format(text_array(list(names)))))


def _grants(rows: list[tuple[Any, ...]]) -> list[Section]:
    """One for each place and role: the table, a column, or the sequence of a column."""
    grants = dict[tuple[str, str, bool], Section]()
    for place, role, privilege, grantable in rows:
        kind, _, column = place.partition(" ")
        grant: Section = {"role": role, "privileges": []}
        grant |= {kind: column} if kind else {}
        grant |= {"grantable": True} if grantable else {}
        grants.setdefault((place, role, grantable), grant)["privileges"].append(privilege)
    return list(grants.values())


def described_roles(session: Session, names: list[str]) -> list[Section]:
    """Roles and who is in them. Passwords are nobody's to read, and no part."""
    roles = []
    for name, login, inherit, bypass, members, parents in session.rows(
        ROLES.format(names=text_array(names))
    ):
        role = {"name": name, "login": login, "inherit": inherit, "member_of": parents}
        role |= {"members": members} if members else {}
        roles.append(role | ({"bypasses_policies": True} if bypass else {}))
    return roles


def _policy(rule: Section, target: sql.Identifier, quoted: str) -> sql.Composed:
    parts: list[sql.Composable] = [
        sql.SQL("CREATE POLICY {} ON {} AS {} FOR {} TO {}").format(
            sql.Identifier(rule["name"]),
            target,
            sql.SQL("PERMISSIVE" if rule["permissive"] else "RESTRICTIVE"),
            verbatim(_word(rule["command"], COMMANDS.values())),
            sql.SQL(", ").join(_role(role) for role in rule["roles"]),
        )
    ]
    for key, words in (("using", "USING"), ("check", "WITH CHECK")):
        if key in rule:
            text = verbatim(with_table(rule[key], quoted))
            parts.append(sql.SQL("{} ({})").format(verbatim(words), text))
    return sql.SQL(" ").join(parts)


PRIVILEGES = frozenset(
    [
        "SELECT",
        "INSERT",
        "UPDATE",
        "DELETE",
        "TRUNCATE",
        "REFERENCES",
        "TRIGGER",
        "MAINTAIN",
        "USAGE",
    ]
)
SEQUENCE = qualified("SELECT pg_catalog.pg_get_serial_sequence({}::text, {})")


def grant_command(session: Session, grant: Section, table: str) -> sql.Composed:
    """The statement that grants a part of a section on an existing table."""
    target = session.table(table)
    place: sql.Composable = sql.SQL("TABLE {}").format(target)
    columns: sql.Composable = sql.SQL("")
    if "sequence" in grant:
        name = sql.Literal(target.as_string())
        sequence = session.one(SEQUENCE.format(name, sql.Literal(grant["sequence"])))
        place = sql.SQL("SEQUENCE {}").format(verbatim(sequence))
    if "column" in grant:
        columns = sql.SQL(" ({})").format(sql.Identifier(grant["column"]))
    words = (verbatim(_word(privilege, PRIVILEGES)) for privilege in grant["privileges"])
    return sql.SQL("GRANT {} ON {} TO {}{}").format(
        sql.SQL(", ").join(sql.SQL("{}{}").format(word, columns) for word in words),
        place,
        _role(grant["role"]),
        sql.SQL(" WITH GRANT OPTION" if grant.get("grantable") else ""),
    )


def _role(name: str) -> sql.Composable:
    return sql.SQL("PUBLIC") if name == PUBLIC else sql.Identifier(name)


def _word(word: str, words: Iterable[str]) -> str:
    if word not in words:
        raise InvalidRequest(f"{word!r}: expected one of {', '.join(words)}")
    return word
