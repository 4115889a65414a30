"""Aliases: views that are replaced in one transaction.

A view asks for the rights of whoever reads through it, so that row-level security is in force there
as it is on the table.
"""

from psycopg import sql

from dr_pipelines.stores.pgvector.alias_names import ALIAS_MARK
from dr_pipelines.stores.pgvector.connections import Row, Session
from dr_pipelines.stores.pgvector.description import Collection
from dr_pipelines.stores.pgvector.rights import revoke_defaults
from dr_pipelines.stores.pgvector.statements import qualified

COLUMNS = qualified("""
    SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attcollation::int8
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = {} AND c.relname = {} AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY a.attnum
""")
GRANTS = qualified("""
    SELECT coalesce(r.rolname, ''), g.privilege_type, g.is_grantable OR g.grantee = g.relowner,
        g.attname
    FROM (
        SELECT c.relowner, NULL::name AS attname, a.* FROM pg_class c, pg_catalog.aclexplode(
            coalesce(c.relacl, pg_catalog.acldefault('r', c.relowner))) a
        WHERE c.oid = {relation}::regclass::oid
        UNION ALL
        SELECT c.relowner, t.attname, a.* FROM pg_attribute t
        JOIN pg_class c ON c.oid = t.attrelid, pg_catalog.aclexplode(t.attacl) a
        WHERE t.attrelid = {relation}::regclass::oid AND NOT t.attisdropped
    ) g LEFT JOIN pg_roles r ON r.oid = g.grantee
    WHERE coalesce(r.rolname, '') <> current_user
    ORDER BY 1, 2, 4
""")
OF_VIEWS = frozenset(["SELECT", "INSERT", "UPDATE", "DELETE"])
"""What may be done through a view of one table."""
LOCK = qualified("SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended({}, 0))")


def point(session: Session, alias: str, collection: Collection) -> None:
    """Let a view read another table. Where that has the same columns the view is replaced, and
    keeps who may use it; else it is made anew, with the same grants. A new alias is for whoever
    may use the table, and for what he may do there: the table asks for its own rights too."""
    view, table = session.table(alias), collection.identifier(session)
    session.run(LOCK.format(sql.Literal(f"{session.schema}.{alias}")))
    old, new = (_columns(session, name) for name in (alias, collection.table.name))
    keeps_view = bool(old) and old == new[: len(old)]
    grants = list[Row]()
    if not keeps_view:
        grants = _grants(session, view, columns=new) if old else _of_table(session, table, new)
    if old and not keeps_view:
        session.run(sql.SQL("DROP VIEW {}").format(view))
    session.run(
        sql.SQL(
            "CREATE OR REPLACE VIEW {} WITH (security_invoker = true) AS SELECT * FROM {}"
        ).format(view, table)
    )
    session.run(sql.SQL("COMMENT ON VIEW {} IS {}").format(view, sql.Literal(ALIAS_MARK)))
    if keeps_view:
        return
    revoke_defaults(session, alias)
    for grant in grants:
        session.run(_grant(grant, view))


def _columns(session: Session, name: str) -> list[Row]:
    return session.rows(COLUMNS.format(sql.Literal(session.schema), sql.Literal(name)))


def _grants(session: Session, relation: sql.Identifier, *, columns: list[Row]) -> list[Row]:
    """Grants to others on a relation, as a whole or on one of these columns. Its owner may do
    everything, and grant it."""
    grants = session.rows(GRANTS.format(relation=sql.Literal(relation.as_string())))
    names = {None, *(column[0] for column in columns)}
    return [grant for grant in grants if grant[3] in names]


def _of_table(session: Session, table: sql.Identifier, columns: list[Row]) -> list[Row]:
    return [g for g in _grants(session, table, columns=columns) if g[1] in OF_VIEWS]


def _grant(grant: Row, view: sql.Identifier) -> sql.Composed:
    role, privilege, grantable, column = grant
    place = sql.SQL("" if column is None else " ({})").format(sql.Identifier(column or ""))
    return sql.SQL("GRANT {}{} ON {} TO {}{}").format(
        sql.SQL(privilege),
        place,
        view,
        sql.Identifier(role) if role else sql.SQL("PUBLIC"),
        sql.SQL(" WITH GRANT OPTION" if grantable else ""),
    )
