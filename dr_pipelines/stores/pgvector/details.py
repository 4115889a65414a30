"""Small things that a table or a partition has for itself and that come back: extended statistics,
comments and statistics targets of indexes, names of NOT NULL constraints, the index by which the
table was clustered."""

from typing import Any

from psycopg import sql

from dr_pipelines.stores.pgvector.connections import Session
from dr_pipelines.stores.pgvector.label import MARK
from dr_pipelines.stores.pgvector.names import (
    MAX_BYTES,
    derived,
    placed,
    with_table,
    without_table,
)
from dr_pipelines.stores.pgvector.statements import oid, qualified, verbatim

Section = dict[str, Any]
KINDS = {"d": "ndistinct", "f": "dependencies", "m": "mcv"}
STATISTICS = qualified("""
    SELECT s.stxname, s.stxkind::text[], pg_catalog.pg_get_statisticsobjdef_columns(s.oid),
        coalesce(s.stxstattarget, -1)::int4,
        pg_catalog.obj_description(s.oid, 'pg_statistic_ext')
    FROM pg_statistic_ext s WHERE s.stxrelid = {table} AND NOT starts_with(
        coalesce(pg_catalog.obj_description(s.oid, 'pg_statistic_ext'), ''), {mark})
    ORDER BY s.stxname
""")
INDEXES = qualified("""
    SELECT c.relname, pg_catalog.obj_description(c.oid, 'pg_class'), i.indisclustered,
        ARRAY(SELECT pg_catalog.concat(a.attnum, ' ', a.attstattarget) FROM pg_attribute a
            WHERE a.attrelid = c.oid AND a.attstattarget >= 0 ORDER BY a.attnum)::text[]
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    WHERE i.indrelid = {table} AND i.indisvalid ORDER BY c.relname
""")
NOT_NULLS = qualified("""
    SELECT a.attname, k.conname, k.convalidated, k.connoinherit,
        pg_catalog.obj_description(k.oid, 'pg_constraint')
    FROM pg_constraint k
    JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1]
    WHERE k.conrelid = {table} AND k.contype = 'n' AND k.conislocal ORDER BY a.attname
""")


def details(session: Session, relation: int, quoted: str, *, root: str, table: str) -> Section:
    """All that a table has, by its number and its name; `root` is the collection's table."""
    number = oid(relation)
    section: Section = {
        "statistics": [
            _statistics(row, quoted, root=root) for row in _all_statistics(session, number)
        ],
    }
    rows = session.rows(NOT_NULLS.format(table=number))
    section["not_nulls"] = _not_nulls(rows, root=root, table=table)
    comments, targets = Section(), Section()
    for name, comment, clustered, columns in session.rows(INDEXES.format(table=number)):
        place = derived(name, root)
        if comment is not None and not comment.startswith(MARK):
            comments[place] = comment
        if columns:
            targets[place] = dict(column.split(" ", 1) for column in columns)
        if clustered:
            section["clustered"] = place
    return section | {"index_comments": comments, "index_statistics": targets}


def _all_statistics(session: Session, relation: sql.Composed) -> list[tuple[Any, ...]]:
    """Those of a table, but for one that only has its label."""
    return session.rows(STATISTICS.format(table=relation, mark=sql.Literal(MARK)))


def _statistics(row: tuple[Any, ...], quoted: str, *, root: str) -> Section:
    name, kinds, columns, target, comment = row
    part: Section = {
        "name": derived(name, root),
        "kinds": sorted(KINDS[kind] for kind in kinds if kind in KINDS),
        "columns": without_table(columns, quoted),
    }
    part |= {"target": target} if target >= 0 else {}
    return part | ({"comment": comment} if comment else {})


def _not_nulls(rows: list[tuple[Any, ...]], *, root: str, table: str) -> list[Section]:
    """Those of another kind or name than a plain NOT NULL of a column makes."""
    parts = list[Section]()
    for column, name, validated, alone, comment in rows:
        usual = name == default_name(table, column)
        part: Section = {"name": column}
        part |= {} if usual else {"constraint": derived(name, root)}
        part |= {} if validated else {"validated": False}
        part |= {"no_inherit": True} if alone else {}
        part |= {"comment": comment} if comment else {}
        if len(part) > 1:
            parts.append(part)
    return parts


def default_name(table: str, column: str) -> str:
    """How the engine calls a NOT NULL constraint of no name of its own: the longer part is cut."""
    parts, suffix = [table, column], "_not_null"
    while len("_".join(parts).encode()) + len(suffix) > MAX_BYTES:
        longer = 0 if len(parts[0].encode()) > len(parts[1].encode()) else 1
        parts[longer] = parts[longer].encode()[:-1].decode(errors="ignore")
    return "_".join(parts) + suffix


