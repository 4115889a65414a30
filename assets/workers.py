"""Processes of runs on this machine: the only ones of which it can be said that they have ended.

Dagster's own launcher keeps no watch on them: a code server that dies together with a run's process
leaves the run started for ever. Where workers have a machine of their own, their launcher watches.
"""

import os
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache, wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import dagster as dg

P = ParamSpec("P")
R = TypeVar("R")

MACHINE_TAG = "dr/machine"
"""Run tag: the machine, and the time it was started, that a run's process is on."""
BOOT = Path("/proc/sys/kernel/random/boot_id")
START_SECONDS = 60.0
"""A process that began later than its run by more than this is another one with its number."""


@cache
def this_machine() -> str:
    """Name and boot of this machine; the boot is left out where it cannot be known."""
    boot = BOOT.read_text().strip() if BOOT.exists() else ""
    return f"{socket.gethostname()}/{boot}"


def noted(function: Callable[P, R]) -> Callable[P, R]:
    """The same step, which first records where its run is at work."""

    @wraps(function)
    def noting(*args: P.args, **named: P.kwargs) -> R:
        context: Any = args[0] if args else named["context"]
        if context.run.tags.get(MACHINE_TAG) != this_machine():
            context.instance.add_run_tags(context.run.run_id, {MACHINE_TAG: this_machine()})
        return function(*args, **named)

    return noting


def worker_gone(instance: dg.DagsterInstance, record: dg.RunRecord) -> bool:
    """Whether the process of a started run is known to have ended without a word."""
    run = record.dagster_run
    if run.status is not dg.DagsterRunStatus.STARTED or record.start_time is None:
        return False
    name, _, boot = run.tags.get(MACHINE_TAG, "").rpartition("/")
    here, _, booted = this_machine().rpartition("/")
    if name != here:
        return False
    number = _process(instance, run.run_id)
    began = datetime.fromtimestamp(record.start_time, UTC)
    ended = boot != booted or (number is not None and not is_alive(number, began=began))
    return ended and _still_started(
        instance, run.run_id
    )  # it may have ended as it should meanwhile


def is_alive(number: int, *, began: datetime) -> bool:
    """Whether a process that was there at a time still runs; one that cannot be looked at does."""
    try:
        os.kill(number, 0)
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
    except ProcessLookupError:
        return False
    except OSError:
        return True
    started = _boot_time() + int(state[19]) / os.sysconf("SC_CLK_TCK")
    return state[0] not in "ZX" and started <= began.timestamp() + START_SECONDS


def _boot_time() -> float:
    lines = Path("/proc/stat").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("btime "))


def _process(instance: dg.DagsterInstance, run_id: str) -> int | None:
    """The number of the process that a run was started in, as Dagster noted it."""
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
        event = entry.dagster_event
        noted = event.engine_event_data.metadata.get("pid") if event else None
        if noted is not None and str(noted.value).isdigit():
            return int(str(noted.value))
    return None


def _still_started(instance: dg.DagsterInstance, run_id: str) -> bool:
    run = instance.get_run_by_id(run_id)
    return run is not None and run.status is dg.DagsterRunStatus.STARTED
