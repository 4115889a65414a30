"""Which keys and ranges every blob store accepts."""

from dr_pipelines.errors import InvalidRequest

KEY_BYTES = 512
SEGMENT_BYTES = 255
"""Longest name in ext4, XFS, Btrfs and APFS."""
RESERVED = ".tmp"


def check_key(key: str) -> str:
    """Return the key, or raise `InvalidRequest` when no store may hold it."""
    if not key or len(key.encode(errors="replace")) > KEY_BYTES:
        raise InvalidRequest(f"object key {key!r}: expected 1 to {KEY_BYTES} bytes")
    _check_segments(key, key.split("/"))
    return key


def check_prefix(prefix: str) -> str:
    """Return the prefix, or raise `InvalidRequest` when no key can start with it."""
    complete, _, rest = prefix.rpartition("/")
    if "/" in prefix:
        _check_segments(prefix, complete.split("/"))
    if not rest.isprintable() or "\\" in rest:
        raise InvalidRequest(f"key prefix {prefix!r}: expected printable text without backslashes")
    return prefix


def check_range(range: tuple[int, int] | None) -> tuple[int, int] | None:
    """Return the range, or raise `InvalidRequest` unless 0 <= start <= stop."""
    if range is not None and not 0 <= range[0] <= range[1]:
        raise InvalidRequest(f"byte range {range}: expected 0 <= start <= stop")
    return range


def _check_segments(key: str, segments: list[str]) -> None:
    if segments[0] == RESERVED:
        raise InvalidRequest(f"object key {key!r}: {RESERVED}/ is reserved")
    for segment in segments:
        if segment in ("", ".", ".."):
            raise InvalidRequest(
                f"object key {key!r}: expected names joined by single '/', none of them '.' or '..'"
            )
        if not segment.isprintable() or "\\" in segment:
            raise InvalidRequest(f"object key {key!r}: expected printable text without backslashes")
        if len(segment.encode()) > SEGMENT_BYTES:
            raise InvalidRequest(f"object key {key!r}: a name is longer than {SEGMENT_BYTES} bytes")
