"""The table of a write, by its number.

A statement names a table by its schema's name, and who owns the schema may give that name to
another schema of his between any two statements: no lock of a table keeps him from it. A view keeps
the number of the table it was made of. So where others own the collection's schema a write makes a
temporary view, sees that it is of the table that was found, locks that through it, looks at it, and
reads, deletes and inserts through it. To make the view is to parse a list of columns, whatever the
name stands for by then. `COPY FROM` takes no view: rows come into temporary tables first.

The view is gone before the transaction ends, so that it keeps nobody from dropping the table.
"""

from psycopg import sql

from dr_pipelines.errors import Conflict
from dr_pipelines.stores.pgvector.catalog import Table, rows_of
from dr_pipelines.stores.pgvector.connections import Session, restricts
from dr_pipelines.stores.pgvector.statements import qualified

NAME = "dr_pipelines_bound"
VIEW = sql.Identifier("pg_temp", NAME)
VIEWS_READ = sql.SQL("SET LOCAL restrict_nonsystem_relation_kind = 'foreign-table'")
"""Where the server knows the setting: from here on no statement reads a table by its name."""
OF = qualified("""
    SELECT d.refobjid::int8 FROM pg_depend d
    JOIN pg_rewrite r ON r.oid = d.objid AND d.classid = 'pg_catalog.pg_rewrite'::regclass::oid
    WHERE r.ev_class = {view}::regclass::oid AND d.refobjid <> r.ev_class
        AND d.refclassid = 'pg_catalog.pg_class'::regclass::oid
""")


def bind(session: Session, table: Table) -> sql.Identifier:
    """A view of a table's columns, and of where its rows lie, where it has no key: what has the
    table's name is read and written through it until `unbind`.

    Raises:
        Conflict: the table's name stands for another one meanwhile.
    """
    columns = [sql.Identifier(attribute.name) for attribute in table.attributes]
    if not table.key:  # what a row without a key is found by: a view may have columns of this name
        columns += [sql.Identifier("ctid"), sql.Identifier("tableoid")]
    session.run(sql.SQL("DROP VIEW IF EXISTS {}").format(VIEW))
    session.run(
        sql.SQL("CREATE TEMPORARY VIEW {} AS SELECT {} FROM {}").format(
            sql.Identifier(NAME), sql.SQL(", ").join(columns), rows_of(session, table)
        )
    )
    tables = {row[0] for row in session.rows(OF.format(view=sql.Literal(VIEW.as_string())))}
    if tables != {table.id}:
        raise Conflict(f"{table.name!r} was replaced while it was to be written; try again")
    if restricts(session.connection.info.server_version):
        session.run(VIEWS_READ)
    session.bound = {table.id: VIEW}
    return VIEW


def unbind(session: Session) -> None:
    """Drop the view, if there is one."""
    if session.bound:
        session.bound = {}
        session.run(sql.SQL("DROP VIEW {}").format(VIEW))
