"""Aliases, as the engine's catalogs report them: views with a mark, and what each reads."""

from psycopg import sql

from dr_pipelines.stores.pgvector.catalog import names_of
from dr_pipelines.stores.pgvector.connections import Session
from dr_pipelines.stores.pgvector.statements import qualified

ALIAS_MARK = "dr-pipelines alias"
"""The comment of a view that is an alias; what it stands for is what it reads."""
ALIASES = qualified("""
    SELECT DISTINCT v.relname, t.oid::int8, t.relname
    FROM pg_class v
    JOIN pg_namespace n ON n.oid = v.relnamespace
    JOIN pg_rewrite r ON r.ev_class = v.oid
    JOIN pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::regclass::oid AND d.objid = r.oid
        AND d.refclassid = 'pg_catalog.pg_class'::regclass::oid AND d.refobjid <> v.oid
    JOIN pg_class t ON t.oid = d.refobjid
    WHERE n.nspname = {schema} AND v.relkind = 'v' AND t.relkind IN ('r', 'p')
        AND pg_catalog.obj_description(v.oid, 'pg_class') = {mark} AND {which}
    ORDER BY v.relname
""")


def aliases(session: Session, *, alias: str | None = None) -> dict[str, str]:
    """Alias → name of the table that it stands for: of all, or of one, if it is one."""
    which: sql.Composable = sql.SQL("true")
    if alias is not None:
        which = qualified("v.relname = {}").format(sql.Literal(alias))
    schema, mark = sql.Literal(session.schema), sql.Literal(ALIAS_MARK)
    query = ALIASES.format(schema=schema, mark=mark, which=which)
    return {name: table for name, _, table in session.rows(query)}


def served(session: Session, *, alias: str | None = None) -> dict[str, str]:
    """The same with the name of the collection. Asks nothing that waits for a lock of a table."""
    names = aliases(session, alias=alias)
    if not names:
        return {}
    collections = names_of(session, list(names.values()))
    return {alias: collections[table] for alias, table in names.items() if table in collections}
