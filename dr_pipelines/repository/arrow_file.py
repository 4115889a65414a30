"""Arrow IPC files of unknown origin: how large they become is known before they are decoded.

Arrow checks that structures lie within the bytes that it reads; it allocates whatever length a
compressed buffer says of itself. This looks at the footer and at each record batch first
(https://arrow.apache.org/docs/format/Columnar.html, `format/File.fbs` and `Message.fbs`).
"""

from dataclasses import dataclass

from dr_pipelines.repository.flatbuffer import FlatTable, Malformed, unpack

MAGIC = b"ARROW1"
CONTINUATION = 0xFFFFFFFF
V5 = 4
RECORD_BATCH = 3
ZSTD = 1
BATCHES = 1
"""A file of this package has one record batch, so that each vector column is one matrix."""
BUFFERS = 8 * 4096
"""Of a record batch: a column of several vectors has five."""
FOOTER_BYTES = 1 << 20
BLOCK = "qi4xq"


@dataclass(frozen=True, slots=True)
class Layout:
    """Rows of an Arrow file, the bytes that it takes in memory, and how its buffers are kept."""

    rows: int
    decoded_bytes: int
    compressed: bool


def layout_of(data: bytes | memoryview) -> Layout:
    """Measure an Arrow IPC file of one record batch without decoding it; raises `Malformed` for
    anything else: dictionaries, buffers outside of the file or over one another, another
    compression than zstd."""
    view = memoryview(data).cast("B")
    footer = _footer(view)
    if list(footer.structs(2, BLOCK, limit=0)):
        raise Malformed("it has dictionaries")
    blocks = list(footer.structs(3, BLOCK, limit=BATCHES))
    if len(blocks) != BATCHES:
        raise Malformed(f"{len(blocks)} record batches, not {BATCHES}")
    return _batch(view, *blocks[0])


def _footer(view: memoryview) -> FlatTable:
    if len(view) < 2 * len(MAGIC) + 6 or view[:6] != MAGIC or view[-6:] != MAGIC:
        raise Malformed("it does not begin and end as an Arrow file does")
    size = unpack("i", view, len(view) - 10)[0]
    if not 0 < size <= min(FOOTER_BYTES, len(view) - 18):
        raise Malformed(f"a footer of {size} bytes")
    footer = FlatTable.root(view[len(view) - 10 - size : len(view) - 10])
    if footer.number(0, "h") != V5:
        raise Malformed("another version of Arrow's metadata")
    return footer


def _batch(view: memoryview, offset: int, head: int, body: int) -> Layout:
    if min(offset, head, body) < 0 or offset % 8 or head % 8 or offset + head + body > len(view):
        raise Malformed("a record batch outside of the file")
    mark, size = unpack("Ii", view, offset)
    if mark != CONTINUATION or not 0 < size <= min(head - 8, FOOTER_BYTES):
        raise Malformed("a record batch without its description")
    message = FlatTable.root(view[offset + 8 : offset + 8 + size])
    batch = message.table(2)
    if message.number(1, "B") != RECORD_BATCH or batch is None or message.number(3, "q") != body:
        raise Malformed("a record batch that its block does not describe")
    rows = batch.number(0, "q")
    if rows < 0:
        raise Malformed(f"{rows} rows")
    content = view[offset + head : offset + head + body]
    compression = batch.table(3)
    compressed = compression is not None
    if compression is not None and (compression.number(0, "b"), compression.number(1, "b")) != (
        ZSTD,
        0,
    ):
        raise Malformed("a compression other than zstd")
    if list(batch.structs(4, "q", limit=0)):
        raise Malformed("it has views")
    return Layout(rows, _decoded_bytes(batch, content, compressed=compressed), compressed)


def _decoded_bytes(batch: FlatTable, content: memoryview, *, compressed: bool) -> int:
    end = total = 0
    for start, size in batch.structs(2, "qq", limit=BUFFERS):
        if size < 0 or start < end or start + size > len(content) or start % 8:
            raise Malformed("a buffer outside of its record batch, or over another one")
        end = start + size
        total += _length(content[start:end]) if compressed and size else size
    return total


def _length(buffer: memoryview) -> int:
    """Of a compressed buffer once it is decoded; −1 says that it is stored as it is."""
    length = unpack("q", buffer, 0)[0]
    if length < -1:
        raise Malformed(f"a buffer of {length} bytes")
    return length if length >= 0 else len(buffer) - 8
