"""The code of others that a table's definitions call, by the trees that the catalogs hold of them:
only read, so that a backup knows what a restore will ask consent for."""

from collections.abc import Iterator

from dr_pipelines.model.compatibility import Note, Outcome
from dr_pipelines.model.definitions import Call
from dr_pipelines.stores.pgvector.catalog import Table, held_tables
from dr_pipelines.stores.pgvector.connections import Session
from dr_pipelines.stores.pgvector.making import ENGINE
from dr_pipelines.stores.pgvector.statements import oid, qualified
from dr_pipelines.stores.pgvector.trust import (
    FOREIGN,
    called_by_types,
    callees,
    functions_among,
)

TREE = """
    WITH tree (id, place) AS (
        SELECT {table}, ''
        UNION SELECT p.relid::oid, pg_catalog.format(' of partition %s', c.relname)
        FROM pg_catalog.pg_partition_tree({table}) p
        JOIN pg_catalog.pg_class c ON c.oid = p.relid WHERE p.level > 0
    )
"""
TREES = """
    SELECT pg_catalog.format(CASE WHEN a.attgenerated = '' THEN 'default of column %s%s'
            ELSE 'generated column %s%s' END, a.attname, t.place), d.adbin::text
    FROM pg_catalog.pg_attrdef d JOIN tree t ON t.id = d.adrelid
    JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
    UNION ALL SELECT pg_catalog.format('constraint %s%s', c.conname, t.place), c.conbin::text
    FROM pg_catalog.pg_constraint c JOIN tree t ON t.id = c.conrelid WHERE c.conbin IS NOT NULL
    UNION ALL SELECT pg_catalog.format('policy %s%s', p.polname, t.place),
        pg_catalog.concat(p.polqual::text, ' ', p.polwithcheck::text)
    FROM pg_catalog.pg_policy p JOIN tree t ON t.id = p.polrelid
    UNION ALL SELECT pg_catalog.format('%s %s%s', CASE WHEN k.oid IS NULL THEN 'index'
            ELSE 'constraint' END, c.relname, t.place),
        pg_catalog.concat(i.indexprs::text, ' ', i.indpred::text)
    FROM pg_catalog.pg_index i JOIN tree t ON t.id = i.indrelid
    JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
    LEFT JOIN pg_catalog.pg_constraint k ON k.conindid = c.oid AND k.conrelid = i.indrelid
        AND k.contype IN ('p', 'u', 'x')
    WHERE i.indisvalid
    UNION ALL SELECT pg_catalog.format('partition key%s', t.place), p.partexprs::text
    FROM pg_catalog.pg_partitioned_table p JOIN tree t ON t.id = p.partrelid
    UNION ALL SELECT pg_catalog.format('statistics %s%s', s.stxname, t.place), s.stxexprs::text
    FROM pg_catalog.pg_statistic_ext s JOIN tree t ON t.id = s.stxrelid
    WHERE s.stxexprs IS NOT NULL
    UNION ALL SELECT pg_catalog.format('trigger %s%s', g.tgname, t.place),
        pg_catalog.concat(g.tgqual::text, ' :funcid ', g.tgfoid::oid::text, ' ')
    FROM pg_catalog.pg_trigger g JOIN tree t ON t.id = g.tgrelid
    WHERE NOT g.tgisinternal AND g.tgparentid = 0::oid
    ORDER BY 1, 2
"""
CLASSES = """
    SELECT pg_catalog.format('%s %s%s', CASE WHEN k.oid IS NULL THEN 'index'
            ELSE 'constraint' END, c.relname, t.place), p.amproc::oid::int8
    FROM pg_catalog.pg_index i JOIN tree t ON t.id = i.indrelid
    JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
    LEFT JOIN pg_catalog.pg_constraint k ON k.conindid = c.oid AND k.conrelid = i.indrelid
        AND k.contype IN ('p', 'u', 'x')
    JOIN pg_catalog.pg_opclass o ON o.oid = ANY (i.indclass::oid[])
    JOIN pg_catalog.pg_amproc p ON p.amprocfamily = o.opcfamily
    WHERE i.indisvalid
    UNION SELECT pg_catalog.format('constraint %s%s', k.conname, t.place),
        o.oprcode::oid::int8
    FROM pg_catalog.pg_constraint k JOIN tree t ON t.id = k.conrelid
    JOIN pg_catalog.pg_operator o ON o.oid = ANY (k.conexclop) OR o.oid = ANY (k.conpfeqop)
        OR o.oid = ANY (k.conppeqop) OR o.oid = ANY (k.conffeqop)
    ORDER BY 1, 2
"""
COLUMNS = """
    SELECT pg_catalog.format('column %s', a.attname), a.atttypid::int8
    FROM pg_catalog.pg_attribute a JOIN tree t ON t.id = a.attrelid AND t.place = ''
    WHERE a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
OF_TREES = qualified(TREE + TREES)
OF_CLASSES = qualified(TREE + CLASSES)
OF_COLUMNS = qualified(TREE + COLUMNS)


def called(session: Session, table: Table) -> list[Call]:
    """Calls by expressions, triggers, operator classes and foreign keys of a table and its
    partitions that need consent; indexes that were never finished are not included."""
    number, rows = oid(table.id), held_tables(session, table)
    calls = list[Call]()
    for caller, tree in session.rows(OF_TREES.format(table=number)):
        called_by_it = callees(session, [tree or ""], rows=rows)
        calls += [Call(caller, c.name, c.reason) for c in called_by_it]
    of_classes = session.rows(OF_CLASSES.format(table=number))
    needing = functions_among(session, {function for _, function in of_classes})
    callees_of = ((caller, needing[each]) for caller, each in of_classes if each in needing)
    foreign = ((caller, c) for caller, c in callees_of if c.reason == FOREIGN)
    return [*calls, *(Call(caller, c.name, c.reason) for caller, c in foreign)]


def _of_columns(session: Session, table: Table) -> list[Call]:
    """Calls that values of a table's columns make, or may come to make, by their types."""
    columns = session.rows(OF_COLUMNS.format(table=oid(table.id)))
    called_by = called_by_types(session, {number for _, number in columns})
    return [
        Call(caller, callee.name, callee.reason)
        for caller, number in columns
        for callee in called_by.get(number, ())
    ]


def made_calls(session: Session, table: Table) -> list[Call]:
    """All that a table's definitions call and that needs consent, by what the catalogs have of
    it."""
    return [*_of_columns(session, table), *called(session, table)]


def code_notes(session: Session, table: Table) -> Iterator[Note]:
    """A note for each definition of a table that calls what a restore asks consent for."""
    by_caller = dict[str, list[Call]]()
    for call in made_calls(session, table):
        by_caller.setdefault(call.caller, []).append(call)
    for caller, calls in by_caller.items():
        what = "; ".join(dict.fromkeys(f"{call.callee}, which {call.reason}" for call in calls))
        consequence = (
            f"calls {what}. A restore asks for --accept-code; dr restore --plan shows it all"
        )
        yield Note(f"engine.{ENGINE}.code.{caller}", Outcome.CODE, consequence)
