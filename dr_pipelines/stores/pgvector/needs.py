"""Prerequisites of a table that it does not bring along: types, functions, collations,
extensions, tables of others. Each is recorded with the statement that makes it, if there is a
short one, and must exist before a restore."""

from collections.abc import Iterator
from typing import Any

from psycopg import sql

from dr_pipelines.planning.parts import NEEDS
from dr_pipelines.stores.pgvector.connections import Session
from dr_pipelines.stores.pgvector.statements import oid, qualified

Section = dict[str, Any]
REFERENCES = qualified("""
    WITH tree (id) AS (
        SELECT {table} UNION SELECT relid::oid FROM pg_partition_tree({table})
    ), own (class, id, trigger) AS (
        SELECT 'pg_catalog.pg_class'::regclass::oid, id, NULL::text FROM tree
        UNION SELECT 'pg_catalog.pg_class'::regclass::oid, i.indexrelid, NULL FROM pg_index i
            JOIN tree t ON t.id = i.indrelid
        UNION SELECT 'pg_catalog.pg_attrdef'::regclass::oid, d.oid, NULL FROM pg_attrdef d
            JOIN tree t ON t.id = d.adrelid
        UNION SELECT 'pg_catalog.pg_constraint'::regclass::oid, k.oid, NULL FROM pg_constraint k
            JOIN tree t ON t.id = k.conrelid
        UNION SELECT 'pg_catalog.pg_policy'::regclass::oid, p.oid, NULL FROM pg_policy p
            JOIN tree t ON t.id = p.polrelid
        UNION SELECT 'pg_catalog.pg_statistic_ext'::regclass::oid, s.oid, NULL
            FROM pg_statistic_ext s JOIN tree t ON t.id = s.stxrelid
        UNION SELECT 'pg_catalog.pg_trigger'::regclass::oid, g.oid, g.tgname::text
            FROM pg_trigger g JOIN tree t ON t.id = g.tgrelid WHERE NOT g.tgisinternal
    ), needed (class, id, triggers) AS (
        SELECT coalesce(e.refclassid, d.refclassid), coalesce(e.refobjid, d.refobjid),
            CASE WHEN pg_catalog.bool_and(o.trigger IS DISTINCT FROM NULL) THEN
                pg_catalog.array_agg(DISTINCT o.trigger) END
        FROM own o JOIN pg_depend d ON d.classid = o.class AND d.objid = o.id AND d.deptype = 'n'
        LEFT JOIN pg_depend e ON e.classid = d.refclassid AND e.objid = d.refobjid
            AND e.deptype = 'e'
        WHERE d.refclassid <> 'pg_catalog.pg_namespace'::regclass::oid
            AND NOT EXISTS (SELECT FROM tree t WHERE t.id = d.refobjid)
            AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = d.refobjid AND c.relkind = 'S'
                AND d.refclassid = 'pg_catalog.pg_class'::regclass::oid)
        GROUP BY 1, 2
    )
    SELECT i.type, i.identity,
        CASE WHEN n.class = 'pg_catalog.pg_extension'::regclass::oid THEN
            (SELECT pg_catalog.format('CREATE EXTENSION %I SCHEMA %I', e.extname, s.nspname)
            FROM pg_extension e JOIN pg_namespace s ON s.oid = e.extnamespace WHERE e.oid = n.id)
        WHEN n.class = 'pg_catalog.pg_proc'::regclass::oid THEN
            (SELECT pg_catalog.rtrim(pg_catalog.pg_get_functiondef(p.oid)) FROM pg_proc p
            WHERE p.oid = n.id AND p.prokind = 'f')
        WHEN n.class = 'pg_catalog.pg_type'::regclass::oid THEN
            (SELECT CASE WHEN t.typtype = 'e' THEN pg_catalog.format('CREATE TYPE %s AS ENUM (%s)',
                i.identity, (SELECT pg_catalog.string_agg(pg_catalog.quote_literal(l.enumlabel),
                    ', ' ORDER BY l.enumsortorder) FROM pg_enum l WHERE l.enumtypid = t.oid))
            WHEN t.typtype = 'd' THEN pg_catalog.format('CREATE DOMAIN %s AS %s%s%s%s',
                i.identity, pg_catalog.format_type(t.typbasetype, t.typtypmod),
                CASE WHEN t.typnotnull THEN ' NOT NULL' END, ' DEFAULT ' || t.typdefault,
                (SELECT pg_catalog.string_agg(pg_catalog.format(' CONSTRAINT %I %s', k.conname,
                    pg_catalog.pg_get_constraintdef(k.oid)), '' ORDER BY k.conname)
                FROM pg_constraint k WHERE k.contypid = t.oid AND k.contype = 'c'))
            WHEN t.typtype = 'c' THEN pg_catalog.format('CREATE TYPE %s AS (%s)', i.identity,
                (SELECT pg_catalog.string_agg(pg_catalog.format('%I %s', a.attname,
                    pg_catalog.format_type(a.atttypid, a.atttypmod)), ', ' ORDER BY a.attnum)
                FROM pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0
                    AND NOT a.attisdropped)) END
            FROM pg_type t WHERE t.oid = n.id) END,
        n.triggers
    FROM needed n
    JOIN LATERAL pg_catalog.pg_identify_object(n.class, n.id, 0) i ON true
    ORDER BY i.type COLLATE "C", i.identity COLLATE "C"
""")
FINDERS = {
    "collation": qualified("to_regcollation({})::oid"),
    "extension": qualified("(SELECT oid FROM pg_extension WHERE extname = {})"),
    "function": qualified("to_regprocedure({})::oid"),
    "table": qualified("to_regclass({})::oid"),
    "type": qualified("to_regtype({})::oid"),
}


def needs(session: Session, relation: int) -> list[Section]:
    """All of them, by the number of a table; its partitions' too. While the path is empty, each is
    named with its schema. What only `triggers` need names these: without it there is a table."""
    rows = session.rows(REFERENCES.format(table=oid(relation)))
    return [
        {"name": f"{kind} {identity}"}
        | ({"definition": definition} if definition else {})
        | ({"triggers": triggers} if triggers else {})
        for kind, identity, definition, triggers in rows
    ]


def missing(session: Session, section: Section) -> Iterator[Section]:
    """Prerequisites of a table that this database lacks, as far as that can be looked up."""
    for need in section.get(NEEDS, []):
        if "triggers" not in need and not is_there(session, need):
            yield need


def is_there(session: Session, need: Section) -> bool:
    """True if this database has a prerequisite, as far as that can be looked up."""
    kind, _, identity = need["name"].partition(" ")
    finder = FINDERS.get(kind)
    if finder is None:
        return True
    query = sql.SQL("SELECT {}::pg_catalog.int8").format(finder.format(sql.Literal(identity)))
    return session.one(query) is not None
