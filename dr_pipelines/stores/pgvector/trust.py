"""Which functions a definition may call without anybody's consent, by the server's catalogs."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from psycopg import sql

from dr_pipelines.stores.pgvector.connections import Session
from dr_pipelines.stores.pgvector.statements import oids, qualified

DENIED = {
    r"lo_.*|loread|lowrite": "reads, writes or exports large objects",
    r"pg_(read|write|ls|file)_.*|pg_stat_file|pg_current_logfile": "reaches the server's files",
    r"(query|table|schema|database|cursor)_to_xml.*|ts_stat|xpath_table": "runs SQL in a text",
    r"ts_rewrite": "may run SQL in a text",
    r"pg_input_.*|(domain|record|array|range|multirange)_(in|recv)": (
        "reads a value of a type that it is told when it runs"
    ),
    r"dblink.*|postgres_fdw_.*": "reaches other servers",
    r"set_config|pg_reload_conf|pg_rotate_logfile": "changes settings",
    r"pg_(try_)?advisory_.*": "takes locks that others wait for",
    r"pg_sleep.*": "holds whoever calls it",
    r"pg_(terminate|cancel)_backend|pg_log_backend_memory_contexts": "acts on other sessions",
    r"pg_notify": "speaks to other sessions",
    r"setval": "moves a sequence",
    r"pg_(create|drop|copy|advance|replication|logical|sync)_.*|pg_export_snapshot": (
        "acts on replication"
    ),
    r"pg_(backup|switch|promote|wal|create_restore).*|pg_stat_reset.*|binary_upgrade_.*": (
        "is for administrators"
    ),
    r"pg_import_system_collations|pg_extension_config_dump": "is for administrators",
}
"""Functions of the engine, or of an extension, that do more than compute; `nextval` is not among
them: a default of a column that everybody has calls it."""
FIRST_MADE = 16_384
"""The number of the first object that somebody made: those below are the engine's."""
FOREIGN = "is neither the engine's nor an extension's"

TO_JSON = re.compile(r"(row_|array_)?to_jsonb?|jsonb?_(build_|object_agg|agg).*")
"""Functions that make JSON of anything: of a type with a cast to json they call that cast."""
JSON_NODE = "{JSONCONSTRUCTOREXPR "

OF_FUNCTION = re.compile(
    r":(?:funcid|opfuncid|hashfuncid|negfuncid|aggfnoid|winfnoid|tsmhandler) (\d+)"
)
OF_OPERATOR = re.compile(r":(?:opno|eqop|sortop) (\d+)")
OPERATORS = re.compile(r":opnos \(o ([\d ]+)\)")
OF_TYPE = re.compile(r":\w*typ(?:e|eid|id) (\d+)")
OF_RELATION = re.compile(r":relid (\d+)")

