"""Texts of tables of ours: every one there is, in types that keep no character NUL.

NUL is written as U+0001 U+0001, and U+0001 as U+0001 U+0002; all other texts, which is nearly every
one, are as they are. No two texts become one, and texts compare bytewise as before, so that ids,
keys and ranges need nothing more.
"""

import re

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

NUL, MARK = "\0", "\1"
FORMS = {MARK: "\1\2", NUL: "\1\1"}
MEANINGS = {form: character for character, form in FORMS.items()}
FORM = re.compile("|".join(MEANINGS))


def escaped(text: str) -> str:
    """A text as the engine keeps it."""
    for character, form in FORMS.items():
        text = text.replace(character, form)
    return text


def unescaped(text: str) -> str:
    """The text that was meant. A U+0001 that somebody else wrote stays what it is."""
    return FORM.sub(lambda match: MEANINGS[match[0]], text) if MARK in text else text


def escaped_column(column: pa.Array) -> pa.Array:
    """A column of texts as the engine keeps it."""
    if not _has_below(column, 2):
        return column
    for character, form in FORMS.items():
        column = pc.replace_substring(column, character, form)
    return column


def unescaped_column(column: pa.Array) -> pa.Array:
    """The texts that were meant, in a column or in its lists."""
    if pa.types.is_list(column.type):
        if not _has_below(column.values, 2):
            return column
        texts = unescaped_column(column.values)
        mask = column.is_null() if column.null_count else None
        return pa.ListArray.from_arrays(column.offsets, texts, mask=mask)
    if not _has_below(column, 2):
        return column
    return pa.array([t and unescaped(t) for t in column.to_pylist()], column.type)


def has_nul(column: pa.Array) -> bool:
    """True if any text of a column has a NUL."""
    return _has_below(column, 1)


def _has_below(column: pa.Array, limit: int) -> bool:
    """True if any byte of any text is below a limit: the only look at most texts, 0.1 ms/MB."""
    data = _bytes(column)
    return len(data) > 0 and int(data.min()) < limit


def _bytes(column: pa.Array) -> npt.NDArray[np.uint8]:
    _, places, data = column.buffers()
    if data is None or len(column) == 0:
        return np.empty(0, np.uint8)
    bounds = np.frombuffer(places, np.int32)
    first, last = bounds[column.offset], bounds[column.offset + len(column)]
    return np.frombuffer(data, np.uint8)[first:last]