def not_null(section: Section, column: str, *, root: str) -> sql.Composable:
    """How a column is said to be NOT NULL where the table is made; nothing for one that older rows
    break."""
    parts = {part["name"]: part for part in section.get("not_nulls", [])}
    part: Section = parts.get(column, {})
    if part.get("validated") is False:
        return sql.SQL("")
    words: sql.Composable = sql.SQL("NOT NULL")
    if "constraint" in part:
        name = sql.Identifier(placed(part["constraint"], root, taken=False))
        words = sql.SQL("CONSTRAINT {} NOT NULL").format(name)
    return sql.SQL("{} NO INHERIT").format(words) if part.get("no_inherit") else words


def complete_details(
    session: Session, section: Section, *, root: str, table: str, quoted: str
) -> None:
    """Give a table that has its rows and indexes what is said of them; what is there stays."""
    _complete_statistics(session, section, root=root, table=table, quoted=quoted)
    _complete_not_nulls(session, section, root=root, table=table)
    names = {derived(row[0], root): row[0] for row in _indexes(session, table)}
    targets = section.get("index_statistics", {})
    for place, text in section.get("index_comments", {}).items():
        if place in names:
            say = sql.SQL("COMMENT ON INDEX {} IS {}")
            session.run(say.format(session.table(names[place]), sql.Literal(text)))
    for place, column, target in ((p, c, t) for p, ts in targets.items() for c, t in ts.items()):
        if place in names:
            alter = sql.SQL("ALTER INDEX {} ALTER COLUMN {} SET STATISTICS {}")
            values = (sql.Literal(int(column)), sql.Literal(int(target)))
            session.run(alter.format(session.table(names[place]), *values))
    chosen = {
        "CLUSTER ON": section.get("clustered"),
        "REPLICA IDENTITY USING INDEX": section.get("replica_identity", {}).get("index"),
    }
    for words, place in chosen.items():
        if place in names:
            alter = sql.SQL("ALTER TABLE {} {} {}")
            index = sql.Identifier(names[place])
            session.run(alter.format(session.table(table), verbatim(words), index))


def _indexes(session: Session, table: str) -> list[tuple[Any, ...]]:
    return session.rows(INDEXES.format(table=_oid(session, table)))


def _oid(session: Session, table: str) -> sql.Composed:
    return qualified("{}::regclass::oid").format(sql.Literal(session.table(table).as_string()))


def _complete_statistics(
    session: Session, section: Section, *, root: str, table: str, quoted: str
) -> None:
    there = {derived(r[0], root) for r in _all_statistics(session, _oid(session, table))}
    for part in section.get("statistics", []):
        if part["name"] in there:
            continue
        name = session.table(free_statistics(session, part["name"], root))
        kinds = ", ".join(kind for kind in part["kinds"] if kind in KINDS.values())
        columns = verbatim(with_table(part["columns"], quoted))
        create = sql.SQL("CREATE STATISTICS {} {} ON {} FROM {}")
        words = verbatim(f"({kinds})" if kinds else "")
        session.define(create.format(name, words, columns, session.table(table)))
        if "target" in part:
            alter = sql.SQL("ALTER STATISTICS {} SET STATISTICS {}")
            session.run(alter.format(name, sql.Literal(int(part["target"]))))
        if "comment" in part:
            say = sql.SQL("COMMENT ON STATISTICS {} IS {}")
            session.run(say.format(name, sql.Literal(part["comment"])))


TAKEN = qualified("""
    SELECT EXISTS (SELECT FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace
        WHERE n.nspname = {schema} AND s.stxname = {name})
""")


def free_statistics(session: Session, name: str, root: str) -> str:
    """A name for a statistics object of a collection's table that none has yet."""
    name_there = placed(name, root, taken=False)
    query = TAKEN.format(schema=sql.Literal(session.schema), name=sql.Literal(name_there))
    return placed(name, root, taken=bool(session.one(query)))


def _complete_not_nulls(session: Session, section: Section, *, root: str, table: str) -> None:
    rows = session.rows(NOT_NULLS.format(table=_oid(session, table)))
    there = {row[0]: row[1] for row in rows}
    for part in section.get("not_nulls", []):
        column, target = part["name"], session.table(table)
        constraint = part.get("constraint", f"{{table}}_{column}_not_null")
        name = there.get(column, placed(constraint, root, taken=False))
        if column not in there and part.get("validated") is False:
            add = sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} NOT NULL {} {} NOT VALID")
            alone = sql.SQL("NO INHERIT" if part.get("no_inherit") else "")
            session.run(add.format(target, sql.Identifier(name), sql.Identifier(column), alone))
        if "comment" in part and (column in there or part.get("validated") is False):
            say = sql.SQL("COMMENT ON CONSTRAINT {} ON {} IS {}")
            session.run(say.format(sql.Identifier(name), target, sql.Literal(part["comment"])))
