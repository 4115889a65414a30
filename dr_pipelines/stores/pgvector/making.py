"""A table from a specification: all but its indexes, which are built when it holds its rows, and
the rights of others, which come last (`opening`)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from psycopg import sql

from dr_pipelines.errors import AlreadyExists, InvalidRequest
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.planning.parts import OWN_NAME
from dr_pipelines.stores.pgvector.catalog import tables, taken
from dr_pipelines.stores.pgvector.columns import own_columns
from dr_pipelines.stores.pgvector.connections import Session
from dr_pipelines.stores.pgvector.details import free_statistics, not_null
from dr_pipelines.stores.pgvector.inline import inline_options
from dr_pipelines.stores.pgvector.label import (
    Label,
    holder,
    write_label,
    write_statistics_label,
)
from dr_pipelines.stores.pgvector.names import placed, table_of, with_table
from dr_pipelines.stores.pgvector.rights import revoke_defaults
from dr_pipelines.stores.pgvector.statements import qualified, verbatim

Section = dict[str, Any]
ENGINE = "pgvector"
AS_IT_WAS = "table"
"""The layout of a table that somebody else made."""
REQUIRED = frozenset(["id", "document_id", "chunk_index"])
QUOTED = qualified("SELECT pg_catalog.quote_ident({})")


@contextmanager
def as_described(name: str) -> Iterator[None]:
    """A section may come from anywhere: one that lacks what a description has is the caller's
    mistake.

    Raises:
        InvalidRequest: something that is looked for in it is missing or of another type.
    """
    try:
        yield
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InvalidRequest(
            f"{name!r}: the section {ENGINE!r} is not one that a description gives: {error!r}"
        ) from error


def section_of(spec: CollectionSpec) -> Section:
    """The engine's own section of a specification."""
    section: Section = spec.engine.get(ENGINE, {})
    return section


def require_extension(session: Session) -> sql.Composed | None:
    """Make pgvector where the database lacks it; what was executed for that."""
    if session.extension is not None:
        return None
    command = sql.SQL("CREATE EXTENSION IF NOT EXISTS vector SCHEMA {}").format(
        sql.Identifier(session.schema)
    )
    session.run(command)
    session.load_extension()
    return command


def make_table(session: Session, spec: CollectionSpec) -> None:
    """Create the table of a collection, with its label, in the session's transaction.

    Raises:
        AlreadyExists: something else has the name.
        InvalidRequest: a part of the section is not what `describe` gives, or names what is not
            there.
    """
    section = section_of(spec)
    name = table_of(spec.name, section.get(OWN_NAME))
    if taken(session, name):
        raise AlreadyExists(f"{spec.name!r} is taken in this schema; choose another name")
    with as_described(spec.name):
        as_it_was = section.get("layout") == AS_IT_WAS
        lines = _as_it_was(section, table=name) if as_it_was else _own(session, spec)
        own = {} if as_it_was else inline_options(session, spec)
        _create(session, name, lines, section, own=own)
        if as_it_was:
            _sequences(session, name, section)
            _partitions(session, name, name, section.get("partitions", {}))
        _constraints(session, name, section, root=name)
        _key_index(session, name, section)
        _comments(session, name, section)
        _replica_identity(session, name, section)
        write_key_label(session, name, Label(spec, indexed=False))
        revoke_defaults(session, name)


def quoted_name(session: Session, name: str) -> str:
    """A name as the server writes it in definitions."""
    return str(session.one(QUOTED.format(sql.Literal(name))))


def _own(session: Session, spec: CollectionSpec) -> list[sql.Composable]:
    vector = session.extension.vector if session.extension else 0
    lines: list[sql.Composable] = [
        sql.SQL("{} {}{}").format(
            column.identifier,
            verbatim(column.type),
            sql.SQL(" NOT NULL" if column.name in REQUIRED else ""),
        )
        for column in own_columns(spec, vector_oid=vector)
    ]
    return [*lines, sql.SQL("PRIMARY KEY (id)")]


def _as_it_was(section: Section, *, table: str) -> list[sql.Composable]:
    """Columns with everything that is said of them; keys come with the constraints."""
    return [_column(column, section, table=table) for column in section["columns"]]


def _column(column: Section, section: Section, *, table: str) -> sql.Composable:
    name = column["name"]
    parts: list[sql.Composable] = [sql.Identifier(name), verbatim(column["type"])]
    if "storage" in column:
        parts += [sql.SQL("STORAGE"), verbatim(column["storage"])]
    for key, word in (("compression", "COMPRESSION"), ("collation", "COLLATE")):
        if key in column:
            parts += [verbatim(word), verbatim(column[key])]
    if column.get("not_null"):
        parts.append(not_null(section, name, root=table))
    if name in section.get("defaults", {}):
        parts.append(sql.SQL("DEFAULT ({})").format(verbatim(section["defaults"][name])))
    if name in section.get("generated", {}):
        how = section["generated"][name]
        kind = sql.SQL("STORED" if how["stored"] else "VIRTUAL")
        expression = verbatim(how["expression"])
        parts.append(sql.SQL("GENERATED ALWAYS AS ({}) {}").format(expression, kind))
    identity = section.get("identity", {}).get(name)
    if identity is not None and identity["generated"] != "serial":
        always = sql.SQL("ALWAYS" if identity["generated"] == "always" else "BY DEFAULT")
        options = sequence_options(identity)
        parts.append(sql.SQL("GENERATED {} AS IDENTITY ({})").format(always, options))
    return sql.SQL(" ").join(parts)


