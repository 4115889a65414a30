"""Objects that hang on a table and are no part of it: views, rules, publications, foreign keys of
other tables. A restore makes none of them; each is recorded with the statement that makes it again,
and `fit` lists these."""

from typing import Any

from psycopg import sql

from dr_pipelines.stores.pgvector.alias_names import ALIAS_MARK
from dr_pipelines.stores.pgvector.catalog import Table
from dr_pipelines.stores.pgvector.connections import Session
from dr_pipelines.stores.pgvector.names import derived
from dr_pipelines.stores.pgvector.rights import partitions_of
from dr_pipelines.stores.pgvector.statements import oid, qualified

Section = dict[str, Any]

FOREIGN_KEYS = qualified("""
    SELECT 0, 'foreign key', pg_catalog.format('%I of %I.%I', k.conname, n.nspname, c.relname),
        pg_catalog.format('ALTER TABLE %I.%I ADD CONSTRAINT %I %s', n.nspname, c.relname,
            k.conname, pg_catalog.pg_get_constraintdef(k.oid))
    FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE k.confrelid = {table} AND k.conrelid <> {table} AND k.contype = 'f'
        AND k.conparentid = 0::oid AND NOT c.relispartition
""")
VIEWS = qualified("""
    WITH RECURSIVE seen (id, depth) AS (
        SELECT {table}, 0
        UNION SELECT r.ev_class, s.depth + 1 FROM seen s
        JOIN pg_depend d ON d.refclassid = 'pg_catalog.pg_class'::regclass::oid
            AND d.refobjid = s.id AND d.classid = 'pg_catalog.pg_rewrite'::regclass::oid
        JOIN pg_rewrite r ON r.oid = d.objid AND r.ev_class <> s.id AND r.rulename = '_RETURN'
        WHERE s.depth < 20
    )
    SELECT s.depth, CASE WHEN v.relkind = 'm' THEN 'materialised view' ELSE 'view' END,
        pg_catalog.format('%I.%I', n.nspname, v.relname),
        pg_catalog.format('CREATE %s %I.%I%s AS %s',
            CASE WHEN v.relkind = 'm' THEN 'MATERIALIZED VIEW' ELSE 'VIEW' END, n.nspname,
            v.relname, CASE WHEN pg_catalog.cardinality(v.reloptions) > 0 THEN
                pg_catalog.format(' WITH (%s)', pg_catalog.array_to_string(v.reloptions, ', ')) END,
            pg_catalog.rtrim(pg_catalog.ltrim(pg_catalog.pg_get_viewdef(v.oid)), ';'))
    FROM (SELECT id, pg_catalog.max(depth) AS depth FROM seen GROUP BY id) s
    JOIN pg_class v ON v.oid = s.id AND s.depth > 0
    JOIN pg_namespace n ON n.oid = v.relnamespace
    WHERE coalesce(pg_catalog.obj_description(v.oid, 'pg_class'), '') <> {mark}
""")
RULES = qualified("""
    SELECT 0, 'rule', pg_catalog.format('%I', r.rulename),
        pg_catalog.rtrim(pg_catalog.pg_get_ruledef(r.oid), ';')
    FROM pg_rewrite r WHERE r.ev_class = {table} AND r.rulename <> '_RETURN'
""")
PUBLICATIONS = qualified("""
    SELECT 0, 'publication', pg_catalog.format('%I', p.pubname),
        pg_catalog.format('ALTER PUBLICATION %I ADD TABLE ONLY %I.%I%s%s', p.pubname, n.nspname,
            c.relname,
            CASE WHEN pg_catalog.cardinality(r.prattrs::int2[]) > 0 THEN
                pg_catalog.format(' (%s)', (
                    SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ')
                    FROM pg_attribute a WHERE a.attrelid = r.prrelid
                        AND a.attnum = ANY (r.prattrs::int2[]))) END,
            CASE WHEN r.prqual IS DISTINCT FROM NULL THEN
                pg_catalog.format(' WHERE %s', pg_catalog.pg_get_expr(r.prqual, r.prrelid)) END)
    FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
    JOIN pg_class c ON c.oid = r.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE r.prrelid = {table}
""")
SUBSCRIPTIONS = qualified("""
    SELECT 0, 'subscription', pg_catalog.format('%s', r.srsubid), NULL::text
    FROM pg_subscription_rel r WHERE r.srrelid = {table}
""")
SECURITY_LABELS = qualified("""
    SELECT 0, 'security label', pg_catalog.concat(l.provider, ' ', a.attname),
        pg_catalog.format('SECURITY LABEL FOR %I ON %s %I.%I%s IS %L', l.provider,
            CASE WHEN l.objsubid = 0 THEN 'TABLE' ELSE 'COLUMN' END, n.nspname, c.relname,
            CASE WHEN l.objsubid <> 0 THEN pg_catalog.format('.%I', a.attname) END, l.label)
    FROM pg_seclabel l JOIN pg_class c ON c.oid = l.objoid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_attribute a ON a.attrelid = l.objoid AND a.attnum = l.objsubid
        AND l.objsubid <> 0
    WHERE l.objoid = {table} AND l.classoid = 'pg_catalog.pg_class'::regclass::oid
""")
EXTENSIONS = qualified("""
    SELECT 0, 'extension', pg_catalog.format('%I', e.extname),
        CASE WHEN d.objid IS DISTINCT FROM NULL THEN pg_catalog.format(
            'ALTER EXTENSION %I ADD TABLE %I.%I', e.extname, n.nspname, c.relname) END
    FROM pg_extension e JOIN pg_class c ON c.oid = {table}
    JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_depend d ON d.classid = 'pg_catalog.pg_class'::regclass::oid
        AND d.objid = c.oid AND d.refclassid = 'pg_catalog.pg_extension'::regclass::oid
        AND d.refobjid = e.oid AND d.deptype = 'e'
    WHERE d.objid IS DISTINCT FROM NULL OR c.oid = ANY (e.extconfig)
""")
PLACES = qualified("""
    SELECT 0, p.kind, p.name,
        pg_catalog.format('ALTER TABLE %I.%I %s', n.nspname, c.relname, p.does)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN LATERAL (
        SELECT 'parent' AS kind, pg_catalog.format('%I.%I', pn.nspname, pc.relname) AS name,
            pg_catalog.format('INHERIT %I.%I', pn.nspname, pc.relname) AS does
        FROM pg_inherits i JOIN pg_class pc ON pc.oid = i.inhparent
        JOIN pg_namespace pn ON pn.oid = pc.relnamespace
        WHERE i.inhrelid = c.oid AND NOT c.relispartition
        UNION ALL SELECT 'type of the table', pg_catalog.format('%I.%I', tn.nspname, t.typname),
            pg_catalog.format('OF %I.%I', tn.nspname, t.typname)
        FROM pg_type t JOIN pg_namespace tn ON tn.oid = t.typnamespace WHERE t.oid = c.reloftype
        UNION ALL SELECT 'tablespace', pg_catalog.format('%I', s.spcname),
            pg_catalog.format('SET TABLESPACE %I', s.spcname)
        FROM pg_tablespace s WHERE s.oid = c.reltablespace
        UNION ALL SELECT 'access method', pg_catalog.format('%I', m.amname),
            pg_catalog.format('SET ACCESS METHOD %I', m.amname)
        FROM pg_am m WHERE m.oid = c.relam AND m.amname <> 'heap'
    ) p ON true
    WHERE c.oid = {table}
""")
INDEX_PLACES = qualified("""
    SELECT 0, 'tablespace of an index', pg_catalog.format('%I', c.relname),
        pg_catalog.format('ALTER INDEX %I.%I SET TABLESPACE %I', n.nspname, c.relname, s.spcname)
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_tablespace s ON s.oid = c.reltablespace
    WHERE i.indrelid = {table}
""")
EXTENSIONS_OF_PARTS = qualified("""
    SELECT 0, pg_catalog.concat('extension of ', p.kind), pg_catalog.format('%I (%I)', p.name,
        e.extname), pg_catalog.format('ALTER %s DEPENDS ON EXTENSION %I', p.altered, e.extname)
    FROM (
        SELECT 'a trigger' AS kind, g.tgname AS name, g.oid,
            'pg_catalog.pg_trigger'::regclass::oid AS class,
            pg_catalog.format('TRIGGER %I ON %I.%I', g.tgname, n.nspname, c.relname) AS altered
        FROM pg_trigger g JOIN pg_class c ON c.oid = g.tgrelid
        JOIN pg_namespace n ON n.oid = c.relnamespace WHERE g.tgrelid = {table}
        UNION ALL SELECT 'an index', c.relname, c.oid, 'pg_catalog.pg_class'::regclass::oid,
            pg_catalog.format('INDEX %I.%I', n.nspname, c.relname)
        FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
        JOIN pg_namespace n ON n.oid = c.relnamespace WHERE i.indrelid = {table}
    ) p JOIN pg_depend d ON d.classid = p.class AND d.objid = p.oid AND d.deptype = 'x'
        AND d.refclassid = 'pg_catalog.pg_extension'::regclass::oid
    JOIN pg_extension e ON e.oid = d.refobjid
""")
"""`DEPENDS ON EXTENSION`: a trigger or an index that goes when the extension goes."""
COMMENTS = qualified("""
    SELECT 0, p.kind, pg_catalog.format('%I', p.name),
        pg_catalog.format('COMMENT ON %s %I ON %I.%I IS %L', p.word, p.name, n.nspname, c.relname,
            d.description)
    FROM (
        SELECT 'comment of a rule' AS kind, 'RULE' AS word, r.rulename AS name, r.oid,
            'pg_catalog.pg_rewrite'::regclass::oid AS class
        FROM pg_rewrite r WHERE r.ev_class = {table}
        UNION ALL SELECT 'comment of a policy', 'POLICY', l.polname, l.oid,
            'pg_catalog.pg_policy'::regclass::oid
        FROM pg_policy l WHERE l.polrelid = {table}
    ) p JOIN pg_description d ON d.classoid = p.class AND d.objoid = p.oid
    JOIN pg_class c ON c.oid = {table} JOIN pg_namespace n ON n.oid = c.relnamespace
""")
OTHERS = qualified("""
    SELECT DISTINCT 0, 'dependent', pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid),
        CASE WHEN d.classid = 'pg_catalog.pg_proc'::regclass::oid THEN
            (SELECT pg_catalog.rtrim(pg_catalog.pg_get_functiondef(f.oid)) FROM pg_proc f
            WHERE f.oid = d.objid AND f.prokind = ANY (ARRAY['f', 'p']::pg_catalog."char"[])) END
    FROM pg_depend d JOIN pg_class c ON c.oid = {table}
    LEFT JOIN pg_type t ON t.oid = c.reltype
    WHERE ((d.refclassid = 'pg_catalog.pg_class'::regclass::oid AND d.refobjid = c.oid)
            OR (d.refclassid = 'pg_catalog.pg_type'::regclass::oid
                AND (d.refobjid = t.oid OR d.refobjid = t.typarray)))
        AND d.deptype = 'n'
        AND NOT EXISTS (SELECT FROM pg_rewrite r WHERE r.oid = d.objid
            AND d.classid = 'pg_catalog.pg_rewrite'::regclass::oid)
        AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.oid = d.objid
            AND d.classid = 'pg_catalog.pg_constraint'::regclass::oid
            AND (k.contype = 'f' OR k.conrelid = c.oid))
        AND NOT EXISTS (SELECT FROM pg_attrdef a WHERE a.oid = d.objid AND a.adrelid = c.oid
            AND d.classid = 'pg_catalog.pg_attrdef'::regclass::oid)
        AND NOT EXISTS (SELECT FROM pg_policy p WHERE p.oid = d.objid AND p.polrelid = c.oid
            AND d.classid = 'pg_catalog.pg_policy'::regclass::oid)
        AND NOT EXISTS (SELECT FROM pg_trigger g WHERE g.oid = d.objid AND g.tgrelid = c.oid
            AND d.classid = 'pg_catalog.pg_trigger'::regclass::oid)
        AND NOT EXISTS (SELECT FROM pg_statistic_ext e WHERE e.oid = d.objid
            AND d.classid = 'pg_catalog.pg_statistic_ext'::regclass::oid)
        AND d.classid <> 'pg_catalog.pg_publication_rel'::regclass::oid
        AND NOT EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = d.objid
            AND d.classid = 'pg_catalog.pg_class'::regclass::oid)
        AND NOT (d.classid = 'pg_catalog.pg_class'::regclass::oid AND d.objid = c.oid)
""")
VIEW_INDEXES = qualified("""
    SELECT 1, 'index of a materialised view', pg_catalog.format('%I.%I', n.nspname, x.relname),
        pg_catalog.pg_get_indexdef(i.indexrelid)
    FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
    JOIN pg_namespace n ON n.oid = x.relnamespace
    JOIN pg_rewrite r ON r.ev_class = i.indrelid
    JOIN pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::regclass::oid AND d.objid = r.oid
        AND d.refclassid = 'pg_catalog.pg_class'::regclass::oid AND d.refobjid = {table}
        AND d.deptype = 'n'
    WHERE i.indrelid <> {table}
    GROUP BY 3, 4
""")
QUERIES = (
    PLACES,
    INDEX_PLACES,
    RULES,
    FOREIGN_KEYS,
    VIEWS,
    VIEW_INDEXES,
    PUBLICATIONS,
    SUBSCRIPTIONS,
    SECURITY_LABELS,
    EXTENSIONS,
    EXTENSIONS_OF_PARTS,
    COMMENTS,
    OTHERS,
)
"""Each gives a rank within it, the kind of an object, its name, and what makes it again."""


