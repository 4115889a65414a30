"""Seconds that processors worked: for this process and those it started, and for all others."""

import os
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def seconds_of_all() -> float:
    """By everything on this machine, since it started; waiting for disks is not work."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    user, nice, system, _idle, _wait, interrupts, soft, stolen = map(int, fields[:8])
    return (user + nice + system + interrupts + soft + stolen) / TICKS


def seconds_of_ours() -> float:
    """By this process and its descendants, those included that ended and were waited for."""
    spent, parents = _processes()
    ours, waiting = 0, [os.getpid()]
    children = dict[int, list[int]]()
    for number, parent in parents.items():
        children.setdefault(parent, []).append(number)
    while waiting:
        number = waiting.pop()
        ours += spent.get(number, 0)
        waiting += children.get(number, [])
    return ours / TICKS


def _processes() -> tuple[dict[int, int], dict[int, int]]:
    """The ticks of each process, with those of children that it waited for, and its parent."""
    spent, parents = dict[int, int](), dict[int, int]()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        number = int(path.parent.name)
        parents[number] = int(fields[1])
        spent[number] = sum(int(field) for field in fields[11:15])
    return spent, parents
