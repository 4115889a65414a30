"""Triggers of a table and of its partitions. They are made last, when the rows and the indexes are
there, so that a restore sets off nothing; a part is words of this module, names, constants, and one
expression, its condition."""

import re
from collections.abc import Iterator
from typing import Any

from psycopg import sql

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.planning.parts import NEEDS
from dr_pipelines.stores.pgvector import clauses
from dr_pipelines.stores.pgvector.connections import Row, Session
from dr_pipelines.stores.pgvector.needs import is_there
from dr_pipelines.stores.pgvector.statements import oid, qualified, verbatim

Section = dict[str, Any]
TRIGGERS = qualified("""
    SELECT g.tgname, g.tgtype::int4,
        ARRAY(SELECT a.attname FROM pg_catalog.unnest(g.tgattr::int2[]) WITH ORDINALITY u (n, place)
            JOIN pg_attribute a ON a.attrelid = g.tgrelid AND a.attnum = u.n
            ORDER BY u.place)::text[],
        g.tgconstraint <> 0::oid, g.tgdeferrable, g.tginitdeferred,
        CASE WHEN g.tgconstrrelid <> 0::oid THEN format('%s', g.tgconstrrelid::regclass) END,
        g.tgoldtable, g.tgnewtable, g.tgargs, format('%s', g.tgfoid::regprocedure),
        g.tgenabled::text, pg_catalog.obj_description(g.oid, 'pg_trigger'),
        CASE WHEN g.tgqual IS DISTINCT FROM NULL THEN pg_catalog.pg_get_triggerdef(g.oid) END
    FROM pg_trigger g
    WHERE g.tgrelid = {table} AND NOT g.tgisinternal AND g.tgparentid = 0::oid
    ORDER BY g.tgname
""")
STATES = qualified("""
    SELECT g.tgname, g.tgenabled::text FROM pg_trigger g JOIN pg_trigger p ON p.oid = g.tgparentid
    WHERE g.tgrelid = {table} AND NOT g.tgisinternal AND g.tgenabled <> p.tgenabled
    ORDER BY g.tgname
""")
TIMES = {2: "before", 64: "instead of"}
EVENTS = {4: "insert", 8: "delete", 16: "update", 32: "truncate"}
ROW = 1
STATE = {"D": "disabled", "R": "replica", "A": "always", "O": "origin"}
ENABLE = {
    "disabled": "DISABLE",
    "replica": "ENABLE REPLICA",
    "always": "ENABLE ALWAYS",
    "origin": "ENABLE",
}
NAME = r'(?:[A-Za-z_][A-Za-z0-9_$]*|"(?:[^"]|"")+")'
QUALIFIED = re.compile(rf"{NAME}(?:\.{NAME})?")
FUNCTION = re.compile(rf"({QUALIFIED.pattern})\(\)")
MAY_MAKE = qualified("""
    SELECT pg_catalog.has_function_privilege(pg_catalog.to_regprocedure({function})::oid, 'EXECUTE')
        OR NOT pg_catalog.has_schema_privilege({schema}, 'CREATE'),
        {other} <> '' AND pg_catalog.to_regclass({other}) IS DISTINCT FROM NULL
""")


def triggers_of(session: Session, relation: int) -> list[Section]:
    """Triggers that a table or a partition has for itself."""
    return [_trigger(row) for row in session.printed(TRIGGERS.format(table=oid(relation)))]


def trigger_states(session: Session, relation: int) -> dict[str, str]:
    """Triggers that a partition has of its table and that are enabled otherwise there."""
    rows = session.rows(STATES.format(table=oid(relation)))
    return {name: STATE[enabled] for name, enabled in rows}


def _trigger(row: Row) -> Section:
    name, kind, columns, constraint, deferrable, deferred, other, *rest = row
    old, new, arguments, function, enabled, comment, definition = rest
    part: Section = {
        "name": name,
        "fires": TIMES.get(kind & sum(TIMES), "after"),
        "events": [event for bit, event in EVENTS.items() if kind & bit],
        "columns": columns,
        "each": "row" if kind & ROW else "statement",
        "constraint": constraint,
        "deferrable": deferrable,
        "deferred": deferred,
        "from": other,
        "old_rows": old,
        "new_rows": new,
        "condition": definition and _condition(definition),
        "function": function,
        "arguments": [text.decode() for text in arguments.split(b"\0")[:-1]],
        "enabled": STATE[enabled] if enabled != "O" else None,
        "comment": comment,
    }
    return {key: value for key, value in part.items() if value}


def _condition(definition: str) -> str | None:
    """The condition in the parentheses behind WHEN, which is no name unless it is quoted."""
    last = ""
    for node in clauses.tree(definition):
        if isinstance(node, clauses.Group):
            if last == "WHEN":
                return node.inner
        elif node.kind != "space":
            last = node.word
    return None


def function_of(trigger: Section) -> str:
    """The function of a trigger: a name, with its schema or without.

    Raises:
        InvalidRequest: it is something else.
    """
    match = FUNCTION.fullmatch(str(trigger["function"]))
    if match is None:
        raise InvalidRequest(
            f"trigger {trigger['name']}: {trigger['function']!r} is no function of triggers"
        )
    return match[1]


