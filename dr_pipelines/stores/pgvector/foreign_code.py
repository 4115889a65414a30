"""Functions of others that a query of a table, or writing into it, would run.

A query is planned, and the expressions of indexes, statistics and partition keys are computed for
that, as far as they are constant (`planner`). A write runs more: triggers, rules, checks, generated
columns, expressions of indexes for each row.

Trusted are functions in languages that only a superuser may write in, and those that belong to a
superuser or to the session's own role.
"""

# ruff: noqa: S608  # statements are built from constants of this package

from psycopg import sql

from dr_pipelines.errors import Refused
from dr_pipelines.stores.pgvector.catalog import Table, held_tables
from dr_pipelines.stores.pgvector.connections import Row, Session
from dr_pipelines.stores.pgvector.statements import oid, oids, qualified
from dr_pipelines.stores.pgvector.trees import (
    JSON_NODE,
    OF_FUNCTION,
    OF_RESULT,
    PARTS_OF,
    TO_JSON,
)
from dr_pipelines.stores.pgvector.trust import DENIED

OF_WHO_CAUSED = 180_000
"""Since this version a deferred trigger runs as who caused it, before as who commits. A foreign key
is checked, and its rows are followed, as the owner of the other table, whose code runs so."""
EXPRESSIONS = """
    SELECT 'pg_catalog.pg_class'::regclass::oid, i.indexrelid
    FROM pg_index i WHERE i.indrelid = ANY ({tables})
        AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL)
    UNION ALL
    SELECT 'pg_catalog.pg_statistic_ext'::regclass::oid, s.oid
    FROM pg_statistic_ext s WHERE s.stxrelid = ANY ({tables}) AND s.stxexprs IS NOT NULL
    UNION ALL
    SELECT 'pg_catalog.pg_class'::regclass::oid, p.partrelid
    FROM pg_partitioned_table p WHERE p.partrelid = ANY ({tables}) AND p.partexprs IS NOT NULL
"""
OF_ROWS = """
    UNION ALL
    SELECT 'pg_catalog.pg_constraint'::regclass::oid, c.oid
    FROM pg_constraint c WHERE c.conrelid = ANY ({tables}) AND c.contype = 'c'
    UNION ALL
    SELECT 'pg_catalog.pg_attrdef'::regclass::oid, d.oid
    FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
    WHERE d.adrelid = ANY ({tables}) AND a.attgenerated <> ''
"""
CHECKED = """checked (tree, by_owner) AS (
    SELECT format('%s', c.conbin), true FROM pg_constraint c
    WHERE c.conrelid = ANY ({tables}) AND c.contype = 'c'
    UNION ALL SELECT format('%s', d.adbin), true FROM pg_attrdef d
    JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
    WHERE d.adrelid = ANY ({tables}) AND a.attgenerated <> ''
    UNION ALL SELECT format('%s', g.tgqual), false FROM pg_trigger g
    WHERE g.tgrelid = ANY ({tables}) AND g.tgqual IS NOT NULL
    UNION ALL SELECT concat(format('%s', i.indexprs), format('%s', i.indpred)), true
    FROM pg_index i
    WHERE i.indrelid = ANY ({tables}) AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL)
), named (id, by_owner) AS (
    SELECT m.numbers[1]::oid, k.by_owner
    FROM checked k, LATERAL regexp_matches(k.tree, {of_function}, 'g') AS m (numbers)
), json (made) AS (
    SELECT EXISTS (SELECT FROM checked k WHERE strpos(k.tree, {json_node}) > 0)
        OR EXISTS (SELECT FROM pg_proc p WHERE p.oid = ANY (ARRAY(SELECT f.id FROM named f))
            AND p.pronamespace = 'pg_catalog'::regnamespace::oid
            AND pg_catalog.textregexeq(p.proname::text, {to_json}))
), """
"""What a write computes, and the functions that it names: of a value that becomes JSON in it a cast
to json of its type is called, which no dependency says."""
REFERRING = """(
    SELECT k.oid, k.conrelid, k.confrelid FROM pg_depend d JOIN pg_constraint k ON k.oid = d.objid
    WHERE d.refclassid = 'pg_catalog.pg_class'::regclass::oid AND d.refobjid = f.id
        AND d.classid = 'pg_catalog.pg_constraint'::regclass::oid
        AND k.contype = 'f' AND k.confrelid = f.id OFFSET 0
) AS k
"""
"""Foreign keys that refer to a table `f`: no index of constraints says it."""
TYPES = (
    """reached (id) AS (
    SELECT u.id FROM pg_catalog.unnest({tables}) AS u (id)
    UNION SELECT k.conrelid FROM reached f CROSS JOIN LATERAL """
    + REFERRING
    + """), typed (id) AS (
    SELECT a.atttypid FROM pg_attribute a
    WHERE a.attrelid = ANY ({tables}) AND a.attnum > 0::int2 AND NOT a.attisdropped
    UNION SELECT d.refobjid FROM computed e
    JOIN pg_depend d ON d.classid = e.class AND d.objid = e.id
        AND d.refclassid = 'pg_catalog.pg_type'::regclass::oid
    UNION SELECT f.prorettype FROM computed e
    JOIN pg_depend d ON d.classid = e.class AND d.objid = e.id
        AND d.refclassid = 'pg_catalog.pg_proc'::regclass::oid
    JOIN pg_proc f ON f.oid = d.refobjid
    UNION SELECT m.numbers[1]::oid
    FROM checked k, LATERAL regexp_matches(k.tree, {of_result}, 'g') AS m (numbers)
    UNION SELECT p.of FROM typed t CROSS JOIN LATERAL """
    + PARTS_OF.format("t")
    + """ AS p
), types (id) AS (
    SELECT u.id FROM pg_catalog.unnest(ARRAY(SELECT t.id FROM typed t)) AS u (id)
), """
)
"""Types of columns and of what a write computes, with all that they are built of."""
OF_WRITES = """
    SELECT e.class, e.id FROM computed e
    UNION ALL
    SELECT 'pg_catalog.pg_constraint'::regclass::oid, c.oid
    FROM types t JOIN pg_constraint c ON c.contypid = t.id
    UNION ALL
    SELECT 'pg_catalog.pg_trigger'::regclass::oid, t.oid
    FROM pg_trigger t WHERE t.tgrelid = ANY ({tables}) AND t.tgenabled <> 'D'
    UNION ALL
    SELECT 'pg_catalog.pg_type'::regclass::oid, r.rngtypid
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
    JOIN pg_range r ON r.rngtypid = t.oid OR r.rngmultitypid = t.oid
        OR r.rngtypid = t.typbasetype OR r.rngmultitypid = t.typbasetype
    WHERE a.attrelid = ANY ({tables})
        AND EXISTS (SELECT FROM pg_index i WHERE i.indrelid = a.attrelid
            AND a.attnum = ANY (i.indkey::int2[]))
    UNION ALL
    SELECT 'pg_catalog.pg_type'::regclass::oid, r.rngtypid
    FROM types t JOIN pg_range r ON r.rngtypid = t.id
    WHERE EXISTS (SELECT FROM pg_index i
        WHERE i.indrelid = ANY ({tables}) AND i.indexprs IS NOT NULL)
    UNION ALL
    SELECT 'pg_catalog.pg_cast'::regclass::oid, c.oid
    FROM pg_cast c JOIN json j ON j.made WHERE c.casttarget = 'pg_catalog.json'::regtype::oid
"""
FUNCTIONS = """
    SELECT pg_catalog.pg_describe_object(e.class, e.id, 0), format('%s', p.oid::regprocedure),
        r.rolname, concat('ALTER FUNCTION ', p.oid::regprocedure, ' OWNER TO ')
    FROM expressions e CROSS JOIN LATERAL (
        SELECT d.refobjid FROM pg_depend d WHERE d.classid = e.class AND d.objid = e.id
            AND d.refclassid = 'pg_catalog.pg_proc'::regclass::oid
        UNION ALL SELECT o.oprcode::oid FROM pg_depend d JOIN pg_operator o ON o.oid = d.refobjid
        WHERE d.classid = e.class AND d.objid = e.id
            AND d.refclassid = 'pg_catalog.pg_operator'::regclass::oid
    ) AS f (id)
    JOIN pg_proc p ON p.oid = f.id
    JOIN pg_language l ON l.oid = p.prolang AND l.lanpltrusted
    JOIN pg_roles r ON r.oid = p.proowner AND NOT r.rolsuper AND r.rolname <> current_user
"""
OTHERS = (
    """
    UNION ALL
    SELECT pg_catalog.pg_describe_object('pg_catalog.pg_rewrite'::regclass::oid, w.oid, 0),
        'a rule', r.rolname, ''
    FROM pg_rewrite w JOIN pg_class c ON c.oid = w.ev_class
    JOIN pg_roles r ON r.oid = c.relowner AND NOT r.rolsuper AND r.rolname <> current_user
    WHERE w.ev_class = ANY ({tables}) AND w.ev_enabled <> 'D'
    UNION ALL
    SELECT pg_catalog.pg_describe_object('pg_catalog.pg_constraint'::regclass::oid, k.oid, 0),
        'a foreign key, which may set off a deferred trigger', r.rolname, ''
    FROM (
        SELECT k.oid, k.conrelid, k.confrelid FROM pg_constraint k
        WHERE k.conrelid = ANY ({tables}) AND k.contype = 'f'
        UNION SELECT k.oid, k.conrelid, k.confrelid FROM reached f CROSS JOIN LATERAL """
    + REFERRING
    + """    ) AS k JOIN pg_class c
        ON c.oid = (CASE WHEN k.conrelid = ANY ({tables}) THEN k.confrelid ELSE k.conrelid END)
    JOIN pg_roles r ON r.oid = c.relowner AND NOT r.rolsuper AND r.rolname <> current_user
    WHERE {deferred} AND NOT c.oid = ANY ({tables})
    UNION ALL
    SELECT pg_catalog.pg_describe_object('pg_catalog.pg_type'::regclass::oid, y.oid, 0),
        CASE WHEN y.typtype = 'd' THEN 'a domain, which may get a check at any time'
            WHEN y.typtype = 'c' THEN 'a row, which may get a value with a check at any time'
            ELSE 'a type in an expression that makes JSON, which may get a cast at any time' END,
        r.rolname, concat('ALTER TYPE ', format('%s', y.oid::regtype), ' OWNER TO ')
    FROM types t JOIN pg_type y ON y.oid = t.id AND y.typelem = 0::oid
    JOIN pg_roles r ON r.oid = y.typowner AND NOT r.rolsuper AND r.rolname <> current_user
    WHERE y.typtype IN ('d', 'c') OR (SELECT j.made FROM json j)
"""
)
"""Nothing that a writer may lock keeps the owner of a type from giving it a check or a cast."""
RUNS_ANY = """
    UNION ALL
    SELECT CASE WHEN k.by_owner THEN 'what its owner wrote' ELSE 'the condition of a trigger' END,
        format('%s', p.oid::regprocedure),
        CASE WHEN k.by_owner THEN r.rolname ELSE '' END, ''
    FROM named k JOIN pg_class c ON c.oid = {table}
    JOIN pg_roles r ON r.oid = c.relowner
        AND (NOT k.by_owner OR (NOT r.rolsuper AND r.rolname <> current_user))
    CROSS JOIN LATERAL (SELECT p.oid, p.proname FROM pg_proc p WHERE p.oid = k.id OFFSET 0) AS p
    WHERE pg_catalog.textregexeq(p.proname::text, {denied})
"""
"""Functions of the engine that do more than compute: no dependency says them. Triggers are made by
whoever was granted that, and nothing says by whom."""
READING = qualified("WITH expressions (class, id) AS (" + EXPRESSIONS + ")" + FUNCTIONS)
WRITING = qualified(
    "WITH RECURSIVE "
    + CHECKED
    + "computed (class, id) AS ("
    + EXPRESSIONS
    + OF_ROWS
    + "), "
    + TYPES
    + "expressions (class, id) AS ("
    + OF_WRITES
    + ")"
    + FUNCTIONS
    + OTHERS
    + RUNS_ANY
)


