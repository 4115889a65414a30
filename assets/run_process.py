"""Processes of runs on this machine: the only ones of which it can be said that they have ended.

Dagster's own launcher keeps no watch on them: a code server that dies together with a run's process
leaves the run started for ever. Where workers have a machine of their own, their launcher watches.
"""

import os
import socket
from collections.abc import Callable
from dataclasses import astuple, dataclass
from functools import cache, wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import dagster as dg

P = ParamSpec("P")
R = TypeVar("R")

MACHINE_TAG = "dr/machine"
"""Run tag: the machine that a run's process is on."""
PROCESS_TAG = "dr/process"
"""Run tag: the process, and the run that it was noted for: a run that is tried again inherits the
tags of the one before."""
BOOT = Path("/proc/sys/kernel/random/boot_id")
MACHINE = Path("/etc/machine-id")
NAMESPACE = Path("/proc/self/ns/pid")


@dataclass(frozen=True)
class RunProcess:
    """The process of a run. `began` is in ticks since the boot, which no clock that is set changes;
    it tells a process from a later one with its number. `namespace` is where numbers count."""

    run_id: str
    boot: str
    namespace: str
    number: str
    began: str

    def text(self) -> str:
        return "/".join(astuple(self))

    @classmethod
    def parse(cls, text: str) -> "RunProcess | None":
        """The worker that `text` wrote; None for anything else."""
        parts = text.split("/")
        return cls(*parts) if len(parts) == 5 and parts[3].isdecimal() else None

    @classmethod
    def of(cls, run_id: str, number: int) -> "RunProcess":
        """The process that has a number here and now."""
        return cls(run_id, _read(BOOT), _namespace(), str(number), _began(number))


@cache
def this_machine() -> str:
    """A name, and what tells machines of one name apart where there is such a thing."""
    return f"{socket.gethostname()}:{_read(MACHINE)}".rstrip(":")


def noted(function: Callable[P, R]) -> Callable[P, R]:
    """The same step, which first records where its run is at work."""

    @wraps(function)
    def noting(*args: P.args, **named: P.kwargs) -> R:
        context: Any = args[0] if args else named["context"]
        note(context.instance, context.run.run_id)
        return function(*args, **named)

    return noting


def process_gone(instance: dg.DagsterInstance, record: dg.RunRecord) -> bool:
    """True if the process of a started run is known to have ended without reporting it."""
    run = record.dagster_run
    if run.status is not dg.DagsterRunStatus.STARTED or run.tags.get(MACHINE_TAG) != this_machine():
        return False
    worker = RunProcess.parse(run.tags.get(PROCESS_TAG, ""))
    if worker is None or worker.run_id != run.run_id or not _ended(instance, worker):
        return False
    return _still_started(instance, run.run_id)  # it may have ended as it should meanwhile


def is_alive(worker: RunProcess) -> bool:
    """True if a process of this boot and namespace still runs, or cannot be seen."""
    try:
        os.kill(int(worker.number), 0)
        fields = _fields(int(worker.number))
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return fields[0] not in "ZX" and fields[19] == worker.began


def _ended(instance: dg.DagsterInstance, worker: RunProcess) -> bool:
    if worker.boot != _read(BOOT):
        return True
    if worker.namespace != _namespace():
        # A container of the same name. Dagster's own launcher starts processes in the container of
        # its code server, so that was replaced; with any other launcher both may be at work.
        return isinstance(instance.run_launcher, dg.DefaultRunLauncher)
    return not is_alive(worker)


def note(instance: dg.DagsterInstance, run_id: str) -> None:
    """Tag a run with its machine and process, if this process is one of its own."""
    number = _process(instance, run_id)
    if number is None or number not in _ancestors():
        return  # this step is elsewhere than its run, and knows nothing of it
    tags = {MACHINE_TAG: this_machine(), PROCESS_TAG: RunProcess.of(run_id, number).text()}
    run = instance.get_run_by_id(run_id)
    if run is not None and not tags.items() <= run.tags.items():
        instance.add_run_tags(run_id, tags)


def _ancestors() -> set[int]:
    """This process and those that it descends from, as far as they can be seen."""
    number, ancestors = os.getpid(), {os.getpid(), os.getppid()}
    try:
        while number > 1:
            number = int(_fields(number)[1])
            ancestors.add(number)
    except OSError:
        pass
    return ancestors


def _fields(number: int) -> list[str]:
    """The kernel's fields about a process, from its state on."""
    return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()


def _began(number: int) -> str:
    try:
        return _fields(number)[19]
    except OSError:
        return ""


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _namespace() -> str:
    try:
        return NAMESPACE.readlink().name
    except OSError:
        return ""


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