TREE = qualified("""
    SELECT c.oid::int8, c.relname
    FROM pg_partition_tree({table}) p JOIN pg_class c ON c.oid = p.relid
    WHERE p.level > 0
""")


def add_attached(session: Session, table: Table, section: Section) -> None:
    """Put what hangs on a table, and on each of its partitions, into their parts. While the path
    is empty, a statement says the schema of each name."""
    section["attached"] = attached(session, table.id)
    if "partitions" in section:
        tree = session.rows(TREE.format(table=oid(table.id)))
        numbers = {derived(name, table.name): number for number, name in tree}
        for part in partitions_of(section):
            if hanging := attached(session, numbers[part["name"]]):
                part["attached"] = hanging


def attached(session: Session, relation: int) -> list[Section]:
    """All that hangs on a table, by its number, in the order in which it can be made again."""
    parts = [
        sql.SQL("SELECT {}, q.* FROM ({}) AS q (rank, kind, name, definition)").format(
            sql.Literal(place), query.format(table=oid(relation), mark=sql.Literal(ALIAS_MARK))
        )
        for place, query in enumerate(QUERIES)
    ]
    rows = session.rows(sql.SQL(" UNION ALL ").join(parts) + sql.SQL(" ORDER BY 1, 2, 3, 4"))
    return [
        {"name": f"{kind} {name}"} | ({"definition": definition} if definition else {})
        for _, _, kind, name, definition in rows
    ]
