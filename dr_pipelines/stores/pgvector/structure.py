"""The structure of a table as parts of a specification's section: columns, defaults,
constraints, comments, storage, partitions. JSON values only, in the words of the server."""

from typing import Any

from dr_pipelines.stores.pgvector.catalog import Index, Table
from dr_pipelines.stores.pgvector.connections import Row, Session
from dr_pipelines.stores.pgvector.names import PLACEHOLDER, derived, without_table
from dr_pipelines.stores.pgvector.statements import oid, qualified
from dr_pipelines.stores.pgvector.triggers import triggers_of

Section = dict[str, Any]

STORAGE = {"p": "plain", "e": "external", "m": "main", "x": "extended"}
COMPRESSION = {"p": "pglz", "l": "lz4"}
IDENTITY = {"a": "always", "d": "by default"}

COLUMNS = qualified("""
    SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull,
        CASE WHEN a.attcollation <> t.typcollation AND a.attcollation <> 0::oid THEN
            (SELECT pg_catalog.format('%I.%I', n.nspname, k.collname)
            FROM pg_collation k
            JOIN pg_namespace n ON n.oid = k.collnamespace WHERE k.oid = a.attcollation) END,
        CASE WHEN a.attstorage <> t.typstorage THEN a.attstorage::text END,
        CASE WHEN a.attcompression <> '' THEN a.attcompression::text END,
        CASE WHEN a.attstattarget <> -1 THEN a.attstattarget::int4 END,
        coalesce(a.attoptions, '{{}}')::text[], pg_catalog.pg_get_expr(d.adbin, d.adrelid),
        a.attgenerated::text, a.attidentity::text,
        pg_catalog.col_description(a.attrelid, a.attnum),
        pg_catalog.pg_get_serial_sequence(
            a.attrelid::regclass::text, a.attname::text
        )::regclass::oid::int8
    FROM pg_attribute a
    JOIN pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid = {table} AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY a.attnum
""")
SEQUENCE = qualified("""
    SELECT c.relname, pg_catalog.format_type(s.seqtypid, NULL), s.seqstart, s.seqincrement,
        s.seqmin, s.seqmax, s.seqcache, s.seqcycle
    FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid
    WHERE s.seqrelid = {sequence}
""")
CONSTRAINTS = qualified("""
    SELECT conname, contype::text, pg_catalog.pg_get_constraintdef(oid),
        pg_catalog.obj_description(oid, 'pg_constraint'), convalidated, confrelid = conrelid
    FROM pg_constraint
    WHERE conrelid = {table} AND contype IN ('c', 'f', 'p', 'u', 'x') AND conislocal
        AND conparentid = 0::oid
    ORDER BY contype, conname
""")
RELATION = qualified("""
    SELECT pg_catalog.obj_description(c.oid, 'pg_class'), c.relpersistence::text,
        coalesce(c.reloptions, '{{}}')::text[], coalesce(t.reloptions, '{{}}')::text[],
        CASE WHEN c.relkind = 'p' THEN pg_catalog.pg_get_partkeydef(c.oid) END,
        c.relreplident::text,
        (SELECT x.relname FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
            WHERE i.indrelid = c.oid AND i.indisreplident)
    FROM pg_class c LEFT JOIN pg_class t ON t.oid = c.reltoastrelid WHERE c.oid = {table}
""")


def structure(session: Session, table: Table, *, whole: bool) -> Section:
    """All parts that are there; of partitions the key. Columns, defaults and keys only with
    `whole`: of a table of ours the contract says them."""
    section: Section = {}
    relation = oid(table.id)
    comment, persistence, options, toast, key, *identity = session.printed(
        RELATION.format(table=relation)
    )[0]
    columns = session.printed(COLUMNS.format(table=relation))
    if whole:
        section |= _columns(session, table, columns)
    section["comments"] = comments_of(comment, columns)
    section |= constraints_of(session, table.id, table.quoted, root=table.name, keys=whole)
    storage: Section = {"options": options_of(options, toast)}
    if persistence == "u":
        storage["unlogged"] = True
    section["storage"] = {key: value for key, value in storage.items() if value}
    section["triggers"] = triggers_of(session, table.id)
    section["replica_identity"] = replica_identity(*identity, root=table.name)
    if key is not None:
        section["partitions"] = {"key": key}
    return {key: value for key, value in section.items() if value}


