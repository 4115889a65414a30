"""Which functions a definition may call without anybody's consent, by the server's catalogs."""

# ruff: noqa: S608  # statements are built from constants of this package

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from psycopg import sql

from dr_pipelines.stores.pgvector.connections import Session
from dr_pipelines.stores.pgvector.statements import oids, qualified
from dr_pipelines.stores.pgvector.trees import (
    JSON_NODE,
    OF_FUNCTION,
    OF_OPERATOR,
    OF_RELATION,
    OF_TYPE,
    OPERATORS,
    PARTS,
    PARTS_OF,
    TO_JSON,
)

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
FOREIGN = "is neither the engine's nor an extension's"

FUNCTIONS = qualified("""
    WITH called (by_operator, number, id) AS (
        SELECT false, u.id, u.id FROM pg_catalog.unnest({functions}) AS u (id)
        UNION SELECT true, o.oid, o.oprcode::oid FROM pg_catalog.pg_operator o
        WHERE o.oid = ANY ({operators})
    )
    SELECT c.by_operator, c.number::int8, pg_catalog.format('%I.%I(%s)', n.nspname, p.proname,
            pg_catalog.pg_get_function_identity_arguments(p.oid)),
        p.proname,
        n.nspname = 'pg_catalog' OR (r.rolsuper AND EXISTS (
            SELECT FROM pg_catalog.pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e'
            AND d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass::oid))
    FROM called c JOIN pg_catalog.pg_proc p ON p.oid = c.id
    JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
    JOIN pg_catalog.pg_roles r ON r.oid = p.proowner
    ORDER BY 3
""")
RELATIONS = qualified("""
    SELECT pg_catalog.format('%I.%I', n.nspname, c.relname),
        CASE WHEN c.relrowsecurity THEN 'has policies of its own' ELSE 'is a view' END
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = ANY ({relations}) AND n.nspname <> 'pg_catalog'
        AND n.nspname <> 'information_schema' AND (c.relkind IN ('v', 'f') OR c.relrowsecurity)
    ORDER BY 1
""")
READ = """
    SELECT c.contypid FROM pg_catalog.pg_constraint c
    WHERE c.contypid <> 0::oid AND c.conbin IS NOT NULL
    UNION SELECT u.id FROM pg_catalog.pg_range r
    JOIN LATERAL pg_catalog.unnest(ARRAY[r.rngtypid, r.rngmultitypid]) AS u (id) ON true
    WHERE r.rngsubdiff::oid <> 0::oid
    UNION SELECT t.oid FROM pg_catalog.pg_type t
    JOIN pg_catalog.pg_roles r ON r.oid = t.typowner
    LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
    WHERE (t.typtype = 'd' OR c.relkind = 'c') AND NOT r.rolsuper AND r.rolname <> current_user
"""
CALLING = qualified("SELECT r.id::int8 FROM (" + READ + ") AS r (id)")
"""Types of which reading or analysing a value may call something: domains with checks, ranges with
a function for the distance of two bounds, which ANALYZE and GiST indexes call, and domains and
composite types of others, who may give them a check, or a value with one, between a look and the
parse of a constant. Rows of tables are not among them: columns are called like tables everywhere,
and no name would tell which of the two an expression means."""
TO_JSON_CASTS = qualified("""
    SELECT c.castfunc::int8 FROM pg_catalog.pg_cast c
    WHERE c.casttarget = 'pg_catalog.json'::regtype::oid AND c.castfunc <> 0::oid
""")
NAMES = qualified("""
    SELECT p.proname::text FROM pg_catalog.pg_proc p
    WHERE p.oid = ANY ({}) AND p.pronamespace = 'pg_catalog'::regnamespace::oid
""")
BUILT_OF = qualified(
    "WITH RECURSIVE part (whole, of) AS ("
    + PARTS
    + """), built (id) AS (
        SELECT u.id FROM pg_catalog.unnest({types}) AS u (id)
        UNION SELECT p.whole FROM part p JOIN built b ON p.of = b.id
    )
    SELECT b.id::int8, t.typname FROM built b JOIN pg_catalog.pg_type t ON t.oid = b.id
"""
)
MADE_OF = (
    """
    WITH RECURSIVE made (id, root) AS (
        SELECT u.id, u.id FROM pg_catalog.unnest({types}) AS u (id)
        UNION SELECT p.of, m.root FROM made m CROSS JOIN LATERAL """
    + PARTS_OF.format("m")
    + """ AS p
    ), part (root, id, name) AS (
        SELECT m.root::int8, t.oid, pg_catalog.format('%I.%I', n.nspname, t.typname)
        FROM made m JOIN pg_catalog.pg_type t ON t.oid = m.id
        JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
    )
"""
)
CALLS = qualified(
    MADE_OF
    + """
    SELECT p.root, p.name, c.conbin::text
    FROM part p JOIN pg_catalog.pg_constraint c ON c.contypid = p.id
    WHERE c.conbin IS NOT NULL
    UNION ALL SELECT p.root, p.name, pg_catalog.format(':funcid %s ', r.rngsubdiff::oid)
    FROM part p JOIN pg_catalog.pg_range r ON r.rngtypid = p.id OR r.rngmultitypid = p.id
    WHERE r.rngsubdiff::oid <> 0::oid
    ORDER BY 2, 3
"""
)
CHANGEABLE = qualified(
    MADE_OF
    + """
    SELECT p.root, p.name, r.rolname, t.typtype::text
    FROM part p JOIN pg_catalog.pg_type t ON t.oid = p.id AND t.typelem = 0::oid
    JOIN pg_catalog.pg_roles r ON r.oid = t.typowner
        AND NOT r.rolsuper AND r.rolname <> current_user
    WHERE (t.typtype IN ('d', 'c') OR {json}) AND NOT t.typrelid = ANY ({rows})
    ORDER BY 2
"""
)
TAKING = qualified("""
    SELECT p.proname::text FROM pg_catalog.pg_proc p
    WHERE EXISTS (SELECT FROM pg_catalog.unnest(p.proargtypes::oid[]) AS u (id)
        WHERE u.id = ANY ({types}))
    UNION SELECT o.oprname::text FROM pg_catalog.pg_operator o
    WHERE o.oprleft = ANY ({types}) OR o.oprright = ANY ({types})
""")


