"""Functions of others that reading a table, or writing into it, would run.

To plan any query of a table, even one for its key alone, the server computes what the expressions
of its indexes, statistics and partition keys say of constants: `CREATE INDEX ON t ((a || f(1)))`
runs `f` as whoever counts the rows of `t`. No statement can be written so that it does not, and no
setting prevents it but for the conditions of partitions (`constraint_exclusion`). COPY of a whole
table is not planned, but sorts nothing either.

A write runs more: triggers, rules, checks, generated columns, expressions of indexes for each row.

Trusted are functions in languages that only a superuser may write in, and those that belong to a
superuser or to the session's own role.
"""

import re
from collections.abc import Callable

from psycopg import sql

from dr_pipelines.errors import Refused
from dr_pipelines.stores.pgvector.catalog import Table, held_tables
from dr_pipelines.stores.pgvector.connections import Row, Session
from dr_pipelines.stores.pgvector.statements import oids, qualified

EXPRESSIONS = """
    SELECT 'pg_catalog.pg_class'::regclass::oid, i.indexrelid,
        concat(format('%s', i.indexprs), format('%s', i.indpred))
    FROM pg_index i WHERE i.indrelid = ANY ({tables})
        AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL)
    UNION ALL
    SELECT 'pg_catalog.pg_statistic_ext'::regclass::oid, s.oid, format('%s', s.stxexprs)
    FROM pg_statistic_ext s WHERE s.stxrelid = ANY ({tables}) AND s.stxexprs IS NOT NULL
    UNION ALL
    SELECT 'pg_catalog.pg_class'::regclass::oid, p.partrelid, format('%s', p.partexprs)
    FROM pg_partitioned_table p WHERE p.partrelid = ANY ({tables}) AND p.partexprs IS NOT NULL
"""
OF_WRITES = """
    UNION ALL
    SELECT 'pg_catalog.pg_constraint'::regclass::oid, c.oid, ''
    FROM pg_constraint c WHERE c.conrelid = ANY ({tables}) AND c.contype = 'c'
    UNION ALL
    SELECT 'pg_catalog.pg_constraint'::regclass::oid, c.oid, ''
    FROM pg_attribute a JOIN pg_constraint c ON c.contypid = a.atttypid
    WHERE a.attrelid = ANY ({tables})
    UNION ALL
    SELECT 'pg_catalog.pg_attrdef'::regclass::oid, d.oid, ''
    FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
    WHERE d.adrelid = ANY ({tables}) AND a.attgenerated <> ''
    UNION ALL
    SELECT 'pg_catalog.pg_trigger'::regclass::oid, t.oid, ''
    FROM pg_trigger t WHERE t.tgrelid = ANY ({tables}) AND t.tgenabled <> 'D'
    UNION ALL
    SELECT 'pg_catalog.pg_type'::regclass::oid, r.rngtypid, ''
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
    JOIN pg_range r ON r.rngtypid = t.oid OR r.rngmultitypid = t.oid
        OR r.rngtypid = t.typbasetype OR r.rngmultitypid = t.typbasetype
    WHERE a.attrelid = ANY ({tables})
        AND EXISTS (SELECT FROM pg_index i WHERE i.indrelid = a.attrelid
            AND a.attnum = ANY (i.indkey::int2[]))
    UNION ALL
    SELECT 'pg_catalog.pg_cast'::regclass::oid, c.oid, ''
    FROM pg_cast c WHERE c.casttarget = 'pg_catalog.json'::regtype::oid
        AND EXISTS (SELECT FROM checked k WHERE strpos(k.tree, '{{JSONCONSTRUCTOREXPR ') > 0
            OR EXISTS (SELECT FROM pg_proc p WHERE p.pronamespace = 'pg_catalog'::regnamespace::oid
                AND p.proname::text IN ('to_json', 'to_jsonb', 'row_to_json', 'array_to_json',
                    'json_build_array', 'json_build_object', 'jsonb_build_array',
                    'jsonb_build_object')
                AND strpos(k.tree, concat(':funcid ', p.oid, ' ')) > 0))
"""
CHECKED = """checked (tree) AS (
    SELECT format('%s', c.conbin) FROM pg_constraint c
    WHERE c.conrelid = ANY ({tables}) AND c.contype = 'c'
    UNION ALL SELECT format('%s', d.adbin) FROM pg_attrdef d
    JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
    WHERE d.adrelid = ANY ({tables}) AND a.attgenerated <> ''
    UNION ALL SELECT concat(format('%s', i.indexprs), format('%s', i.indpred)) FROM pg_index i
    WHERE i.indrelid = ANY ({tables}) AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL)
), """
"""What a write computes: of a value that becomes JSON in it a cast to json of its type is called,
which no dependency says."""
RULES = """
    UNION ALL
    SELECT pg_catalog.pg_describe_object('pg_catalog.pg_rewrite'::regclass::oid, w.oid, 0), '',
        0::int8, 'a rule', r.rolname, true, ''
    FROM pg_rewrite w JOIN pg_class c ON c.oid = w.ev_class
    JOIN pg_roles r ON r.oid = c.relowner AND NOT r.rolsuper AND r.rolname <> current_user
    WHERE w.ev_class = ANY ({tables}) AND w.ev_enabled <> 'D'
"""
FUNCTIONS = """
    SELECT pg_catalog.pg_describe_object(e.class, e.id, 0), e.tree, p.oid::int8,
        format('%s', p.oid::regprocedure), r.rolname,
        l.lanname = 'sql' AND NOT p.prosecdef AND p.proconfig IS NULL,
        pg_catalog.quote_ident(n.nspname)
    FROM expressions e
    JOIN pg_depend d ON d.classid = e.class AND d.objid = e.id
    LEFT JOIN pg_operator o ON o.oid = d.refobjid
        AND d.refclassid = 'pg_catalog.pg_operator'::regclass::oid
    JOIN pg_proc p ON p.oid = o.oprcode::oid
        OR p.oid = d.refobjid AND d.refclassid = 'pg_catalog.pg_proc'::regclass::oid
    JOIN pg_language l ON l.oid = p.prolang AND l.lanpltrusted
    JOIN pg_namespace n ON n.oid = p.pronamespace
    JOIN pg_roles r ON r.oid = p.proowner AND NOT r.rolsuper AND r.rolname <> current_user
"""
HEAD = "expressions (class, id, tree) AS ("
READING = qualified("WITH " + HEAD + EXPRESSIONS + ")" + FUNCTIONS)
WRITING = qualified("WITH " + CHECKED + HEAD + EXPRESSIONS + OF_WRITES + ")" + FUNCTIONS + RULES)
CALL = re.compile(r"\{(?:FUNCEXPR :funcid|\w+ :opno \d+ :opfuncid) (\d+) ")
ARGUMENTS = re.compile(r"[^{}]*?:args \(")
COLUMNS = ("{VAR ", "{RELABELTYPE :arg {VAR ")