def replica_identity(kind: str, index: str | None, *, root: str) -> Section:
    """The columns that identify rows for subscribers, if not the primary key."""
    if index is not None and kind == "i":
        return {"index": derived(index, root)}
    words = {"f": "full", "n": "nothing"}
    return {"rows": words[kind]} if kind in words else {}


def _columns(session: Session, table: Table, rows: list[Row]) -> Section:
    columns, defaults, generated = list[Section](), Section(), Section()
    identity = Section()
    for name, declared, not_null, collation, storage, compression, *rest in rows:
        statistics, options, expression, kind, identified, _, sequence = rest
        column = {
            "name": name,
            "type": declared,
            "not_null": not_null,
            "collation": collation,
            "storage": STORAGE.get(storage or ""),
            "compression": COMPRESSION.get(compression or ""),
            "statistics": statistics,
            "options": options_of(options, []),
        }
        columns.append({key: value for key, value in column.items() if value})
        if kind:
            text = without_table(expression, table.quoted)
            generated[name] = {"expression": text, "stored": kind == "s"}
        elif sequence is not None and (identified or "nextval(" in (expression or "")):
            identity[name] = sequence_of(session, table.name, sequence)
            identity[name]["generated"] = IDENTITY.get(identified, "serial")
        elif expression is not None:
            defaults[name] = without_table(expression, table.quoted)
    return {
        "columns": columns,
        "defaults": defaults,
        "generated": generated,
        "identity": identity,
    }


def sequence_of(session: Session, root: str, sequence: int) -> Section:
    """How a sequence counts, by its number; `root` is the collection's table."""
    row = session.printed(SEQUENCE.format(sequence=oid(sequence)))[0]
    name, declared, start, increment, low, high, cache, cycle = row
    return {
        "name": derived(name, root),
        "type": declared,
        "start": start,
        "increment": increment,
        "minimum": low,
        "maximum": high,
        "cache": cache,
        "cycle": cycle,
    }


def comments_of(comment: str | None, columns: list[Row]) -> Section:
    """Comments on a table and its columns."""
    comments = {"table": comment, "columns": {c[0]: c[11] for c in columns if c[11] is not None}}
    return {key: value for key, value in comments.items() if value}


def constraints_of(
    session: Session, relation: int, quoted: str, *, root: str, keys: bool
) -> Section:
    """Constraints that a table has for itself; the primary key is one of them with `keys`."""
    rows = session.printed(CONSTRAINTS.format(table=oid(relation)))
    constraints, foreign = list[Section](), list[Section]()
    for name, kind, definition, comment, validated, to_itself in rows:
        part = {
            "name": derived(name, root),
            "definition": without_table(definition, quoted),
            **({"comment": comment} if comment else {}),
            **({} if validated else {"validated": False}),
        }
        if kind == "f":
            of_it, placed = f"REFERENCES {quoted}(", f"REFERENCES {PLACEHOLDER}("
            if to_itself:
                part["definition"] = str(part["definition"]).replace(of_it, placed, 1)
            foreign.append(part)
        elif keys or kind != "p":
            constraints.append(part)
    return {"constraints": by_name(constraints), "foreign_keys": by_name(foreign)}


def by_name(parts: list[Section]) -> list[Section]:
    """In an order that does not depend on what the table is called."""
    return sorted(parts, key=lambda part: str(part["name"]))


def index_part(index: Index, table: Table) -> Section:
    """An index that is no part of the contract's."""
    return {
        "name": derived(index.name, table.name),
        "unique": index.unique,
        "using": without_table(index.using, table.quoted),
    }


def options_of(options: list[str], toast: list[str]) -> dict[str, str]:
    """Settings as pairs, ascending by name."""
    pairs = [*options, *(f"toast.{option}" for option in toast)]
    return dict(pair.split("=", 1) for pair in sorted(pairs))