MAY = {"d": "give it a check", "c": "give it a value with a check"}
CAST = "make a cast of it to json"


@dataclass(frozen=True, slots=True, order=True)
class Callee:
    """Something that would run: a function, or a relation that brings code; and why it counts."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Armed:
    """All that types of a database may call of somebody's as soon as a value is read; `names` are
    what a definition would have to name to read one."""

    calls: tuple[Callee, ...]
    names: frozenset[str]


Named = tuple[bool, int]
"""True of an operator; its number, or a function's."""


def callees(
    session: Session, trees: Iterable[str], *, rows: frozenset[int] = frozenset()
) -> tuple[Callee, ...]:
    """Functions that expressions call and that need consent; expressions come as the server
    keeps them, after its own parse (`pg_node_tree`). `rows` are the tables that they are of."""
    whole = "\n".join(trees)
    if not whole:
        return ()
    named = _named_in(whole)
    needing = list(_needing_consent(session, named).values())
    makes_json = JSON_NODE in whole or _makes_json(session, named)
    if makes_json:
        needing += _casts_to_json(session)
    relations = oids([int(number) for number in {*OF_RELATION.findall(whole)}])
    needing += [Callee(*row) for row in session.rows(RELATIONS.format(relations=relations))]
    types = {int(number) for number in OF_TYPE.findall(whole)}
    called = called_by_types(session, types, json=makes_json, rows=rows)
    needing += (callee for number in sorted(called) for callee in called[number])
    return tuple(dict.fromkeys(needing))


