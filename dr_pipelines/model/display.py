"""Text of others, made fit to be shown: nothing in it acts on a terminal or changes its order."""

import re
from typing import Any

_ACTING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 but tab and line feed, DEL, C1 (U+009B begins a sequence)
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # directions of text
    "\u2028\u2029\ufff9-\ufffb\ud800-\udfff]"  # other lines, annotations, surrogates
)
"""Characters that act on a terminal, or on the order in which text is shown. Joiners are not among
them: scripts need them."""


def displayed(text: str, *, limit: int | None = None) -> str:
    """The text with every control and bidirectional character as `\\x1b` or `\\u202e`; tabs and
    line feeds stay. With `limit`, at most so many characters of it, and `…`."""
    cut = text if limit is None or len(text) <= limit else f"{text[:limit]}…"
    return _ACTING.sub(_escaped, cut)


def displayed_line(text: str, *, limit: int | None = None) -> str:
    """`displayed`, on one line: tabs and line feeds are escaped too."""
    return displayed(text, limit=limit).replace("\n", "\\n").replace("\t", "\\t")


def displayed_values(value: Any) -> Any:
    """The same lists and mappings with every text in them `displayed`; anything else as it is."""
    if isinstance(value, str):
        return displayed(value)
    if isinstance(value, dict):
        return {displayed_values(key): displayed_values(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [displayed_values(item) for item in value]
    return value


def displayed_json(document: str) -> str:
    """A JSON document, as text, with such characters as the escapes of JSON: it says the same."""
    return _ACTING.sub(_json_escaped, document)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _json_escaped(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
