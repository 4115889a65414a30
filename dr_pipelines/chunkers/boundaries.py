"""Where a text may be cut: paragraph, line, sentence, word, and as a last resort anywhere."""

import re
import unicodedata

COARSE = (
    re.compile(r"\n[ \t\r]*\n\s*"),  # paragraphs
    re.compile(r"\n\s*"),  # lines
    re.compile(r"[.!?…][\"'”’)\]]*\s+|[。！？]"),  # sentences
)
JOINERS = frozenset("\u200d\ufe0e\ufe0f")
MAX_SEQUENCE = 32
"""Combining characters after a base character beyond which a sequence is cut after all."""


def best_cut(text: str, start: int, limit: int) -> int:
    """Where to end a piece that starts at `start` and reaches to `limit` at most.

    The last paragraph, line or sentence end (in this order) in the second half of the room, else
    the last word end, else `limit`, moved out of a combining sequence. Space stays at the end of a
    piece. Looks at no more than text[start:limit + 1].
    """
    lowest = start + (limit - start) // 2
    for pattern in COARSE:
        ends = (m.end() for m in pattern.finditer(text, lowest, limit))
        usable = [end for end in ends if end > start and not inside_sequence(text, end)]
        if usable:
            return usable[-1]
    return _word_cut(text, start, limit) or _hard_cut(text, start, limit)


def _word_cut(text: str, start: int, limit: int) -> int | None:
    for cut in range(limit, start, -1):
        if text[cut - 1].isspace() and not inside_sequence(text, cut):
            return None if text[start:cut].isspace() else cut
    return None


def _hard_cut(text: str, start: int, limit: int) -> int:
    for cut in range(limit, max(start, limit - MAX_SEQUENCE), -1):
        if not inside_sequence(text, cut):
            return cut
    return limit


def inside_sequence(text: str, cut: int) -> bool:
    """True if a cut would separate a character from one that modifies it."""
    if not 0 < cut < len(text):
        return False
    before, after = text[cut - 1], text[cut]
    joined = before == "\u200d" or after in JOINERS or (before == "\r" and after == "\n")
    return joined or unicodedata.combining(after) != 0