def called_by_types(
    session: Session,
    types: Iterable[int],
    *,
    json: bool = False,
    rows: frozenset[int] = frozenset(),
) -> dict[int, tuple[Callee, ...]]:
    """For each of these types the functions that reading a value calls, or may come to call, and
    that need consent: it, or a part of it, has a check or the distance of a range, or is of others.

    No lock keeps the owner of a domain from giving it a check, that of a composite type, or of
    another table whose rows are one, from giving it a value with a check or, where values become
    JSON, the owner of a type from making a cast to json. Types of the rows of some tables are
    passed over there.
    """
    numbers = oids(sorted(types))
    calls = [(*row[:2], _named_in(row[2])) for row in session.rows(CALLS.format(types=numbers))]
    needing = _needing_consent(session, {each for *_, named in calls for each in named})
    called = dict[int, list[Callee]]()
    for root, name, named in calls:
        for each in sorted(needing[key] for key in needing.keys() & named):
            callee = Callee(each.name, f"{each.reason}, and is called by {name}")
            called.setdefault(root, []).append(callee)
    query = CHANGEABLE.format(types=numbers, json=sql.Literal(json), rows=oids(sorted(rows)))
    for root, name, owner, kind in session.rows(query):
        reason = f"is a type of {owner!r}, who may {MAY.get(kind, CAST)} at any time"
        called.setdefault(root, []).append(Callee(name, reason))
    return {root: tuple(dict.fromkeys(callees_of)) for root, callees_of in called.items()}


def functions_among(session: Session, functions: Iterable[int]) -> dict[int, Callee]:
    """Those of functions that need consent, by their numbers."""
    needing = _needing_consent(session, ((False, number) for number in functions))
    return {number: callee for (_, number), callee in needing.items()}


def _named_in(tree: str) -> frozenset[Named]:
    """Functions and operators of expressions."""
    operators = {*OF_OPERATOR.findall(tree)}
    operators.update(number for numbers in OPERATORS.findall(tree) for number in numbers.split())
    functions = ((False, int(number)) for number in OF_FUNCTION.findall(tree))
    return frozenset([*functions, *((True, int(number)) for number in operators)])


def _needing_consent(session: Session, named: Iterable[Named]) -> dict[Named, Callee]:
    """The function of each function and operator whose call needs consent, in order of names."""
    numbers = list(named)
    query = FUNCTIONS.format(
        functions=oids([number for by_operator, number in numbers if not by_operator]),
        operators=oids([number for by_operator, number in numbers if by_operator]),
    )
    needing = dict[Named, Callee]()
    for by_operator, number, signature, name, exempt in session.rows(query):
        reason = _denied(name) if exempt else FOREIGN
        if reason:
            needing[by_operator, number] = Callee(signature, reason)
    return needing


def _makes_json(session: Session, named: Iterable[Named]) -> bool:
    functions = [number for by_operator, number in named if not by_operator]
    names = session.rows(NAMES.format(oids(functions)))
    return any(TO_JSON.fullmatch(row[0]) for row in names)


def _casts_to_json(session: Session) -> Iterator[Callee]:
    """Functions that a value may call when it becomes JSON, of whatever type it is or has parts
    of."""
    functions = [row[0] for row in session.rows(TO_JSON_CASTS)]
    for callee in functions_among(session, functions).values():
        yield Callee(callee.name, f"{callee.reason}, and is a cast to json")


def armed_types(session: Session) -> Armed:
    """Types whose values may call something that needs consent as soon as they are read, of the
    whole database."""
    called = called_by_types(session, [row[0] for row in session.rows(CALLING)])
    if not called:
        return Armed((), frozenset())
    built = session.rows(BUILT_OF.format(types=oids(list(called))))
    taking = session.rows(TAKING.format(types=oids([number for number, _ in built])))
    names = {name for _, name in built}
    arrays = {name.removeprefix("_") for name in names}
    calls = dict.fromkeys(callee for callees_of in called.values() for callee in callees_of)
    return Armed(tuple(calls), frozenset({*names, *arrays, *(row[0] for row in taking)}))


def _denied(name: str) -> str | None:
    return next((why for words, why in DENIED.items() if re.fullmatch(words, name)), None)
