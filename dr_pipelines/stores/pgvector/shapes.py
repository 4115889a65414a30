"""Arrays of texts with several dimensions, or that do not begin at 1, in a column of lists.

A list has one dimension and no numbers for its places. Such an array travels as its texts, one
after the other, behind a text that says its shape as the engine writes it, and begins with the
character NUL, which no text of the engine has: `{{a,b},{c,d}}` as NUL`[1:2][1:2]=`, a, b, c, d.
"""

import re

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

BEGIN = "\0["
SHAPE = re.compile(r"\0((?:\[-?\d{1,10}:-?\d{1,10}\])+)=")
PART = re.compile(r"\[(-?\d+):(-?\d+)\]")
MOST_DIMENSIONS = 6
LARGEST = 2**31 - 1


def shape_text(head: bytes) -> str:
    """The text for an array's shape, from its sizes and first places in four bytes each."""
    pairs = np.frombuffer(head, ">i4").reshape(-1, 2).astype(np.int64).tolist()
    return "\0" + "".join(f"[{low}:{low + size - 1}]" for size, low in pairs) + "="


def shape_of(text: str) -> list[tuple[int, int]] | None:
    """Sizes and first places of an array; None where a text says none."""
    match = SHAPE.fullmatch(text)
    parts = PART.findall(match[1]) if match else []
    pairs = [(int(high) - int(low) + 1, int(low)) for low, high in parts]
    inside = all(size > 0 and abs(low) + size <= LARGEST for size, low in pairs)
    return pairs if inside and 0 < len(pairs) <= MOST_DIMENSIONS else None


def elements(pairs: list[tuple[int, int]]) -> int:
    """How many elements an array has."""
    count = 1
    for size, _ in pairs:
        count *= size
    return count


def with_shapes(flat: pa.Array, counts: npt.NDArray[np.int64], shapes: pa.Array) -> pa.ListArray:
    """Lists of so many texts each, with a shape in front where there is one. Nulls are the
    caller's to mark."""
    shaped = shapes.is_valid().to_numpy(zero_copy_only=False)
    bounds = np.zeros(len(counts) + 1, np.int32)
    np.cumsum(counts + shaped, out=bounds[1:])
    texts = shapes.drop_null()
    front = np.zeros(int(bounds[-1]), bool)
    front[bounds[:-1][shaped]] = True
    places = np.empty(len(front), np.int64)
    places[front] = len(flat) + np.arange(len(texts))
    places[~front] = np.arange(len(flat))
    items = pa.concat_arrays([flat, texts]).take(pa.array(places))
    return pa.ListArray.from_arrays(pa.array(bounds), items)


def fronts(column: pa.ListArray) -> tuple[pa.Array, npt.NDArray[np.int64]]:
    """The texts in front of lists that begin like a shape, null where there is none; and of how
    many texts each list is."""
    counts: npt.NDArray[np.int64] = pc.fill_null(pc.list_value_length(column), 0).to_numpy(
        zero_copy_only=False
    )
    flat = column.flatten()
    if len(flat) == 0:
        return pa.nulls(len(column), pa.string()), counts
    first = flat.take(pa.array(np.cumsum(counts) - counts, mask=counts == 0))
    begins = pc.fill_null(pc.starts_with(first, BEGIN), False)
    return pc.if_else(begins, first, pa.scalar(None, pa.string())), counts


def wrong_fronts(fronts_said: pa.Array, counts: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Which of them are no shape of as many texts as follow."""
    wrong: npt.NDArray[np.bool_] = np.zeros(len(fronts_said), bool)
    if fronts_said.null_count == len(fronts_said):
        return wrong
    codes = fronts_said.dictionary_encode()
    places = np.flatnonzero(fronts_said.is_valid().to_numpy(zero_copy_only=False))
    numbers = codes.indices.drop_null().to_numpy()
    sizes = [elements(shape_of(text) or []) for text in codes.dictionary.to_pylist()]
    readable = [shape_of(text) is not None for text in codes.dictionary.to_pylist()]
    right = np.array(readable)[numbers] & (np.array(sizes)[numbers] == counts[places] - 1)
    wrong[places[~right]] = True
    return wrong


def heads(fronts_said: pa.Array, element: int) -> pa.Array:
    """The first bytes of arrays of these shapes: dimensions, a flag, the type of elements; sizes
    and first places."""
    codes = fronts_said.dictionary_encode()
    written = list[bytes]()
    for text in codes.dictionary.to_pylist():
        pairs = shape_of(text) or []
        numbers = [len(pairs), 1, element, *(number for pair in pairs for number in pair)]
        written.append(np.array(numbers, ">i4").tobytes())
    return pa.array(written, pa.binary()).take(codes.indices)