def require_readable(session: Session, table: Table) -> None:
    """Refuse to plan a query of a table where that alone would run functions of others.

    Raises:
        Refused: names them, and what to do.
    """
    found = [row for row in _functions(session, table, READING) if _is_computed(row)]
    if found:
        raise _refused(session, table, found, "reading it, or only counting its rows,", _unread)


def require_writable(session: Session, table: Table) -> None:
    """Refuse to write into a table where that would run functions of others.

    Raises:
        Refused: names them, and what to do.
    """
    found = _functions(session, table, WRITING)
    if found:
        raise _refused(session, table, found, "writing into it", _unwritten)


def _functions(session: Session, table: Table, query: sql.SQL) -> list[Row]:
    return session.rows(query.format(tables=oids(sorted(held_tables(session, table)))))


def _refused(
    session: Session, table: Table, found: list[Row], doing: str, way: Callable[[Row, str], str]
) -> Refused:
    """What would run, for the first of those that were found, and the ways out of it."""
    user = str(session.one(qualified("SELECT pg_catalog.quote_ident(current_user)")))
    place, _, _, function, owner, *_ = found[0]
    more = f", and {len(found) - 1} more" if len(found) > 1 else ""
    return Refused(
        f"table {table.name!r}: {doing} runs what {owner!r} wrote: {function}, in {place}{more}. "
        f"{way(found[0], user)}"
    )


def _unread(row: Row, user: str) -> str:
    """Ways to read. One in SQL is put in the place of its call, unless it has settings."""
    *_, function, owner, _, schema = row
    own = f"name {owner!r} as the user in the store's URL, or, once it is read, run: "
    transfer = f"ALTER FUNCTION {function} OWNER TO {user}"
    if _is_computed((*row[:5], False, schema)):
        return f"To go on, {own}{transfer}"
    fixed = f"ALTER FUNCTION {function} SET search_path = pg_catalog, {schema}"
    return f"To go on, run: {fixed} (it is then called with rows alone); or {own}{transfer}"


def _unwritten(row: Row, user: str) -> str:
    *_, number, function, owner, _, _ = row
    own = f"To go on, name {owner!r} as the user in the store's URL"
    if number == 0:
        return f"{own}, or drop the rule"
    return f"{own}, or, once it is read, run: ALTER FUNCTION {function} OWNER TO {user}"


def _is_computed(row: Row) -> bool:
    """Whether the planner may compute a call before it has a row: it does where all arguments are
    constants, which a column never is, and where it puts the body of a function in SQL in the place
    of the call."""
    _, tree, function, _, _, inlined, _ = row
    calls = [call.end() for call in CALL.finditer(tree) if int(call[1]) == function]
    return inlined or not calls or not all(_is_given_a_column(tree, place) for place in calls)


def _is_given_a_column(tree: str, place: int) -> bool:
    """Whether an argument of the call that begins before `place` is a column and nothing else."""
    arguments = ARGUMENTS.match(tree, place)  # its own: one without any writes none
    depth, begin = 0, arguments.end() if arguments else len(tree)
    while depth >= 0 and begin < len(tree):
        mark = tree[begin]
        if depth == 0 and tree.startswith(COLUMNS, begin):
            return True
        depth += (mark in "({") - (mark in ")}")
        begin += 2 if mark == "\\" else 1
    return False