FUNCTIONS = qualified("""
    WITH called (id) AS (
        SELECT u.id FROM pg_catalog.unnest({functions}) AS u (id)
        UNION SELECT o.oprcode::oid FROM pg_catalog.pg_operator o
        WHERE o.oid = ANY ({operators})
    )
    SELECT pg_catalog.format('%I.%I(%s)', n.nspname, p.proname,
            pg_catalog.pg_get_function_identity_arguments(p.oid)),
        p.proname,
        n.nspname = 'pg_catalog' OR (r.rolsuper AND EXISTS (
            SELECT FROM pg_catalog.pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e'
            AND d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass::oid))
    FROM called c JOIN pg_catalog.pg_proc p ON p.oid = c.id
    JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
    JOIN pg_catalog.pg_roles r ON r.oid = p.proowner
    ORDER BY 1
""")
RELATIONS = qualified("""
    SELECT pg_catalog.format('%I.%I', n.nspname, c.relname),
        CASE WHEN c.relrowsecurity THEN 'has policies of its own' ELSE 'is a view' END
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = ANY ({relations}) AND n.nspname <> 'pg_catalog'
        AND n.nspname <> 'information_schema' AND (c.relkind IN ('v', 'f') OR c.relrowsecurity)
    ORDER BY 1
""")
CHECKS = qualified("""
    SELECT c.contypid::int8, pg_catalog.format('%I.%I', n.nspname, t.typname), c.conbin::text
    FROM pg_catalog.pg_constraint c JOIN pg_catalog.pg_type t ON t.oid = c.contypid
    JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
    WHERE c.contypid <> 0::oid AND c.conbin IS NOT NULL
    ORDER BY 2, c.conname
""")
DOMAINS = qualified("""
    SELECT t.oid::int8 FROM pg_catalog.pg_type t
    JOIN pg_catalog.pg_roles r ON r.oid = t.typowner
    LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
    WHERE (t.typtype = 'd' OR c.relkind = 'c') AND NOT r.rolsuper AND r.rolname <> current_user
""")
"""Domains and composite types of others, who may give them a check, or a value with one, between a
look and the parse of a constant. Rows of tables are not among them: columns are called like tables
everywhere, and no name would tell which of the two an expression means."""
RANGES = qualified("""
    SELECT u.id::int8, pg_catalog.format('%I.%I', n.nspname, t.typname),
        r.rngsubdiff::oid::int8::text
    FROM pg_catalog.pg_range r
    JOIN LATERAL pg_catalog.unnest(ARRAY[r.rngtypid, r.rngmultitypid]) AS u (id) ON true
    JOIN pg_catalog.pg_type t ON t.oid = u.id
    JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
    WHERE r.rngsubdiff::oid <> 0::oid AND n.nspname <> 'pg_catalog'
    ORDER BY 2
""")
"""Types of ranges with a function for the distance of two bounds: ANALYZE and GiST indexes call
it."""
TO_JSON_CASTS = qualified("""
    SELECT c.castfunc::int8::text FROM pg_catalog.pg_cast c
    WHERE c.casttarget = 'pg_catalog.json'::regtype::oid AND c.castfunc <> 0::oid
""")
NAMES = qualified("""
    SELECT p.proname::text FROM pg_catalog.pg_proc p
    WHERE p.oid = ANY ({}) AND p.pronamespace = 'pg_catalog'::regnamespace::oid
""")
PARTS = """
    WITH RECURSIVE part (whole, of) AS (
        SELECT t.oid, t.typelem FROM pg_catalog.pg_type t WHERE t.typelem <> 0::oid
        UNION ALL SELECT t.oid, t.typbasetype FROM pg_catalog.pg_type t
            WHERE t.typbasetype <> 0::oid
        UNION ALL SELECT c.reltype, a.atttypid FROM pg_catalog.pg_attribute a
            JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
            WHERE c.reltype <> 0::oid AND a.attnum > 0 AND NOT a.attisdropped
        UNION ALL SELECT r.rngtypid, r.rngsubtype FROM pg_catalog.pg_range r
        UNION ALL SELECT r.rngmultitypid, r.rngsubtype FROM pg_catalog.pg_range r
    )
"""
WHOLES = """, found (id, root) AS (
        SELECT u.id, u.id FROM pg_catalog.unnest({types}) AS u (id)
        UNION SELECT p.whole, f.root FROM part p JOIN found f ON p.of = f.id
    )
    SELECT f.id::int8, f.root::int8, t.typname FROM found f
    JOIN pg_catalog.pg_type t ON t.oid = f.id
    ORDER BY 1, 2
"""
OF_OTHERS = """, found (id) AS (
        SELECT u.id FROM pg_catalog.unnest({types}) AS u (id)
        UNION SELECT p.of FROM part p JOIN found f ON p.whole = f.id
    )
    SELECT pg_catalog.format('%I.%I', n.nspname, t.typname), r.rolname, t.typtype::text
    FROM found f JOIN pg_catalog.pg_type t ON t.oid = f.id AND t.typelem = 0::oid
    JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
    JOIN pg_catalog.pg_roles r ON r.oid = t.typowner
        AND NOT r.rolsuper AND r.rolname <> current_user
    WHERE (t.typtype IN ('d', 'c') OR {json}) AND NOT t.typrelid = ANY ({rows})
    ORDER BY 1
"""
BUILT_OF, CHANGEABLE = qualified(PARTS + WHOLES), qualified(PARTS + OF_OTHERS)
TAKING = qualified("""
    SELECT p.proname::text FROM pg_catalog.pg_proc p
    WHERE EXISTS (SELECT FROM pg_catalog.unnest(p.proargtypes::oid[]) AS u (id)
        WHERE u.id = ANY ({types}))
    UNION SELECT o.oprname::text FROM pg_catalog.pg_operator o
    WHERE o.oprleft = ANY ({types}) OR o.oprright = ANY ({types})
""")


MAY = {"d": "give it a check", "c": "give it a value with a check"}


