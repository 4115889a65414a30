"""Definitions as pieces: the expressions in them, which only the server reads, and the words around
them, of which nothing but names, constants and known keywords is let through.

A definition comes from a repository that somebody may have forged. What it may not do is bring more
than it says: a second clause, a second action, a comment that swallows what follows.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from dr_pipelines.errors import InvalidRequest

TOKENS = re.compile(
    r"""(?P<string>[eE]'(?:[^'\\]|''|\\.)*'|[bBxX]?'(?:[^']|'')*')
    |(?P<name>"(?:[^"]|"")+"|[A-Za-z_][A-Za-z0-9_$]*)
    |(?P<number>[0-9][0-9.eE]*)
    |(?P<space>[ \t\r\n]+)
    |(?P<table>\{table\})
    |(?P<operator>[-+*/<>=~!@\#%^&|`?]+|::?)
    |(?P<mark>[][(),.])""",
    re.VERBOSE | re.DOTALL,
)
ELEMENTS = frozenset(["UNIQUE", "KEY", "DISTINCT", "RANGE", "LIST", "HASH"])
EXPRESSION = frozenset(["CHECK", "WHERE"])
NAMES = frozenset(["INCLUDE", "REFERENCES", "NULL"])
CONSTANTS = frozenset(["IN", "FROM", "TO", "WITH"])
KEYWORDS = (
    ELEMENTS
    | EXPRESSION
    | NAMES
    | CONSTANTS
    | frozenset(
        [
            "EXCLUDE",
            "USING",
            "PRIMARY",
            "FOREIGN",
            "NULLS",
            "NOT",
            "VALID",
            "NO",
            "INHERIT",
            "ENFORCED",
            "DEFERRABLE",
            "INITIALLY",
            "DEFERRED",
            "IMMEDIATE",
            "TABLESPACE",
            "INDEX",
            "FOR",
            "VALUES",
            "DEFAULT",
            "MATCH",
            "FULL",
            "PARTIAL",
            "SIMPLE",
            "ON",
            "DELETE",
            "UPDATE",
            "CASCADE",
            "RESTRICT",
            "SET",
            "ACTION",
            "WITHOUT",
            "OVERLAPS",
        ]
    )
)
NAMING = frozenset(["USING", "TABLESPACE", "REFERENCES"])
"""Words behind which a name stands."""
IN_BOUNDS = frozenset(
    ["NULL", "TRUE", "FALSE", "MINVALUE", "MAXVALUE", "MODULUS", "REMAINDER", "ON", "OFF"]
)


@dataclass(frozen=True, slots=True)
class Token:
    """A word of a definition, with the kind of word that it is."""

    kind: str
    text: str

    @property
    def word(self) -> str:
        """A keyword in capitals; a quoted name is none."""
        return self.text.upper() if self.kind == "name" and self.text[0] != '"' else ""


@dataclass(frozen=True, slots=True)
class Group:
    """The tokens within parentheses."""

    nodes: "tuple[Token | Group, ...]"

    @property
    def inner(self) -> str:
        """Its text, without the parentheses."""
        return written(self.nodes)


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a definition. An `expression` is in parentheses that are parts of their own, or
    needs none where it is: what takes its place has some."""

    text: str
    expression: bool = False


def written(nodes: "Sequence[Token | Group]") -> str:
    """The text of nodes, as it came."""
    return "".join(f"({n.inner})" if isinstance(n, Group) else n.text for n in nodes)


def joined(pieces: Sequence[Piece]) -> str:
    """The definition of its pieces."""
    return "".join(piece.text for piece in pieces)


def tokens(text: str) -> list[Token]:
    """The words of a definition or an expression.

    Raises:
        InvalidRequest: it has what the server never writes: a comment, the end of a statement,
            a dollar quote, an escaped quote, a character outside of quotes that no name has.
    """
    words, place = list[Token](), 0
    while place < len(text):
        match = TOKENS.match(text, place)
        if match is None or match.lastgroup is None:
            raise _refused(text, f"{text[place : place + 9]!r} is nothing that the server writes")
        word = match.group()
        if match.lastgroup == "operator" and ("--" in word or "/*" in word):
            raise _refused(text, "it has a comment")
        words.append(Token(match.lastgroup, word))
        place = match.end()
    for before, after in pairwise(words):
        if before.word == "U" and after.text.startswith("&"):
            raise _refused(text, "it has an escaped quote")
    return words


def tree(text: str) -> "tuple[Token | Group, ...]":
    """The words of a definition, with what is in parentheses as one.

    Raises:
        InvalidRequest: a parenthesis is closed that was not opened, or the other way round.
    """
    open_: list[list[Token | Group]] = [[]]
    for token in tokens(text):
        if token.text == "(":
            open_.append([])
        elif token.text == ")":
            if len(open_) == 1:
                raise _refused(text, "it closes what it did not open")
            group = Group(tuple(open_.pop()))
            open_[-1].append(group)
        else:
            open_[-1].append(token)
    if len(open_) > 1:
        raise _refused(text, "it does not close what it opens")
    return tuple(open_[0])


def pieces_of(text: str) -> tuple[Piece, ...]:
    """A constraint, the definition of an index from USING on, a partition key or a bound.

    Raises:
        InvalidRequest: it is none of these, or more than one.
    """
    nodes = tree(text)
    pieces, last, naming = list[Piece](), "", False
    for place, node in enumerate(nodes):
        if isinstance(node, Group):
            pieces += _group(node, last, text)
            naming = False
            continue
        pieces.append(Piece(node.text))
        if node.kind == "space":
            continue
        if naming and (node.kind in ("name", "table") or node.text == "."):
            last = "INCLUDE" if last in ("REFERENCES", "INCLUDE") else "DISTINCT"
            naming = node.text == "." or last == "INCLUDE"
        elif node.word == "WHERE" and nodes[0] == Token("name", "USING"):
            rest = written(nodes[place + 1 :]).strip()  # the last part, with parentheses or without
            return (*pieces, Piece(" "), Piece(rest, expression=True))
        elif node.word in KEYWORDS:
            last, naming = node.word, node.word in NAMING
        else:
            raise _refused(text, f"{node.text!r} has no place in it")
    return tuple(pieces)


def elements_of(text: str) -> tuple[Piece, ...]:
    """Columns and expressions with commas between them, as statistics have them.

    Raises:
        InvalidRequest: it is something else.
    """
    pieces = list[Piece]()
    for number, element in enumerate(_split(tree(text))):
        pieces.append(Piece(", " if number else ""))
        pieces += _element(element, text)
    return tuple(pieces)


def _group(node: Group, last: str, text: str) -> Iterator[Piece]:
    yield Piece("(")
    if last in EXPRESSION:
        yield Piece(node.inner, expression=True)
        yield Piece(")")
        return
    if last in ELEMENTS:
        for number, element in enumerate(_split(node.nodes)):
            yield Piece(", " if number else "")
            yield from _element(element, text)
    elif last in NAMES or last in CONSTANTS:
        _require_plain(node.nodes, text, names=last not in ("IN", "FROM", "TO"))
        yield Piece(node.inner)
    else:
        raise _refused(text, f"({node.inner}) has no place in it")
    yield Piece(")")


def _split(nodes: "Sequence[Token | Group]") -> "Iterator[list[Token | Group]]":
    part: list[Token | Group] = []
    for node in nodes:
        if isinstance(node, Token) and node.text == ",":
            yield part
            part = []
        elif part or isinstance(node, Group) or node.kind != "space":
            part.append(node)
    yield part


def _element(nodes: "list[Token | Group]", text: str) -> Iterator[Piece]:
    """A column, a call or an expression in parentheses; then names, such as a collation and an
    operator class, with their settings, and operators after WITH."""
    end = _call(nodes)
    if nodes and isinstance(nodes[0], Group):
        yield Piece("(")
        yield Piece(nodes[0].inner, expression=True)
        yield Piece(")")
        end = 1
    elif end:
        yield Piece(written(nodes[:end]), expression=True)
    last = ""
    for node in nodes[end:]:
        if isinstance(node, Group):
            _require_plain(node.nodes, text, names=True, operators=last == "OPERATOR")
        elif not _follows(node, last):
            raise _refused(text, f"{node.text!r} has no place in it")
        elif node.kind != "space":
            last = node.word
        yield Piece(f"({node.inner})" if isinstance(node, Group) else node.text)


def _follows(node: Token, last: str) -> bool:
    """True if a word may follow a column or an expression: a name, or an operator after WITH."""
    if node.kind == "operator":
        return last == "WITH"
    return node.kind in ("name", "space", "table") or node.text == "."


def _call(nodes: "list[Token | Group]") -> int:
    """How many nodes are a call of a function by its name; 0 where none is."""
    for place, node in enumerate(nodes):
        if isinstance(node, Group):
            return place + 1 if place else 0
        if node.kind != "name" and node.text != ".":
            return 0
    return 0


def _require_plain(
    nodes: "Sequence[Token | Group]", text: str, *, names: bool, operators: bool = False
) -> None:
    """Constants, and names where they have a place: nothing that is evaluated."""
    for node in nodes:
        signs = isinstance(node, Token) and (operators or node.text in ("-", "+", "="))
        is_plain = isinstance(node, Token) and (
            node.kind in ("string", "number", "space")
            or node.text in (",", ".")
            or (node.kind == "operator" and signs)
            or (node.kind == "name" and (names or node.word in IN_BOUNDS))
        )
        if not is_plain:
            raise _refused(text, f"{written([node])!r} has no place in it")


def identifiers(text: str) -> frozenset[str]:
    """Names in a definition, as the catalogs have them, and its operators."""
    names = set[str]()
    for token in tokens(text):
        if token.kind == "name":
            quoted = token.text[0] == '"'
            names.add(token.text[1:-1].replace('""', '"') if quoted else token.text.lower())
        elif token.kind == "operator":
            names.add(token.text)
    return frozenset(names)


def _refused(text: str, why: str) -> InvalidRequest:
    shown = text if len(text) <= 200 else f"{text[:200]}…"
    return InvalidRequest(f"a definition is not one that the server writes: {why}: {shown}")