def _create(
    session: Session,
    name: str,
    lines: list[sql.Composable],
    section: Section,
    *,
    own: dict[str, str],
) -> None:
    storage, key = section.get("storage", {}), section.get("partitions", {}).get("key")
    options = own | storage.get("options", {})
    parts: list[sql.Composable] = [
        sql.SQL("CREATE {} TABLE {} ({})").format(
            sql.SQL("UNLOGGED" if storage.get("unlogged") else ""),
            session.table(name),
            sql.SQL(", ").join(lines),
        )
    ]
    if key is not None:
        parts.append(sql.SQL("PARTITION BY {}").format(verbatim(key)))
    if options:
        parts.append(sql.SQL("WITH ({})").format(_settings(options)))
    session.define(sql.SQL(" ").join(parts))
    for column in section.get("columns", []):
        _column_settings(session, name, column)


def _column_settings(session: Session, name: str, column: Section) -> None:
    alter = sql.SQL("ALTER TABLE {} ALTER COLUMN {} SET {}")
    target, place = session.table(name), sql.Identifier(column["name"])
    if "statistics" in column:
        words = sql.SQL("STATISTICS {}").format(sql.Literal(int(column["statistics"])))
        session.run(alter.format(target, place, words))
    if "options" in column:
        words = sql.SQL("({})").format(_settings(column["options"]))
        session.run(alter.format(target, place, words))


def _column_storage(session: Session, name: str, column: Section) -> None:
    """That of a partition's column: a table's own columns are made with theirs."""
    for key, word in (("storage", "STORAGE"), ("compression", "COMPRESSION")):
        if key in column:
            alter = sql.SQL("ALTER TABLE {} ALTER COLUMN {} SET {} {}")
            words = (verbatim(word), verbatim(column[key]))
            session.run(alter.format(session.table(name), sql.Identifier(column["name"]), *words))


def _settings(options: dict[str, str]) -> sql.Composed:
    return sql.SQL(", ").join(
        sql.SQL("{} = {}").format(
            sql.SQL(".").join(sql.Identifier(part) for part in key.split(".")), sql.Literal(value)
        )
        for key, value in options.items()
    )


def sequence_options(identity: Section) -> sql.Composed:
    """How a sequence counts, as SQL."""
    numbers = {
        "START WITH": "start",
        "INCREMENT BY": "increment",
        "MINVALUE": "minimum",
        "MAXVALUE": "maximum",
        "CACHE": "cache",
    }
    words: list[sql.Composable] = [
        sql.SQL("{} {}").format(verbatim(word), sql.Literal(int(identity[key])))
        for word, key in numbers.items()
    ]
    return sql.SQL(" ").join([*words, sql.SQL("CYCLE" if identity["cycle"] else "NO CYCLE")])


def _sequences(session: Session, name: str, section: Section) -> None:
    """Sequences of serial columns; those of identity columns came with them."""
    for column, identity in section.get("identity", {}).items():
        if identity["generated"] != "serial":
            continue
        intended = placed(identity["name"], name, taken=False)
        sequence = placed(identity["name"], name, taken=taken(session, intended))
        target, place = session.table(sequence), sql.Identifier(column)
        session.run(
            sql.SQL("CREATE SEQUENCE {} AS {} {}").format(
                target, verbatim(identity["type"]), sequence_options(identity)
            )
        )
        session.run(
            qualified("ALTER TABLE {} ALTER COLUMN {} SET DEFAULT nextval({}::regclass)").format(
                session.table(name), place, sql.Literal(target.as_string())
            )
        )
        owned = sql.SQL("ALTER SEQUENCE {} OWNED BY {}")
        owner = sql.Identifier(session.schema, name, column)
        session.run(owned.format(target, owner))


def _partitions(session: Session, root: str, parent: str, part: Section) -> None:
    """Make the partitions of a part, and those below them."""
    for child in part.get("tables", []):
        partition = placed(child["name"], root, taken=False)
        name = placed(child["name"], root, taken=taken(session, partition))
        words: list[sql.Composable] = [
            sql.SQL("CREATE {} TABLE {} PARTITION OF {}").format(
                sql.SQL("UNLOGGED" if child.get("unlogged") else ""),
                session.table(name),
                session.table(parent),
            ),
            verbatim(child["bound"]),
        ]
        if "key" in child:
            words.append(sql.SQL("PARTITION BY {}").format(verbatim(child["key"])))
        if "options" in child:
            words.append(sql.SQL("WITH ({})").format(_settings(child["options"])))
        session.define(sql.SQL(" ").join(words))
        _of_its_own(session, name, child, root=root)
        _partitions(session, root, name, child)


