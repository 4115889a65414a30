"""A process with memory of its own and a file mapped into it: how its peaks are told apart."""

import mmap
import sys
import time
from pathlib import Path

from benchmarks.harness import LOOK_SECONDS, tell_peak

MIB = 2**20

if __name__ == "__main__":
    with Path(sys.argv[1]).open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    own = b"\1" * (64 * MIB)
    assert sum(mapped[place] for place in range(0, len(mapped), mmap.PAGESIZE)) == 0
    time.sleep(20 * LOOK_SECONDS)
    assert own
    tell_peak()
