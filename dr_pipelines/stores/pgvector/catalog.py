"""Tables with vectors, their columns and indexes, as the engine's catalogs report them.

A collection is a table of the schema, or the root of a tree of partitions, with at least one
vector. Its key is one of columns that are not null; where it has none, rows are told apart by what
they hold (`contents`). The label of a collection of ours is the comment of the key's index, or of a
statistics object where there is none: it goes wherever the table goes, through a rename and through
pg_dump too.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import sql

from dr_pipelines.errors import Damaged
from dr_pipelines.stores.pgvector.connections import Row, Session
from dr_pipelines.stores.pgvector.label import MARK, MAX_CHARACTERS, Label, read_label
from dr_pipelines.stores.pgvector.names import collection_name, table_name
from dr_pipelines.stores.pgvector.statements import (
    oid,
    oids,
    qualified,
    text_array,
)

TABLES = qualified("""
    SELECT c.oid::int8, c.relname, pg_catalog.quote_ident(c.relname), c.relkind::text,
        coalesce(k.indkey::int2[]::int4[], ARRAY[]::int4[]), coalesce(k.indexrelid::int8, 0),
        CASE WHEN k.indexrelid IS NOT NULL THEN
            pg_catalog.substr(pg_catalog.obj_description(k.indexrelid, 'pg_class'), 1, {limit})
        ELSE (SELECT pg_catalog.substr(d.comment, 1, {limit}) FROM (
            SELECT s.oid, pg_catalog.obj_description(s.oid, 'pg_statistic_ext') AS comment
            FROM pg_statistic_ext s WHERE s.stxrelid = c.oid) d
            WHERE pg_catalog.starts_with(d.comment, {mark}) ORDER BY d.oid LIMIT 1) END
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN LATERAL (
        SELECT i.indexrelid, i.indkey[0:i.indnkeyatts - 1] AS indkey FROM pg_index i
        WHERE i.indrelid = c.oid AND i.indisunique AND i.indpred IS NULL
            AND i.indexprs IS NULL AND i.indisvalid
            AND NOT EXISTS (
                SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND NOT a.attnotnull
                AND a.attnum = ANY (i.indkey[0:i.indnkeyatts - 1])
            )
        -- by the order of columns, which a table that is made again has too
        ORDER BY i.indisprimary DESC, i.indkey[0:i.indnkeyatts - 1]::int2[], i.indexrelid LIMIT 1
    ) k ON true
    WHERE n.nspname = {schema} AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND {which}
    ORDER BY c.relname COLLATE "C"
""")
ATTRIBUTES = qualified("""
    SELECT a.attrelid::int8, a.attnum::int4, a.attname, pg_catalog.quote_ident(a.attname),
        t.typname,
        CASE WHEN n.nspname = 'pg_catalog' THEN 'engine' WHEN e.oid IS NOT NULL THEN 'pgvector'
            ELSE '' END,
        pg_catalog.format_type(a.atttypid, a.atttypmod), a.atttypmod, a.attnotnull,
        a.attgenerated::text, a.attidentity::text, t.typtype::text, n.nspname
    FROM pg_attribute a
    JOIN pg_type t ON t.oid = a.atttypid
    JOIN pg_namespace n ON n.oid = t.typnamespace
    LEFT JOIN pg_type s ON s.oid = (CASE WHEN t.typelem = 0::oid THEN t.oid ELSE t.typelem END)
        AND s.typtype = 'b' AND s.typelem = 0::oid
    LEFT JOIN pg_depend d ON d.classid = 'pg_catalog.pg_type'::regclass::oid AND d.objid = s.oid
        AND d.refclassid = 'pg_catalog.pg_extension'::regclass::oid AND d.deptype = 'e'
    LEFT JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'vector'
    WHERE a.attrelid = ANY ({tables}) AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY a.attrelid, a.attnum
""")
INDEXES = qualified("""
    SELECT i.indrelid::int8, i.indexrelid::int8, c.relname, am.amname, i.indisunique,
        EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid
            AND k.contype IN ('p', 'u', 'x') AND k.conrelid = i.indrelid),
        i.indisvalid, i.indkey::int2[]::int4[], i.indpred IS NOT NULL,
        coalesce(pg_catalog.pg_get_expr(i.indexprs, i.indrelid), ''),
        ARRAY(SELECT o.opcname FROM pg_catalog.unnest(i.indclass::oid[]) AS u (id)
            JOIN pg_opclass o ON o.oid = u.id)::text[],
        coalesce(c.reloptions, '{{}}')::text[],
        pg_catalog.substr(pg_catalog.pg_get_indexdef(i.indexrelid),
            pg_catalog.length(pg_catalog.concat(
            'CREATE ', CASE WHEN i.indisunique THEN 'UNIQUE ' END, 'INDEX ',
            pg_catalog.quote_ident(c.relname),
            ' ON ', CASE WHEN c.relkind = 'I' THEN 'ONLY ' END,
            pg_catalog.quote_ident(n.nspname), '.', pg_catalog.quote_ident(t.relname), ' ')) + 1)
    FROM pg_index i
    JOIN pg_class c ON c.oid = i.indexrelid
    JOIN pg_class t ON t.oid = i.indrelid
    JOIN pg_namespace n ON n.oid = t.relnamespace
    JOIN pg_am am ON am.oid = c.relam
    WHERE i.indrelid = ANY ({tables})
    ORDER BY c.relname COLLATE "C"