def _of_its_own(session: Session, name: str, part: Section, *, root: str) -> None:
    """Settings that a partition has for itself, except rights and indexes."""
    for column in part.get("columns", []):
        _column_settings(session, name, column)
        _column_storage(session, name, column)
    _replica_identity(session, name, part)
    alter = sql.SQL("ALTER TABLE {} ALTER COLUMN {} {}")
    target = session.table(name)
    for column, expression in part.get("defaults", {}).items():
        how: sql.Composable = sql.SQL("DROP DEFAULT")
        if expression is not None:
            how = sql.SQL("SET DEFAULT ({})").format(verbatim(expression))
        session.define(alter.format(target, sql.Identifier(column), how))
    named = {of_it["name"]: of_it for of_it in part.get("not_nulls", [])}
    for column in part.get("not_null", []):
        if "constraint" in named.get(column, {}):
            add = sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} NOT NULL {}")
            label = sql.Identifier(placed(named[column]["constraint"], root, taken=False))
            session.run(add.format(target, label, sql.Identifier(column)))
        elif named.get(column, {}).get("validated", True):
            session.run(alter.format(target, sql.Identifier(column), sql.SQL("SET NOT NULL")))
    _constraints(session, name, part, root=root)
    _comments(session, name, part)


def _constraints(session: Session, name: str, section: Section, *, root: str) -> None:
    quoted = quoted_name(session, name)
    for constraint in section.get("constraints", []):
        if not comes_after_rows(constraint):
            add_constraint(session, name, constraint, root=root, quoted=quoted)


def comes_after_rows(constraint: Section) -> bool:
    """A unique index is built with the other indexes; what is `NOT VALID` would refuse the rows
    that were there before it."""
    return "using" in constraint or constraint.get("validated") is False


def add_constraint(
    session: Session, name: str, constraint: Section, *, root: str, quoted: str
) -> None:
    """Add a constraint to a table, with its comment."""
    target = placed(constraint["name"], root, taken=False)
    label = placed(constraint["name"], root, taken=taken(session, target))
    definition = verbatim(with_table(constraint["definition"], quoted))
    add = sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} {}")
    session.define(add.format(session.table(name), sql.Identifier(label), definition))
    if "comment" in constraint:
        say = sql.SQL("COMMENT ON CONSTRAINT {} ON {} IS {}")
        text = sql.Literal(constraint["comment"])
        session.run(say.format(sql.Identifier(label), session.table(name), text))


def _key_index(session: Session, name: str, section: Section) -> None:
    """Where no constraint is the key, the unique index that is: ids are by it from the first row
    on."""
    key, quoted = section.get("key", []), quoted_name(session, name)
    for index in section.get("constraints", []):
        there = tables(session, names=[name])
        if there and [there[0].attribute(n).name for n in there[0].key] == key:
            return
        if "using" in index:
            using = with_table(index["using"], quoted)
            session.define(index_command(session, index["name"], using, unique=True, root=name))


def index_command(
    session: Session,
    index: str,
    using: str,
    *,
    unique: bool,
    root: str,
    partition: str | None = None,
) -> sql.Composed:
    """The statement that makes an index of a collection's table `root`, or of one of its
    partitions, under a name that is free."""
    whole = placed(index, root, taken=False)
    name = placed(index, root, taken=taken(session, whole))
    return sql.SQL("CREATE {} INDEX {} ON {} {}").format(
        sql.SQL("UNIQUE" if unique else ""),
        sql.Identifier(name),
        session.table(partition or root),
        verbatim(using),
    )


def _comments(session: Session, name: str, section: Section) -> None:
    comments = section.get("comments", {})
    if "table" in comments:
        say = sql.SQL("COMMENT ON TABLE {} IS {}")
        session.run(say.format(session.table(name), sql.Literal(comments["table"])))
    for column, text in comments.get("columns", {}).items():
        place = sql.Identifier(session.schema, name, column)
        session.run(sql.SQL("COMMENT ON COLUMN {} IS {}").format(place, sql.Literal(text)))


def _replica_identity(session: Session, name: str, section: Section) -> None:
    """That of an index is set when the indexes are built: it may be one of them."""
    words = {"full": sql.SQL("FULL"), "nothing": sql.SQL("NOTHING")}
    word = words.get(section.get("replica_identity", {}).get("rows", ""))
    if word is not None:
        set_ = sql.SQL("ALTER TABLE {} REPLICA IDENTITY {}")
        session.run(set_.format(session.table(name), word))


def write_key_label(session: Session, table: str, label: Label) -> None:
    """Set the label of a table: its key carries it, or what stands for one."""
    (labelled,) = tables(session, names=[table])
    index = next((i for i in labelled.indexes if i.id == labelled.key_index), None)
    if index is not None:
        write_label(session, index.name, label)
        return
    name = holder(session, labelled.id) or free_statistics(session, "{table}_label", table)
    write_statistics_label(session, table, name, label)