@dataclass(frozen=True, slots=True)
class Callee:
    """Something that would run: a function, or a relation that brings code; and why it counts."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Armed:
    """Types of which reading or analysing a value may run somebody's function: domains with such a
    check, ranges with such a distance, and what is built of them. `names` are what a
    definition would have to name to read one."""

    types: dict[int, tuple[Callee, ...]]
    names: frozenset[str]


def callees(
    session: Session, trees: Iterable[str], *, rows: frozenset[int] = frozenset()
) -> tuple[Callee, ...]:
    """Functions that expressions call and that need consent; expressions come as the server
    keeps them, after its own parse (`pg_node_tree`). `rows` are the tables that they are of."""
    whole = "\n".join(trees)
    if not whole:
        return ()
    operators = {*OF_OPERATOR.findall(whole)}
    operators.update(number for found in OPERATORS.findall(whole) for number in found.split())
    functions = {*OF_FUNCTION.findall(whole)}
    found = [*functions_among(session, functions, operators)]
    makes_json = JSON_NODE in whole or _makes_json(session, functions)
    if makes_json:
        found += _casts_to_json(session)
    relations = oids([int(number) for number in {*OF_RELATION.findall(whole)}])
    found += [Callee(*row) for row in session.rows(RELATIONS.format(relations=relations))]
    types = {int(number) for number in OF_TYPE.findall(whole)}
    armed = armed_types(session)
    for number in sorted(types & armed.types.keys()):
        found += armed.types[number]
    found += changeable_types(session, types, json=makes_json, rows=rows)
    return tuple(dict.fromkeys(found))


def changeable_types(
    session: Session,
    types: Iterable[int],
    *,
    json: bool = False,
    rows: frozenset[int] = frozenset(),
) -> Iterator[Callee]:
    """Types of others, among these and what they are built of, that may come to call something: no
    lock keeps the owner of a domain from giving it a check, that of a composite type, or of another
    table whose rows are one, from giving it a value with a check or, where values become JSON, the
    owner of a type from making a cast to json. Types of the rows of some tables are passed over."""
    made = [number for number in types if number >= FIRST_MADE]
    if not made:
        return
    query = CHANGEABLE.format(types=oids(made), json=sql.Literal(json), rows=oids(sorted(rows)))
    for name, owner, kind in session.rows(query):
        may = MAY.get(kind, "make a cast of it to json")
        yield Callee(name, f"is a type of {owner!r}, who may {may} at any time")


def _makes_json(session: Session, functions: Iterable[str]) -> bool:
    names = session.rows(NAMES.format(oids([int(number) for number in functions])))
    return any(TO_JSON.fullmatch(row[0]) for row in names)


def _casts_to_json(session: Session) -> Iterator[Callee]:
    """Functions that a value may call when it becomes JSON, of whatever type it is or has parts
    of."""
    functions = [row[0] for row in session.rows(TO_JSON_CASTS)]
    for callee in functions_among(session, functions):
        yield Callee(callee.name, f"{callee.reason}, and is a cast to json")


def functions_among(
    session: Session, functions: Iterable[str], operators: Iterable[str] = ()
) -> Iterator[Callee]:
    """Those of functions, and of functions of operators, that need consent."""
    query = FUNCTIONS.format(
        functions=oids([int(number) for number in functions]),
        operators=oids([int(number) for number in operators]),
    )
    for signature, name, exempt in session.rows(query):
        reason = _denied(name) if exempt else FOREIGN
        if reason:
            yield Callee(signature, reason)


def armed_types(session: Session) -> Armed:
    """Types whose values call something that needs consent as soon as they are read."""
    checks = dict[int, tuple[Callee, ...]]()
    for number, domain, tree in session.rows(CHECKS):
        called = functions_among(
            session,
            {*OF_FUNCTION.findall(tree)},
            {*OF_OPERATOR.findall(tree)},
        )
        said = tuple(Callee(c.name, f"{c.reason}, and is called by {domain}") for c in called)
        if said:
            checks[number] = (*checks.get(number, ()), *said)
    for number, name, function in session.rows(RANGES):
        called = functions_among(session, [function])
        said = tuple(Callee(c.name, f"{c.reason}, and is called by {name}") for c in called)
        if said:
            checks[number] = (*checks.get(number, ()), *said)
    for (number,) in session.rows(DOMAINS):
        checks[number] = (*checks.get(number, ()), *changeable_types(session, [number]))
    if not checks:
        return Armed({}, frozenset())
    built = session.rows(BUILT_OF.format(types=oids(list(checks))))
    types = dict[int, tuple[Callee, ...]]()
    for number, root, _ in built:
        types[number] = tuple(dict.fromkeys((*types.get(number, ()), *checks[root])))
    taking = session.rows(TAKING.format(types=oids(list(types))))
    names = {name.removeprefix("_") for _, _, name in built} | {name for _, _, name in built}
    return Armed(types, frozenset(names | {row[0] for row in taking}))


def _denied(name: str) -> str | None:
    return next((why for words, why in DENIED.items() if re.fullmatch(words, name)), None)
