"""How SQL is written in this package, so that none of it runs what a tenant of the database wrote.

- A session's `search_path` is empty. `Session.definitions` sets the long one, and only while the
  server prints a definition or executes one (CREATE, ALTER, COPY FROM).
- Every statement, and every piece of one, passes through `qualified`, which writes the schema in
  front of each function, type, catalog and operator: `a.oid = b.oid` becomes
  `a.oid OPERATOR(pg_catalog.=) b.oid`. So nothing depends on the path, long or empty. An operator
  stands between blanks; a call has no blank before its parenthesis. The extension's names are
  written with its own schema: `{extension}.vector_dims({column})`.
- There is no way to say whose operator is meant in `BETWEEN`, `NULLIF`, `NOT IN`, `LIKE`,
  `CASE x WHEN`, `JOIN … USING`, `a IS DISTINCT FROM b`: they are not used, and `qualified` refuses
  them. `IN` becomes `= ANY`; `IS DISTINCT FROM NULL` asks for no operator.
- A value is cast only where its type is the engine's or the extension's (`Attribute.plain`): a cast
  of somebody's type is somebody's function, and so is an implicit one, to call a function or an
  operator with it. Other values come out through `SHOWN` (`format('%s', …)`, the output function)
  and go in as literals or by COPY, which is the input function.
"""

import re
from functools import cache
from typing import LiteralString

from psycopg import sql

LITERAL = re.compile(r"('(?:[^']|'')*'|\"(?:[^\"]|\"\")*\")")
SYNTAX = frozenset(["array", "coalesce", "exists"])
"""What looks like a call and is none: it asks for no operator by name."""
NAMELESS = re.compile(
    r"\bBETWEEN\b|\bNULLIF\b|\bIN \(|\bI?LIKE\b|\bSIMILAR\b|\bCASE\b(?!\s+WHEN\b)|\bUSING \(|"
    r"\bDISTINCT FROM (?!NULL\b)",
    re.IGNORECASE,
)
LIST = re.compile(r"(?<!NOT )\bIN \(\s*('[^()]*)\)")
QUERY = re.compile(r"(?<!NOT )\bIN \(\s*SELECT\b")
OPERATOR = re.compile(r"(?<=\s)(<>|<=|>=|<|>|=|\|\||\+|-|@@)(?=\s)")
TYPE = re.compile(r"::(?=[a-z])(?!pg_catalog\.)")
CATALOG = re.compile(r"(?<![.\w])pg_(?!catalog\.|temp\b)(?=\w+\b(?!\())")
CALL = re.compile(r"(?<![.\w\"])([a-z]\w*)\(")


@cache
def qualified(text: LiteralString) -> sql.SQL:
    """A template of SQL with the engine's schema before each name that has none.

    Raises:
        ValueError: a form of SQL whose operators cannot be given a schema.
    """
    whole = QUERY.sub("= ANY (SELECT", LIST.sub(r"= ANY (ARRAY[\1])", text))
    if nameless := NAMELESS.search(LITERAL.sub("''", whole)):
        raise ValueError(f"{nameless[0]!r} looks for an operator by its name alone")
    parts = LITERAL.split(whole.replace('COLLATE "C"', 'COLLATE pg_catalog."C"'))
    parts[::2] = [_qualified(part) for part in parts[::2]]
    return sql.SQL("".join(parts))


def _qualified(part: str) -> str:
    part = OPERATOR.sub(r"OPERATOR(pg_catalog.\1)", part)
    part = TYPE.sub("::pg_catalog.", part)
    part = CATALOG.sub("pg_catalog.pg_", part)
    return CALL.sub(lambda call: call[0] if call[1] in SYNTAX else f"pg_catalog.{call[0]}", part)


def verbatim(text: str) -> sql.SQL:
    """SQL that the server itself wrote, as it is: a definition from its catalogs."""
    return sql.SQL(text)


def text_array(values: list[str]) -> sql.Composed:
    """An array of texts."""
    return qualified("{}::text[]").format(sql.Literal(values))


def oids(values: list[int]) -> sql.Composed:
    """An array of the numbers of objects."""
    literal = sql.Literal("{" + ",".join(map(str, values)) + "}")
    return qualified("{}::oid[]").format(literal)


def oid(value: int) -> sql.Composed:
    """The number of an object."""
    return qualified("{}::oid").format(sql.Literal(str(value)))


SHOWN = qualified("CASE WHEN {0} IS DISTINCT FROM NULL THEN format('%s', {0}) END")
"""A value of any type as text, as its output function writes it: a cast may be somebody's. A row is
null where all its values are, but for `IS DISTINCT FROM`."""