def trigger_command(trigger: Section, target: sql.Identifier) -> sql.Composed:
    """The statement that makes a trigger of a table.

    Raises:
        InvalidRequest: a part is not one that a description gives.
    """
    words: list[sql.Composable] = [
        sql.SQL("CREATE CONSTRAINT TRIGGER" if trigger.get("constraint") else "CREATE TRIGGER"),
        sql.Identifier(trigger["name"]),
        _word(trigger["fires"], (*TIMES.values(), "after")),
        sql.SQL(" OR ").join(_events(trigger)),
        sql.SQL("ON {}").format(target),
        *_deferred(trigger),
        *_transitions(trigger),
        sql.SQL("FOR EACH {}").format(_word(trigger["each"], ("row", "statement"))),
    ]
    if "condition" in trigger:
        words.append(sql.SQL("WHEN ({})").format(verbatim(trigger["condition"])))
    arguments = sql.SQL(", ").join(sql.Literal(str(text)) for text in trigger.get("arguments", []))
    called = verbatim(function_of(trigger))
    words.append(sql.SQL("EXECUTE FUNCTION {}({})").format(called, arguments))
    return sql.SQL(" ").join(words)


def _events(trigger: Section) -> Iterator[sql.Composable]:
    columns = sql.SQL(", ").join(sql.Identifier(name) for name in trigger.get("columns", []))
    for event in trigger["events"]:
        word = _word(event, EVENTS.values())
        some = event == "update" and trigger.get("columns")
        yield sql.SQL("{} OF {}").format(word, columns) if some else word


def _deferred(trigger: Section) -> Iterator[sql.Composable]:
    if "from" in trigger:
        if not QUALIFIED.fullmatch(str(trigger["from"])):
            raise InvalidRequest(f"trigger {trigger['name']}: {trigger['from']!r} is no table")
        yield sql.SQL("FROM {}").format(verbatim(trigger["from"]))
    if trigger.get("deferrable"):
        first = "DEFERRED" if trigger.get("deferred") else "IMMEDIATE"
        yield sql.SQL("DEFERRABLE INITIALLY {}").format(verbatim(first))


def _transitions(trigger: Section) -> Iterator[sql.Composable]:
    kinds = (("old_rows", "OLD TABLE AS {}"), ("new_rows", "NEW TABLE AS {}"))
    clauses = [
        sql.SQL(words).format(sql.Identifier(trigger[key]))
        for key, words in kinds
        if key in trigger
    ]
    if clauses:
        yield sql.SQL("REFERENCING {}").format(sql.SQL(" ").join(clauses))


def make_triggers(session: Session, name: str, part: Section) -> None:
    """Give a table or a partition its triggers, enabled as they were."""
    target = session.table(name)
    for trigger in part.get("triggers", []):
        session.define(trigger_command(trigger, target))
        label = sql.Identifier(trigger["name"])
        if "enabled" in trigger:
            session.run(_enabled(target, trigger["name"], trigger["enabled"]))
        if "comment" in trigger:
            say = sql.SQL("COMMENT ON TRIGGER {} ON {} IS {}")
            session.run(say.format(label, target, sql.Literal(trigger["comment"])))
    for inherited, state in part.get("trigger_states", {}).items():
        session.run(_enabled(target, inherited, state))


def _enabled(target: sql.Identifier, trigger: str, state: str) -> sql.Composed:
    alter = sql.SQL("ALTER TABLE ONLY {} {} TRIGGER {}")
    if state not in ENABLE:
        raise InvalidRequest(f"trigger {trigger}: expected one of {sorted(ENABLE)}, not {state!r}")
    return alter.format(target, verbatim(ENABLE[state]), sql.Identifier(trigger))


def obstacles(session: Session, trigger: Section, section: Section) -> str | None:
    """Why a trigger cannot be made here, where it cannot: something that it calls is not there, or
    is not this user's to call. `section` is that of the whole collection.

    Raises:
        InvalidRequest: a part is not one that a description gives.
    """
    trigger_command(trigger, session.table(""))
    for need in section.get(NEEDS, []):
        if trigger["name"] in need.get("triggers", []) and not is_there(session, need):
            made = f"; make it first: {need['definition']}" if "definition" in need else ""
            return f"{need['name']} is not in this database{made}"
    function, other = (sql.Literal(str(trigger.get(key, ""))) for key in ("function", "from"))
    query = MAY_MAKE.format(function=function, other=other, schema=sql.Literal(session.schema))
    ((may, there),) = session.printed(query)
    if "from" in trigger and not there:
        return f"table {trigger['from']} is not in this database"
    if may is None:
        return f"function {trigger['function']} is not in this database"
    return None if may else f"this user may not call function {trigger['function']}"


def _word(word: str, words: Any) -> sql.Composable:
    if word not in words:
        raise InvalidRequest(f"a trigger: expected one of {', '.join(words)}, not {word!r}")
    return verbatim(word.upper())
