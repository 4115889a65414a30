"""Advisory locks of files (flock), which the kernel lets go of when their holder ends, however."""

import fcntl
import time
from typing import IO

POLL_SECONDS = 0.02


def lock(file: int | IO[bytes], *, wait_seconds: float) -> bool:
    """Take the lock of an open file, alone; False if somebody else has it for that long.

    Closing the file gives it back. Where the file system has no such lock, an `OSError` says so:
    nothing less is taken in its place.
    """
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(POLL_SECONDS)
        else:
            return True