def is_called_by_plans(session: Session, tables: frozenset[int]) -> bool:
    """True if planning a query of some tables may run a function of others: one that is given
    columns alone is not computed, but its owner may replace its body."""
    return bool(session.rows(READING.format(tables=oids(sorted(tables)))))


def require_writable(session: Session, table: Table) -> None:
    """Refuse to write into a table where that would run functions of others.

    Raises:
        Refused: names them, and what to do.
    """
    rows = session.rows(
        WRITING.format(
            tables=oids(sorted(held_tables(session, table))),
            table=oid(table.id),
            denied=sql.Literal(f"^({'|'.join(DENIED)})$"),
            json_node=sql.Literal(JSON_NODE),
            of_function=sql.Literal(OF_FUNCTION.pattern),
            of_result=sql.Literal(OF_RESULT.pattern),
            to_json=sql.Literal(f"^({TO_JSON.pattern})$"),
            deferred=sql.Literal(session.connection.info.server_version < OF_WHO_CAUSED),
        )
    )
    if rows:
        user = str(session.one(qualified("SELECT pg_catalog.quote_ident(current_user)")))
        raise _refused(table, rows, user)


def _refused(table: Table, rows: list[Row], user: str) -> Refused:
    """The refusal for the first of the rows: the code that would run, and the ways out."""
    place, what, owner, command = rows[0]
    more = f", and {len(rows) - 1} more" if len(rows) > 1 else ""
    way = f"once it is read, run: {command}{user}" if command else "drop it"
    author = repr(owner) if owner else "whoever may make triggers of it"
    as_author = f"name {owner!r} as the user in the store's URL, or " if owner else ""
    return Refused(
        f"table {table.name!r}: writing into it runs what {author} wrote: {what}, in {place}"
        f"{more}. To go on, {as_author}{way}"
    )
