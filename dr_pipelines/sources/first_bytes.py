"""Signatures of files that are not feeds, recognised by their first bytes."""

SHOWN_BYTES = 16
SIGNS = (
    (b"\x1f\x8b", "gzip", "decompress it"),
    (b"\x28\xb5\x2f\xfd", "Zstandard", "decompress it"),
    (b"BZh", "bzip2", "decompress it"),
    (b"\xfd7zXZ\x00", "xz", "decompress it"),
    (b"PK\x03\x04", "a ZIP archive", "take the feed out of it"),
    (b"PAR1", "Parquet", "write it as JSON lines"),
    (b"ARROW1", "Arrow IPC", "write it as JSON lines"),
    (b"SQLite format 3\x00", "SQLite", "write it as JSON lines"),
    (b"\xff\xfe\x00\x00", "UTF-32", "write it as UTF-8"),
    (b"\x00\x00\xfe\xff", "UTF-32", "write it as UTF-8"),
    (b"\xff\xfe", "UTF-16", "write it as UTF-8"),
    (b"\xfe\xff", "UTF-16", "write it as UTF-8"),
    (b"version https://git-lfs.github.com/spec/", "a Git LFS pointer", "run `git lfs pull`"),
    (b"<", "XML or HTML", "write it as JSON lines"),
    (b"[", "one JSON array", "write each of its objects on a line of its own"),
)
"""First bytes, what begins with them, and the way out; the first that fits counts."""
BINARY = frozenset(["gzip", "Zstandard", "bzip2", "xz", "a ZIP archive", "Parquet", "Arrow IPC",
                    "SQLite", "UTF-32", "UTF-16"])  # fmt: skip
"""What is no feed however much of it is there: no line of one begins like this."""


def look(data: bytes) -> tuple[str, str] | None:
    """The format that bytes appear to be in, with a way out; None if they look like none."""
    for sign, name, way_out in SIGNS:
        if data.startswith(sign):
            return name, way_out
    if len(data) >= 4 and 0 in (data[0], data[1]) and data[0] != data[1]:
        return "UTF-16", "write it as UTF-8"
    return None


def shown(data: bytes) -> str:
    """The first bytes, for a message."""
    return f"{data[:SHOWN_BYTES].hex(' ')} ({ascii(data[:SHOWN_BYTES])[1:]})"
