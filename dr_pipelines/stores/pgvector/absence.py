"""Why a name is no collection: a table without a vector, another kind of relation."""

from collections.abc import Collection

from psycopg import sql

from dr_pipelines.errors import NotFound
from dr_pipelines.protocols import Listed
from dr_pipelines.stores.pgvector.alias_names import aliases
from dr_pipelines.stores.pgvector.connections import Session
from dr_pipelines.stores.pgvector.names import collection_name, table_name
from dr_pipelines.stores.pgvector.statements import qualified

KINDS = {
    "v": "a view",
    "m": "a materialised view",
    "f": "a foreign table",
    "S": "a sequence",
    "i": "an index",
    "I": "an index",
    "c": "a type",
}
RELATION = qualified("""
    SELECT c.relkind::text, c.relispartition,
        EXISTS (SELECT FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
            WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
            AND t.typname IN ('vector', 'halfvec', 'sparsevec'))
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = {schema} AND c.relname = ANY (ARRAY[{name}, {table}]::name[])
""")

RELATIONS = qualified("""
    SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = {schema} AND c.relkind::text IN ('r', 'p', 'v', 'm', 'f')
        AND NOT c.relispartition AND NOT EXISTS (SELECT FROM pg_depend d
            WHERE d.objid = c.oid AND d.classid = 'pg_catalog.pg_class'::regclass::oid
                AND d.deptype::text = 'e')
    ORDER BY c.relname COLLATE "C"
""")


def listed(session: Session, collections: Collection[str]) -> tuple[Listed, ...]:
    """Everything in the schema that holds rows, by its own name; `collections` are those that this
    package can read."""
    rows = session.rows(RELATIONS.format(schema=sql.Literal(session.schema)))
    pointing = aliases(session)
    return tuple(
        Listed(name, None if collection_name(name) in collections else lack(session, name))
        for (name,) in rows
        if name not in pointing
    )


def lack(session: Session, name: str) -> str:
    """Why a relation is no collection."""
    return str(unknown(session, name)).partition(" is no collection: ")[2]


def unknown(session: Session, name: str) -> NotFound:
    """There is no such collection: the reason, and the way out where there is one."""
    relations = session.rows(
        RELATION.format(
            schema=sql.Literal(session.schema),
            name=sql.Literal(name),
            table=sql.Literal(table_name(name)),
        )
    )
    if not relations:
        return NotFound(
            f"no collection {name!r} here: no table of that name in schema {session.schema!r}"
        )
    return NotFound(f"{name!r} is no collection: {_reason(*relations[0])}")


def _reason(kind: str, partition: bool, vectors: bool) -> str:
    if kind in KINDS:
        return f"it is {KINDS[kind]}; only tables and partitioned tables are"
    if partition:
        return "it is a partition; name the table that it belongs to"
    if vectors:
        return "its columns for vectors declare no dimension and hold no vector yet"
    return "the table has no column of type vector, halfvec or sparsevec, and no indexed bit string"
