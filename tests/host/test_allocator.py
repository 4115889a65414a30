"""Memory of the size of a segment is reused, unless somebody decided otherwise."""

import subprocess
import sys
import textwrap

import pytest

from dr_pipelines.host.allocator import RETAINED_BYTES, SET_BY_OTHERS, retain_memory

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="glibc alone can be told")
TAKEN_AGAIN = """
    import resource, sys
    from dr_pipelines.host.allocator import retain_memory

    if sys.argv[1] == "retained":
        assert retain_memory({}).retained_bytes
    else:
        retain_memory({"MALLOC_TRIM_THRESHOLD_": "0"})
    taken = [bytearray(20 << 20) for _ in range(2)]
    del taken
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        bytearray(12 << 20)
        bytes(bytearray(15 << 20))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_memory_is_taken_again_without_page_faults() -> None:
    faults = {
        kind: int(
            subprocess.run(
                [sys.executable, "-c", textwrap.dedent(TAKEN_AGAIN), kind],
                capture_output=True,
                text=True,
                check=True,
                timeout=60,
                env={},
            ).stdout
        )
        for kind in ("retained", "left")
    }
    assert faults["retained"] < faults["left"] / 10


@pytest.mark.parametrize("variable", SET_BY_OTHERS)
def test_whoever_set_the_allocator_is_not_overruled(variable: str) -> None:
    allocator = retain_memory({variable: "1"})
    assert (allocator.retained_bytes, allocator.reason) == (0, f"{variable} is set")


def test_what_was_chosen_is_returned() -> None:
    chosen = retain_memory({})
    assert chosen.name.startswith("glibc ")
    assert (chosen.retained_bytes, chosen.reason) == (RETAINED_BYTES, "")
