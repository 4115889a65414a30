"""Names of collections and of tables.

A table's name has at most 63 bytes, that of a collection of ours up to 104 characters: a longer one
is cut, with a digest behind it, and the label of the table has it whole. A table that somebody else
made may be called anything; where its name cannot be a collection's, it gets one that is found
again by looking through the tables.
"""

import hashlib
import re

from dr_pipelines.model.collection import PHYSICAL_NAME

MAX_BYTES = 63
DIGITS = 12
CUT = MAX_BYTES - DIGITS - 1
PLACEHOLDER = "{table}"
TOKENS = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|\{table\}|[^\W\d][\w$]*|.", re.DOTALL)


def table_name(collection: str) -> str:
    """The table of a collection that was made by this package."""
    if len(collection) <= MAX_BYTES:
        return collection
    return f"{collection[:CUT]}~{_digest(collection)}"


def table_of(collection: str, own: str | None) -> str:
    """The table that a collection is made in: `own` is what one was called whose name no collection
    can have, and which comes back under it."""
    if own is not None and collection == collection_name(own):
        return own
    return table_name(collection)


def collection_name(table: str) -> str:
    """The collection of a table that was made by somebody else."""
    if PHYSICAL_NAME.fullmatch(table):
        return table
    plain = re.sub(r"[^A-Za-z0-9_-]", "-", table).lstrip("-_0123456789")[:40] or "table"
    return f"{plain}@table-{_digest(table)}"


def derived(name: str, table: str) -> str:
    """A name of an index or a partition, without what only says which table it belongs to."""
    plain = name.removesuffix(f"_{_digest(table)}")
    if plain.startswith(table):
        return PLACEHOLDER + plain[len(table) :]
    beginning, cut, rest = plain.partition(_mark(table))
    return PLACEHOLDER + rest if cut and table.startswith(beginning) else plain


def placed(name: str, table: str, *, taken: bool) -> str:
    """The name for another table; where it is `taken`, with a digest of the table behind it. Of one
    that is too long the table's own name is cut, as far as that suffices: what follows it is what
    `derived` has to give again."""
    whole = name.replace(PLACEHOLDER, table, 1)
    if len(whole.encode()) <= MAX_BYTES and not taken:
        return whole
    rest = _mark(table) + name.removeprefix(PLACEHOLDER)
    room = MAX_BYTES - len(rest.encode())
    if name.startswith(PLACEHOLDER) and room >= 0 and not taken:
        return table.encode()[:room].decode(errors="ignore") + rest
    cut = whole.encode()[:CUT].decode(errors="ignore")
    return f"{cut}_{_digest(table if cut == whole else whole + table)}"


def without_table(definition: str, quoted: str) -> str:
    """A definition that the server wrote, with a placeholder for the table that its columns are
    qualified with: `quoted` is the table's name as the server writes it. Literals stay."""
    tokens = TOKENS.findall(definition)
    for place, token in enumerate(tokens[:-1]):
        before = tokens[place - 1] if place else ""
        if token == quoted and tokens[place + 1] == "." and before != ".":
            tokens[place] = PLACEHOLDER
    return "".join(tokens)


def with_table(definition: str, quoted: str) -> str:
    """The definition for another table. The placeholder is no SQL, so that where it stands outside
    of literals it is ours."""
    return "".join(
        quoted if token == PLACEHOLDER else token for token in TOKENS.findall(definition)
    )


def _mark(table: str) -> str:
    return f"~{_digest(table)}"


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:DIGITS]
