"""A schema full of traps: for every function, operator, type and catalog that a store's SQL names
there is one of the same name, and others whose arguments fit better. Each raises when it runs."""

import itertools
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest
from psycopg import sql

SPRUNG = "a trap was sprung"
FEW = ("text", "name", "oid", "integer", "bigint", '"char"', "character varying")
"""Types for which a name is a trap in every combination of two."""
MANY: tuple[str, ...] = (
    *FEW,
    "boolean",
    "smallint",
    "real",
    "double precision",
    "numeric",
    "regclass",
    "bytea",
)
MANY += ("timestamp with time zone", "json", "jsonb", "text[]", "name[]", "oid[]", "int2vector")
MANY += ("oidvector", "character varying[]")
VECTORS = ("vector", "halfvec", "sparsevec", "bit")
ALWAYS = ("=", "<>", "<", "<=", ">", ">=", "||", "+", "-", "@@", "~~")
NUMBERS = ("+", "-")
FUNCTION = re.compile(r"\b(?:pg_catalog|\"?public\"?)\.\"?(\w+)\"?\(")
OPERATOR = re.compile(r"OPERATOR\([^.]+\.([^)]+)\)")
CATALOG = re.compile(r"\bpg_catalog\.(pg_\w+)\b(?!\()")
TYPE = re.compile(r"::pg_catalog\.(\w+)")
OVERLOADS = """
    SELECT p.proname, p.proretset, format_type(p.prorettype, NULL),
        array(SELECT format_type(t, NULL) FROM unnest(p.proargtypes) t)
    FROM pg_proc p WHERE p.proname = ANY (%s)
        AND p.pronamespace IN ('pg_catalog'::regnamespace, 'public'::regnamespace)
    ORDER BY p.oid
"""
PAIRS = """
    SELECT oprname, format_type(oprleft, NULL), format_type(oprright, NULL) FROM pg_operator
    WHERE oprname = ANY (%s) AND oprleft <> 0
        AND oprnamespace IN ('pg_catalog'::regnamespace, 'public'::regnamespace)
"""
BODY = f"IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '{SPRUNG}: %', '{{}}'; END $$;"


@dataclass
class Names:
    """The names that statements use."""

    statements: list[str] = field(default_factory=list)

    def matching(self, pattern: re.Pattern[str]) -> list[str]:
        return sorted({name for text in self.statements for name in pattern.findall(text)})


@contextmanager
def recorded() -> Iterator[Names]:
    """Every statement that is sent meanwhile."""
    names = Names()

    def recording(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(cursor: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
            statement = query.as_string(cursor) if isinstance(query, sql.Composable) else str(query)
            names.statements.append(statement)
            return call(cursor, query, *args, **kwargs)

        return wrapped

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(psycopg.Cursor, "execute", recording(psycopg.Cursor.execute))
        patched.setattr(psycopg.Cursor, "copy", recording(psycopg.Cursor.copy))
        yield names


def lay(native: psycopg.Connection, schema: str, names: Names) -> int:
    """Fill a schema with traps for these names, and give their number."""
    functions = list(_functions(native, names))
    operators = list(_operators(native, names))
    script = [f'SET check_function_bodies = off; SET search_path = "{schema}", pg_catalog, public;']
    script += [f"CREATE FUNCTION is_a_trap(text) RETURNS bool {BODY.format('a type')}"]
    script += functions + operators
    script += [f'CREATE TABLE "{schema}".{name} ();' for name in names.matching(CATALOG)]
    for name in names.matching(TYPE):
        check = "CHECK (is_a_trap(VALUE::pg_catalog.text))"
        script.append(f'CREATE DOMAIN "{schema}".{name} AS pg_catalog.{name} {check};')
    native.execute("\n".join([*script, "RESET search_path; RESET check_function_bodies"]).encode())
    return len(script) - 2


def _functions(native: psycopg.Connection, names: Names) -> Iterator[str]:
    done = set[str]()
    for name, many, result, args in native.execute(
        OVERLOADS, [names.matching(FUNCTION)]
    ).fetchall():
        returns = (
            "text" if result.startswith("any") or result in ("trigger", "internal") else result
        )
        if result == "record":
            continue
        for arguments in _arguments(args):
            signature = f'"{name}"({", ".join(arguments)})'
            if signature not in done:
                done.add(signature)
                kind = "SETOF " if many else ""
                yield (
                    f'CREATE FUNCTION "{name}"({", ".join(arguments)}) RETURNS {kind}{returns} '
                    + (BODY.format(signature.replace("'", "")))
                )


def _arguments(types: list[str]) -> Iterator[tuple[str, ...]]:
    """The arguments of an overload, and others that may fit better: those of each type in one
    place, of few types in two, and one or two more where any number is taken."""
    special = ("any", '"any"', "internal", "cstring")
    plain = tuple("text" if g.startswith("any") or g in special else g for g in types)
    if not plain:
        return
    yield plain
    for place, kind in itertools.product(range(len(plain)), (*MANY, *VECTORS)):
        yield (*plain[:place], kind, *plain[place + 1 :])
    if len(plain) == 2:
        yield from itertools.product(FEW, FEW)
    if types[-1] in special:
        for more in (1, 2):
            yield from ((*plain[:-1], *kinds) for kinds in itertools.product(FEW, repeat=more))


def _operators(native: psycopg.Connection, names: Names) -> Iterator[str]:
    operators = sorted({*ALWAYS, *names.matching(OPERATOR)})
    pairs = {tuple(row) for row in native.execute(PAIRS, [operators]).fetchall()}
    pairs |= {(name, *kinds) for name in operators for kinds in itertools.product(MANY, FEW)}
    done = set[str]()
    for name, left, right in sorted(pairs):
        if left.startswith("any") or right.startswith("any"):
            continue
        if left in ("text[]", "record") and name == "||":
            continue
        result = "bool"
        if name == "||":
            result = "text"
        elif name in NUMBERS:
            result = "int4"
        elif name in ("<->", "<#>", "<=>", "<+>", "<~>", "<%>"):
            result = "float8"
        function = f"is_a_trap_{result}"
        if f"{result}({left}, {right})" not in done:
            done.add(f"{result}({left}, {right})")
            body = BODY.format(f"{left}, {right}")
            yield f"CREATE FUNCTION {function}({left}, {right}) RETURNS {result} {body}"
        operands = f"LEFTARG = {left}, RIGHTARG = {right}"
        yield f"CREATE OPERATOR {name} ({operands}, FUNCTION = {function});"