""")


@dataclass(frozen=True, slots=True)
class Attribute:
    """A column as it is. `quoted` is its name as the server writes it in definitions; `type` has
    the modifiers; `origin` is `pgvector` or `engine` where the type is theirs."""

    number: int
    name: str
    quoted: str
    kind: str
    origin: str
    type: str
    modifier: int
    not_null: bool
    generated: str
    identity: str
    category: str
    schema: str
    """Where its type is."""

    @property
    def plain(self) -> bool:
        """True if the type is one of the engine's own base types."""
        return self.category == "b" and self.origin == "engine"


@dataclass(frozen=True, slots=True)
class Index:
    """An index as it is. `using` is its definition from the word USING on."""

    id: int
    name: str
    method: str
    unique: bool
    constraint: bool
    valid: bool
    keys: tuple[int, ...]
    partial: bool
    expression: str
    classes: tuple[str, ...]
    options: dict[str, str]
    using: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table that is a collection, or may be one."""

    id: int
    name: str
    quoted: str
    partitioned: bool
    key: tuple[int, ...]
    """Its columns; none where the table has no key."""
    key_index: int
    """0 where the table has no key."""
    label: Label | None
    damage: Damaged | None
    """Why a label that is there cannot be read."""
    attributes: tuple[Attribute, ...]
    indexes: tuple[Index, ...]

    @property
    def collection(self) -> str:
        """The name as a collection."""
        return _collection(self.name, self.label)

    def attribute(self, number: int) -> Attribute:
        """The column of this number."""
        return next(a for a in self.attributes if a.number == number)


def tables(session: Session, *, names: Sequence[str] | None = None) -> list[Table]:
    """Tables, ascending by name; with `names`, those of them."""
    rows = _rows(session, names)
    ids = oids([row[0] for row in rows])
    with session.definitions():
        attributes = _grouped(session.rows(ATTRIBUTES.format(tables=ids)))
        indexes = _grouped(session.rows(INDEXES.format(tables=ids)))
    labels = {row[0]: _label(row[-1], row[1]) for row in rows}
    return [
        Table(
            id=number,
            name=name,
            quoted=quoted,
            partitioned=kind == "p",
            key=tuple(key),
            key_index=key_index,
            label=labels[number][0],
            damage=labels[number][1],
            attributes=tuple(Attribute(*row) for row in attributes.get(number, [])),
            indexes=tuple(_index(row) for row in indexes.get(number, [])),
        )
        for number, name, quoted, kind, key, key_index, _ in rows
    ]


def _rows(session: Session, names: Sequence[str] | None) -> list[Row]:
    which: sql.Composable = sql.SQL("true")
    if names is not None:
        which = qualified("c.relname = ANY ({})").format(text_array(list(names)))
    return session.rows(
        TABLES.format(
            schema=sql.Literal(session.schema),
            mark=sql.Literal(MARK),
            limit=sql.Literal(MAX_CHARACTERS),
            which=which,
        )
    )


def _collection(table: str, label: Label | None) -> str:
    """The name of a table as a collection. One that was renamed has its label's name no more."""
    if label is not None and table_name(label.spec.name) == table:
        return label.spec.name
    return collection_name(table)


def _label(comment: str | None, table: str) -> tuple[Label | None, Damaged | None]:
    """One label that cannot be read hides no other collection."""
    try:
        return read_label(comment, table), None
    except Damaged as error:
        return None, error


def find_table(session: Session, collection: str) -> Table | None:
    """The table of a collection, by its physical name, or by its own where no collection can have
    that."""
    for table in tables(session, names=[table_name(collection)]):
        if table.collection == collection:
            return table
    if "@table-" in collection:
        return next((t for t in tables(session) if t.collection == collection), None)
    return next(iter(tables(session, names=[collection])), None)


def names_of(session: Session, tables: Sequence[str]) -> dict[str, str]:
    """Table → name of the collection. Asks nothing that waits for a lock of a table."""
    rows = _rows(session, tables)
    return {row[1]: _collection(row[1], _label(row[-1], row[1])[0]) for row in rows}


def held_tables(session: Session, table: Table) -> frozenset[int]:
    """The numbers of a table and of its partitions."""
    query = qualified("SELECT relid::oid::int8 FROM pg_partition_tree({})")
    parts = session.rows(query.format(oid(table.id))) if table.partitioned else []
    return frozenset([table.id, *(row[0] for row in parts)])


def rows_of(session: Session, table: Table) -> sql.Composed:
    """A table's own rows, or those of its partitions, as SQL."""
    if table.id in session.bound:
        return sql.SQL("{}").format(session.bound[table.id])
    return sql.SQL("{}" if table.partitioned else "ONLY {}").format(session.table(table.name))


def taken(session: Session, name: str) -> bool:
    """True if a table, index, view or sequence has the name."""
    query = qualified(
        "SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = {} AND c.relname = {})"
    )
    return bool(session.one(query.format(sql.Literal(session.schema), sql.Literal(name))))


def _grouped(rows: Sequence[Row]) -> dict[int, list[Row]]:
    groups = dict[int, list[Row]]()
    for table, *values in rows:
        groups.setdefault(table, []).append(tuple(values))
    return groups


def _index(row: Row) -> Index:
    number, name, method, unique, constraint, valid, keys, partial, expression, classes, *rest = row
    options, using = rest
    return Index(
        id=number,
        name=name,
        method=method,
        unique=unique,
        constraint=constraint,
        valid=valid,
        keys=tuple(keys),
        partial=partial,
        expression=expression,
        classes=tuple(classes),
        options=dict(option.split("=", 1) for option in options),
        using=using,
    )
