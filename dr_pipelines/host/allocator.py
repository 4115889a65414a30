"""Memory that a process gives back and takes again, a segment at a time, costs a page fault for
every 4 KiB of it: more than what is done with it.

glibc maps large blocks anew each time; it can be told to reuse them. Arrow's own pool does.
"""

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass

MAPPED_BYTES = 32 * 2**20
"""Larger blocks are still mapped, and returned at once: the most that glibc accepts. A column of a
segment is smaller."""
RETAINED_BYTES = 128 * 2**20
"""Free memory that is not returned, at the end of a heap."""
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
SET_BY_OTHERS = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES", "LD_PRELOAD")


@dataclass(frozen=True, slots=True)
class Allocator:
    """The allocator of this process and the free memory that it retains; 0 where that is left to
    it, with the reason."""

    name: str
    retained_bytes: int
    reason: str


def retain_memory(environ: Mapping[str, str]) -> Allocator:
    """Let this process reuse memory of the size of a segment; may be called again.

    Whoever set the allocator by the environment has decided otherwise; other C libraries than
    glibc are left as they are.
    """
    library = ctypes.CDLL(None)
    try:
        version, option = library.gnu_get_libc_version, library.mallopt
    except AttributeError:
        return Allocator("unknown", 0, "the C library is not glibc")
    version.restype = ctypes.c_char_p
    name = f"glibc {version().decode()}"
    others = [variable for variable in SET_BY_OTHERS if environ.get(variable)]
    if others:
        return Allocator(name, 0, f"{others[0]} is set")
    if not option(M_MMAP_THRESHOLD, MAPPED_BYTES) or not option(M_TRIM_THRESHOLD, RETAINED_BYTES):
        return Allocator(name, 0, "glibc did not accept it")
    return Allocator(name, RETAINED_BYTES, "")
