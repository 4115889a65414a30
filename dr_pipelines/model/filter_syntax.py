"""Filters as people type them: `product = "search" and not (groups contains "eng")`.

    expression := conjunction ("or" conjunction)*
    conjunction := negation ("and" negation)*
    negation := "not" negation | "(" expression ")" | "true" | "false" | comparison
    comparison := field ("=" | "!=" | "<" | "<=" | ">" | ">=") value
                | field "in" "(" value ("," value)* ")"
                | field "contains" value

Values are quoted strings (with `\\\\ \\" \\' \\n \\r \\t \\uXXXX`), numbers, true and
false; a time is a quoted ISO 8601 string with its offset. A field named like a word of the language
goes in backquotes.

Six rules are less than the configuration of a parser generator, and errors can name the type that a
field expects: no dependency is worth it.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar, assert_never

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.collection import CollectionSpec, Field, FieldType
from dr_pipelines.model.filter_check import (
    EXPECTED,
    MAX_DEPTH,
    checked_filter,
    checked_value,
    filterable_field,
)
from dr_pipelines.model.query import (
    And,
    Contains,
    Equals,
    Filter,
    In,
    Not,
    Or,
    Range,
    Scalar,
)

T = TypeVar("T")

WORDS = frozenset(["and", "or", "not", "in", "contains", "true", "false"])
COMPARISONS = ("=", "!=", "<", "<=", ">", ">=", "in", "contains")
TOKEN = re.compile(
    r"""(?P<space>\s+)
    |(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<number>[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)
    |(?P<field>`[A-Za-z_][A-Za-z0-9_]*`)
    |(?P<word>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<mark>!=|<=|>=|[=<>(),])""",
    re.VERBOSE | re.DOTALL,
)
ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", '"': '"', "'": "'"}


@dataclass(frozen=True, slots=True)
class Token:
    kind: str
    text: str
    position: int

    def __str__(self) -> str:
        return "the end" if self.kind == "end" else f"`{self.text}`"


def parse_filter(text: str, spec: CollectionSpec) -> Filter:
    """Read a filter for a collection; `not` binds tighter than `and`, `and` tighter than `or`.

    Raises:
        InvalidRequest: with the position (from 1), what was found there and what was expected.
    """
    parser = _Parser(text, spec)
    parsed = parser.expression(depth=0)
    parser.expect_end()
    return checked_filter(parsed, spec)


def format_filter(filter: Filter) -> str:
    """Write a filter so that `parse_filter` reads one that matches the same records."""
    match filter:
        case And(filters):
            return _joined(filters, " and ", empty="true")
        case Or(filters):
            return _joined(filters, " or ", empty="false")
        case Not(inner):
            return f"not ({format_filter(inner)})"
        case Equals(field, value):
            return f"{_name(field)} = {_literal(value)}"
        case In(field, values):
            listed = ", ".join(_literal(v) for v in values)
            return f"{_name(field)} in ({listed})" if values else "false"
        case Contains(field, value):
            return f"{_name(field)} contains {_literal(value)}"
        case Range(field, gte, gt, lte, lt):
            bounds = ((">=", gte), (">", gt), ("<=", lte), ("<", lt))
            parts = [f"{_name(field)} {mark} {_literal(v)}" for mark, v in bounds if v is not None]
            return f"({' and '.join(parts)})"
        case _:
            assert_never(filter)


def _joined(filters: tuple[Filter, ...], word: str, *, empty: str) -> str:
    return f"({word.join(format_filter(f) for f in filters)})" if filters else empty


def _name(field: str) -> str:
    return f"`{field}`" if field in WORDS else field


def _literal(value: Scalar) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value).replace("inf", "1e999")
    if isinstance(value, int):
        return str(value)
    text = value.isoformat() if isinstance(value, datetime) else value
    for character, escape in (("\\", "\\\\"), ('"', '\\"')):
        text = text.replace(character, escape)
    return f'"{text}"'


class _Parser:
    """Recursive descent over a list of tokens."""

    def __init__(self, text: str, spec: CollectionSpec) -> None:
        self._spec = spec
        self._tokens = _tokens(text)
        self._next = 0

    def expression(self, *, depth: int) -> Filter:
        parts = self._separated("or", lambda: self._conjunction(depth))
        return parts[0] if len(parts) == 1 else Or(parts)

    def expect_end(self) -> None:
        if self._peek().kind != "end":
            raise _unexpected(self._peek(), "`and`, `or` or the end")

    def _conjunction(self, depth: int) -> Filter:
        parts = self._separated("and", lambda: self._negation(depth))
        return parts[0] if len(parts) == 1 else And(parts)

    def _separated(self, word: str, part: Callable[[], Filter]) -> tuple[Filter, ...]:
        parts = [part()]
        while self._accept("word", word):
            parts.append(part())
        return tuple(parts)

    def _negation(self, depth: int) -> Filter:
        if depth > MAX_DEPTH:
            raise _unexpected(self._peek(), f"no nesting deeper than {MAX_DEPTH}")
        if self._accept("word", "not"):
            return Not(self._negation(depth + 1))
        if self._accept("mark", "("):
            inner = self.expression(depth=depth + 1)
            self._expect(")")
            return inner
        if self._accept("word", "true"):
            return And(())
        if self._accept("word", "false"):
            return Or(())
        return self._comparison()

    def _comparison(self) -> Filter:
        token = self._take()
        if token.kind != "field" and (token.kind != "word" or token.text in WORDS):
            raise _unexpected(token, "a field, `not` or `(`")
        field = self._at(token, lambda: filterable_field(token.text.strip("`"), self._spec))
        mark = self._take()
        if mark.kind not in ("mark", "word") or mark.text not in COMPARISONS:
            raise _unexpected(mark, "one of " + " ".join(COMPARISONS))
        comparison = self._compared(field, mark.text)
        return self._at(mark, lambda: checked_filter(comparison, self._spec))

    def _compared(self, field: Field, mark: str) -> Filter:
        if mark == "in":
            return In(field.name, self._list(field))
        value = self._value(field)
        match mark:
            case "=":
                return Equals(field.name, value)
            case "!=":
                return Not(Equals(field.name, value))
            case "contains":
                return Contains(field.name, str(value))
            case "<":
                return Range(field.name, lt=value)
            case "<=":
                return Range(field.name, lte=value)
            case ">":
                return Range(field.name, gt=value)
            case _:
                return Range(field.name, gte=value)

    def _list(self, field: Field) -> tuple[Scalar, ...]:
        self._expect("(")
        values = [self._value(field)]
        while self._accept("mark", ","):
            values.append(self._value(field))
        self._expect(")")
        return tuple(values)

    def _value(self, field: Field) -> Scalar:
        token = self._take()
        value = _read_value(token, field)
        return self._at(token, lambda: checked_value(field, value))

    def _at(self, token: Token, check: Callable[[], T]) -> T:
        try:
            return check()
        except InvalidRequest as error:
            raise InvalidRequest(f"filter, position {token.position}: {error}") from None

    def _peek(self) -> Token:
        return self._tokens[self._next]

    def _take(self) -> Token:
        token = self._peek()
        self._next += token.kind != "end"
        return token

    def _accept(self, kind: str, text: str) -> bool:
        accepted = self._peek().kind == kind and self._peek().text == text
        self._next += accepted
        return accepted

    def _expect(self, text: str) -> None:
        if not self._accept("mark", text):
            raise _unexpected(self._peek(), f"`{text}`")


def _tokens(text: str) -> list[Token]:
    tokens, at = [], 0
    while at < len(text):
        match = TOKEN.match(text, at)
        if match is None:
            problem = "an unclosed quote" if text[at] in "\"'`" else f"`{text[at]}`"
            expected = "a field, a value, a comparison or a parenthesis"
            raise InvalidRequest(f"filter, position {at + 1}: found {problem}, expected {expected}")
        if match.lastgroup and match.lastgroup != "space":
            tokens.append(Token(match.lastgroup, match.group(), at + 1))
        at = match.end()
    return [*tokens, Token("end", "", len(text) + 1)]


def _read_value(token: Token, field: Field) -> Scalar:
    if token.kind == "string":
        text = ESCAPE.sub(lambda m: _unescaped(m.group(1), token), token.text[1:-1])
        return _read_time(text, token) if field.type is FieldType.TIMESTAMP else text
    if token.kind == "number":
        return int(token.text) if re.fullmatch(r"[-+]?\d{1,400}", token.text) else float(token.text)
    if token.kind == "word" and token.text in ("true", "false"):
        return token.text == "true"
    quotes = ", quoted" if field.type in (FieldType.STRING, FieldType.STRINGS) else ""
    raise _unexpected(token, EXPECTED[field.type] + quotes)


def _unescaped(escape: str, token: Token) -> str:
    if len(escape) == 5:
        return chr(int(escape[1:], 16))
    if escape not in ESCAPES:
        escapes = " ".join(f"\\{key}" for key in ESCAPES)
        raise _unexpected(token, f"one of the escapes {escapes} \\uXXXX, not \\{escape}")
    return ESCAPES[escape]


def _read_time(text: str, token: Token) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise _unexpected(token, 'an ISO 8601 time like "2026-01-31T12:00:00Z"') from None


def _unexpected(token: Token, expected: str) -> InvalidRequest:
    return InvalidRequest(f"filter, position {token.position}: found {token}, expected {expected}")
