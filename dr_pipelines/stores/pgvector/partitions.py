"""Partitions of a table as parts of a specification's section: each with what it has for itself,
which its table does not say."""

from dataclasses import dataclass

from dr_pipelines.stores.pgvector.catalog import Table
from dr_pipelines.stores.pgvector.connections import Row, Session
from dr_pipelines.stores.pgvector.details import details
from dr_pipelines.stores.pgvector.names import derived
from dr_pipelines.stores.pgvector.rights import rights
from dr_pipelines.stores.pgvector.statements import oid, qualified
from dr_pipelines.stores.pgvector.structure import (
    COLUMNS,
    COMPRESSION,
    RELATION,
    STORAGE,
    Section,
    by_name,
    comments_of,
    constraints_of,
    options_of,
    replica_identity,
    sequence_of,
)
from dr_pipelines.stores.pgvector.triggers import trigger_states, triggers_of

PARTITIONS = qualified("""
    SELECT c.oid::int8, c.relname, pg_catalog.quote_ident(c.relname),
        pg_catalog.pg_get_expr(c.relpartbound, c.oid),
        CASE WHEN c.relkind = 'p' THEN pg_catalog.pg_get_partkeydef(c.oid) END
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = {table} AND c.relkind IN ('r', 'p')
    ORDER BY c.relname COLLATE "C"
""")


def partitions(session: Session, table: Table) -> list[Section]:
    """The partitions of a table, with their own ones."""
    owner = rights(session, table.id, table.quoted)["owner"]
    return _below(session, table, table.id, owner=owner)


def _below(session: Session, table: Table, parent: int, *, owner: str) -> list[Section]:
    above = {row[0]: row for row in session.printed(COLUMNS.format(table=oid(parent)))}
    parts = list[Section]()
    for number, name, quoted, bound, key in session.printed(PARTITIONS.format(table=oid(parent))):
        part: Section = {"name": derived(name, table.name), "bound": bound}
        part |= _relation(session, number, above, root=table.name)
        part |= constraints_of(session, number, quoted, root=table.name, keys=True)
        part["triggers"] = triggers_of(session, number)
        part["trigger_states"] = trigger_states(session, number)
        part |= details(session, number, quoted, root=table.name, table=name)
        part["indexes"] = _local_indexes(session, number, table.name)
        part |= _rights(session, number, quoted, owner=owner)
        if key is not None:
            part |= {"key": key, "tables": _below(session, table, number, owner=owner)}
        parts.append({key: value for key, value in part.items() if value})
    return by_name(parts)


def _relation(session: Session, partition: int, above: dict[str, Row], *, root: str) -> Section:
    """Settings, comments, and what is another way in its columns than in those of its table."""
    relation = oid(partition)
    described = session.printed(RELATION.format(table=relation))[0]
    comment, persistence, options, toast, _, *identity = described
    rows = session.printed(COLUMNS.format(table=relation))
    return {
        "options": options_of(options, toast),
        "unlogged": persistence == "u",
        "comments": comments_of(comment, rows),
        "not_null": [row[0] for row in rows if row[2] and not above[row[0]][2]],
        "columns": [c for row in rows if len(c := _settings(row, above[row[0]])) > 1],
        "replica_identity": replica_identity(*identity, root=root),
        **_defaults(session, rows, above, root=root),
    }


def _settings(row: Row, above: Row) -> Section:
    column = {"name": row[0], "statistics": row[6], "options": options_of(row[7], [])}
    if row[4] != above[4]:
        column["storage"] = STORAGE.get(row[4] or "", "default")
    if row[5] != above[5]:
        column["compression"] = COMPRESSION.get(row[5] or "", "default")
    return {key: value for key, value in column.items() if value}


def _defaults(session: Session, rows: list[Row], above: dict[str, Row], *, root: str) -> Section:
    """Defaults that are not those of the table: none is said as such. A sequence that belongs to
    the partition is named, since none is made."""
    defaults, sequences = Section(), list[Section]()
    for name, *_, expression, kind, identified, _comment, sequence in rows:
        if kind or identified or expression == above[name][8]:
            continue
        if sequence is not None:
            sequences.append({"column": name, **sequence_of(session, root, sequence)})
        else:
            defaults[name] = expression
    return {"defaults": defaults, "sequences": sequences}


def _rights(session: Session, partition: int, quoted: str, *, owner: str) -> Section:
    section = rights(session, partition, quoted)
    if section["owner"] == owner:
        del section["owner"]
    grants = [grant for grant in section.get("grants", []) if "sequence" not in grant]
    return section | {"grants": grants}


@dataclass(frozen=True, slots=True)
class LivePartition:
    """A partition as it is: its table, the indexes and the names of constraints that it has for
    itself, its own partitions."""

    table: str
    indexes: tuple[Section, ...]
    constraints: frozenset[str]
    parts: "dict[str, LivePartition]"


def live_partitions(session: Session, table: Table, parent: int) -> dict[str, LivePartition]:
    """The partitions of a table, by the names that parts of a section give them."""
    rows = session.printed(PARTITIONS.format(table=oid(parent)))
    return {
        derived(name, table.name): LivePartition(
            table=name,
            indexes=tuple(_local_indexes(session, number, table.name)),
            constraints=_names(session, number, quoted, table.name),
            parts=live_partitions(session, table, number),
        )
        for number, name, quoted, *_ in rows
    }


def _names(session: Session, partition: int, quoted: str, root: str) -> frozenset[str]:
    constraints = constraints_of(session, partition, quoted, root=root, keys=True)
    return frozenset(part["name"] for part in constraints["constraints"])


LOCAL_INDEXES = qualified("""
    SELECT c.relname, i.indisunique, pg_catalog.substr(pg_catalog.pg_get_indexdef(i.indexrelid),
        pg_catalog.length(pg_catalog.concat(
            'CREATE ', CASE WHEN i.indisunique THEN 'UNIQUE ' END, 'INDEX ',
            pg_catalog.quote_ident(c.relname), ' ON ', CASE WHEN c.relkind = 'I' THEN 'ONLY ' END,
            pg_catalog.quote_ident(n.nspname), '.', pg_catalog.quote_ident(t.relname), ' ')) + 1)
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    JOIN pg_class t ON t.oid = i.indrelid JOIN pg_namespace n ON n.oid = t.relnamespace
    WHERE i.indrelid = {table} AND NOT c.relispartition AND i.indisvalid
        AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid)
    ORDER BY c.relname COLLATE "C"
""")


def _local_indexes(session: Session, partition: int, table: str) -> list[Section]:
    """Indexes that one partition has for itself."""
    rows = session.printed(LOCAL_INDEXES.format(table=oid(partition)))
    return by_name(
        [
            {"name": derived(index, table), "unique": unique, "using": using}
            for index, unique, using in rows
        ]
    )
