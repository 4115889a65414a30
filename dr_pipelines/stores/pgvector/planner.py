"""The decision whether a query of a table may be planned.

To plan any query of a table, even one for its key alone, the server computes what the expressions
of its indexes, statistics and partition keys say of constants: `CREATE INDEX ON t ((a || f(1)))`
runs `f` as whoever counts the rows of `t`. No statement can be written so that it does not, and no
lock that a reader may take keeps a table's owner from adding an index between a look at the
catalogs and the query.

But only he may, he and who acts for him. So a query is planned where table and partitions all
belong to a superuser or to the session's own role, are locked, so that their names stand for
nothing else, and have no function of others in their expressions, whose owner may put another body
under it at any time. Everything else is read as it lies (`streams`), and what a query would do with
it is done here.

Trusted are also functions in languages that only a superuser may write in.
"""

from collections.abc import Sequence

from dr_pipelines.stores.pgvector.catalog import Table, held_tables
from dr_pipelines.stores.pgvector.connections import Session
from dr_pipelines.stores.pgvector.foreign_code import is_called_by_plans
from dr_pipelines.stores.pgvector.statements import oids, qualified, text_array

OTHERS = qualified("""
    SELECT EXISTS (SELECT FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner
        WHERE c.oid = ANY ({tables}) AND NOT r.rolsuper AND r.rolname <> current_user)
""")


SCHEMAS = qualified("""
    SELECT EXISTS (SELECT FROM pg_namespace n
        JOIN pg_database d ON d.datname = pg_catalog.current_database()
        JOIN pg_roles o ON o.oid = n.nspowner
        JOIN pg_roles r ON r.oid = (
            CASE WHEN o.rolname = 'pg_database_owner' THEN d.datdba ELSE o.oid END)
        WHERE n.nspname = ANY ({names}) AND NOT r.rolsuper AND r.rolname <> current_user)
""")
"""True where others own schemas that a query names, and may give the name to another of theirs: no
lock of a table keeps them from it."""


def may_plan(session: Session, table: Table) -> bool:
    """True if planning a query of a table, and of its partitions, runs nothing that others wrote
    or may add meanwhile: nobody may, or a lock keeps them from it."""
    tables = held_tables(session, table)
    extension = [session.extension.schema] if session.extension else []
    if tables <= session.guarded:
        return not belong_to_others(session, extension)
    if not tables <= session.locked or not are_ours(session, tables):
        return False
    if belong_to_others(session, [session.schema, *extension]):
        return False
    return not is_called_by_plans(session, tables)


def belong_to_others(session: Session, schemas: Sequence[str]) -> bool:
    """True if somebody else than superusers and the session's own role owns one of some schemas."""
    return bool(session.one(SCHEMAS.format(names=text_array([*schemas]))))


def are_ours(session: Session, tables: frozenset[int]) -> bool:
    """True if tables belong to superusers or to the session's own role."""
    return not session.one(OTHERS.format(tables=oids(sorted(tables))))
