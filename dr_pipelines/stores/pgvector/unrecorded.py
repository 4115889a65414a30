"""Parts that are not in a description and would not come back: rights in views over a table,
owners of statistics objects, the number of dimensions that an array's column was declared with,
vectors that are not compared as such. They are read from the catalogs when a backup asks for
them."""

from collections.abc import Iterator

from psycopg import sql

from dr_pipelines.model.collection import CollectionSpec, FieldType
from dr_pipelines.model.compatibility import Note, Outcome
from dr_pipelines.stores.pgvector.catalog import Table
from dr_pipelines.stores.pgvector.connections import Session
from dr_pipelines.stores.pgvector.label import MARK
from dr_pipelines.stores.pgvector.making import AS_IT_WAS, ENGINE, section_of
from dr_pipelines.stores.pgvector.rights import partitions_of
from dr_pipelines.stores.pgvector.statements import oid, qualified, text_array

VIEWS = ("view ", "materialised view ")
VECTORS = ("vector", "halfvec", "sparsevec")
RIGHTS = qualified("""
    SELECT p.name, pg_catalog.string_agg(p.statement, '; ' ORDER BY p.statement) FROM (
        SELECT u.name,
            pg_catalog.format('ALTER TABLE %s OWNER TO %I', u.name, r.rolname) AS statement
        FROM pg_catalog.unnest({names}) AS u (name)
        JOIN pg_class v ON v.oid = to_regclass(u.name)::oid
        JOIN pg_roles r ON r.oid = v.relowner
        JOIN pg_class t ON t.oid = {table}
        WHERE v.relowner <> t.relowner
        UNION ALL SELECT u.name, pg_catalog.format('GRANT %s%s ON %s TO %s%s', g.privilege_type,
            CASE WHEN g.attname IS NOT NULL THEN pg_catalog.format(' (%I)', g.attname) END, u.name,
            coalesce(pg_catalog.quote_ident(r.rolname), 'PUBLIC'),
            CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' END)
        FROM pg_catalog.unnest({names}) AS u (name)
        JOIN pg_class v ON v.oid = to_regclass(u.name)::oid
        JOIN LATERAL (
            SELECT NULL::name AS attname, a.* FROM pg_catalog.aclexplode(v.relacl) a
            UNION ALL SELECT t.attname, a.* FROM pg_attribute t, pg_catalog.aclexplode(t.attacl) a
            WHERE t.attrelid = v.oid AND NOT t.attisdropped
        ) g ON g.grantee <> v.relowner
        LEFT JOIN pg_roles r ON r.oid = g.grantee
    ) p GROUP BY p.name ORDER BY p.name
""")
STATISTICS = qualified("""
    SELECT s.stxname,
        pg_catalog.format('ALTER STATISTICS %I.%I OWNER TO %I', n.nspname, s.stxname, r.rolname)
    FROM pg_statistic_ext s JOIN pg_class c ON c.oid = s.stxrelid
    JOIN pg_namespace n ON n.oid = s.stxnamespace JOIN pg_roles r ON r.oid = s.stxowner
    WHERE s.stxrelid = {table} AND s.stxowner <> c.relowner AND NOT starts_with(
        coalesce(pg_catalog.obj_description(s.oid, 'pg_statistic_ext'), ''), {mark})
    ORDER BY s.stxname
""")
DECLARED = qualified("""
    SELECT a.attname, a.attndims::int4, pg_catalog.format_type(a.atttypid, a.atttypmod)
    FROM pg_attribute a
    WHERE a.attrelid = {table} AND a.attnum > 0 AND NOT a.attisdropped AND a.attndims > 1
    ORDER BY a.attnum
""")
NO_KEY = (
    "the table has none: an id is the digest of what a row holds, equal rows are numbered, a row "
    "that changes is one that went and one that came, and a scan reads every row whole. To tell "
    "rows apart: ALTER TABLE {} ADD COLUMN row_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY"
)
AS_TEXT = (
    "it declares no dimension, and holds no vector yet or those of more than 64 dimensions: "
    "carried whole as text, and not compared as a vector"
)


def unrecorded(session: Session, table: Table, spec: CollectionSpec) -> Iterator[Note]:
    """A note for each. Nobody loses data by any."""
    section = section_of(spec)
    if section.get("layout") != AS_IT_WAS:
        return
    place, number = f"engine.{ENGINE}", oid(table.id)
    if not section.get("key"):
        yield _note("key", NO_KEY.format(session.table(table.name).as_string()))
    yield from _texts(spec)
    hanging = [*section.get("attached", [])]
    hanging += [each for part in partitions_of(section) for each in part.get("attached", [])]
    kinds = {
        part["name"].removeprefix(kind): part["name"]
        for part in hanging
        for kind in VIEWS
        if part["name"].startswith(kind)
    }
    for name, run in session.rows(RIGHTS.format(names=text_array(list(kinds)), table=number)):
        consequence = f"its owner and grants are not recorded. After it is made, run: {run}"
        yield Note(f"{place}.attached.{kinds[name]}.rights", Outcome.APPROXIMATED, consequence)
    for name, run in session.rows(STATISTICS.format(table=number, mark=sql.Literal(MARK))):
        yield _note(f"statistics.{name}.owner", f"not recorded; run afterwards: {run}")
    for name, count, declared in session.rows(DECLARED.format(table=number)):
        consequence = (
            f"declared with {count} dimensions, which the engine does not heed: made again as "
            f"{declared}, and its arrays are as they were"
        )
        yield _note(f"columns.{name}.dimensions", consequence)


def _note(part: str, consequence: str) -> Note:
    return Note(f"engine.{ENGINE}.{part}", Outcome.APPROXIMATED, consequence)


def _texts(spec: CollectionSpec) -> Iterator[Note]:
    """Columns of a type for vectors that are none of the collection's vectors."""
    fields = {field.name for field in spec.fields if field.type is FieldType.STRING}
    for column in section_of(spec).get("columns", []):
        kind = str(column["type"]).rpartition(".")[2].partition("(")[0]
        if kind in VECTORS and column.get("as", column["name"]) in fields:
            yield _note(f"columns.{column['name']}.type", AS_TEXT)
