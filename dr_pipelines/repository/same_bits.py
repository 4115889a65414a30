"""Equality of tables to the bit: NaN equals nothing, and 0.0 equals −0.0, by value."""

import pyarrow as pa
import pyarrow.compute as pc


def same_table(decoded: pa.Table, table: pa.Table) -> bool:
    """True if both have the same columns and, row by row, the same bits and nulls."""
    if not decoded.schema.remove_metadata().equals(table.schema.remove_metadata()):
        return False
    pairs = zip(decoded.columns, table.columns, strict=True)
    return all(_equal(a, b) for a, b in pairs)


def _equal(a: pa.ChunkedArray, b: pa.ChunkedArray) -> bool:
    """Equality of values; of bits where they are floating."""
    if _is_nested(a.type):
        return _equal_nested(_whole(a), _whole(b))
    return bool(_bits(a).equals(_bits(b)))


def _equal_nested(a: pa.Array, b: pa.Array) -> bool:
    if not a.is_valid().equals(b.is_valid()):
        return False
    if pa.types.is_struct(a.type):
        names = [a.type.field(place).name for place in range(a.type.num_fields)]
        return all(_equal_nested(pc.struct_field(a, n), pc.struct_field(b, n)) for n in names)
    if pa.types.is_list(a.type):
        lengths = (pc.list_value_length(a), pc.list_value_length(b))
        return lengths[0].equals(lengths[1]) and _equal_nested(a.flatten(), b.flatten())
    return bool(_bits(pa.chunked_array([a])).equals(_bits(pa.chunked_array([b]))))


def _is_nested(kind: pa.DataType) -> bool:
    """True if vectors lie deeper than in a plain list: a sparse one, or several."""
    return bool(
        pa.types.is_struct(kind)
        or (pa.types.is_list(kind) and pa.types.is_fixed_size_list(kind.value_type))
    )


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _bits(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    if pa.types.is_fixed_size_list(kind):
        words = pa.list_(_word(kind.value_type), kind.list_size)
    else:
        words = _word(kind)
    chunks = [chunk.view(words) for chunk in column.chunks] if words != kind else column.chunks
    return pa.chunked_array(chunks, words)


def _word(kind: pa.DataType) -> pa.DataType:
    return {pa.float32(): pa.int32(), pa.float64(): pa.int64()}.get(kind, kind)
