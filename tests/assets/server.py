"""Dagster's webserver and daemon in processes of their own, over a temporary home."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from tests.servers.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
POLL_SECONDS = 0.5


class Server:
    """A running webserver and daemon."""

    def __init__(
        self, port: int, log: Path, start: Callable[[], "subprocess.Popen[bytes]"]
    ) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._log = log
        self._start = start
        self.daemon: subprocess.Popen[bytes] | None = None

    def start_daemon(self) -> None:
        """Start the daemon, with a code server of its own."""
        self.daemon = self._start()

    def kill_daemon(self) -> None:
        """End the daemon, its code server and all workers at once, as a loss of power does."""
        assert self.daemon is not None
        os.killpg(self.daemon.pid, signal.SIGKILL)
        self.daemon.wait()

    def query(self, text: str, **variables: Any) -> dict[str, Any]:
        """The data of a GraphQL query."""
        body = json.dumps({"query": text, "variables": variables}).encode()
        request = urllib.request.Request(
            f"{self.url}/graphql", body, {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            value = json.loads(answer.read())
        assert "errors" not in value, value
        data: dict[str, Any] = value["data"]
        return data

    def wait(self, what: str, ready: Callable[[], Any], *, seconds: float) -> Any:
        """The result of `ready` once it is truthy."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                if value := ready():
                    return value
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                pass
            time.sleep(POLL_SECONDS)
        raise AssertionError(f"no {what} after {seconds} s:\n{self._log.read_text()[-4000:]}")

    def runs(self) -> list[dict[str, Any]]:
        """All runs: status, job and tags."""
        answer = self.query(
            "{runsOrError{... on Runs{results{runId status jobName tags{key value}}}}}"
        )["runsOrError"]["results"]
        return [run | {"tags": {t["key"]: t["value"] for t in run["tags"]}} for run in answer]

    def messages(self, run_id: str) -> list[str]:
        """Messages in the log of a run."""
        text = (
            "query($run:ID!){logsForRun(runId:$run){... on EventConnection"
            "{events{... on MessageEvent{message}}}}}"
        )
        events = self.query(text, run=run_id)["logsForRun"]["events"]
        return [event["message"] for event in events if event]

    def worker(self, run_id: str) -> int | None:
        """The process of a run."""
        for message in self.messages(run_id):
            if number := re.search(r"Started process for run \(pid: (\d+)\)", message):
                return int(number.group(1))
        return None

    def daemons(self) -> dict[str, bool]:
        """Health of each daemon that is required."""
        answer = self.query(
            "{instance{daemonHealth{allDaemonStatuses{daemonType healthy required}}}}"
        )["instance"]["daemonHealth"]["allDaemonStatuses"]
        return {d["daemonType"]: bool(d["healthy"]) for d in answer if d["required"]}


@contextmanager
def running(home: Path, policies: Path, *, hurried: bool = True) -> Iterator[Server]:
    """Start both, with the checkout's dagster.yaml and workspace.yaml; stop all they started.

    `hurried`: what watches runs looks every second, and frees slots a second after a run's end.
    """
    home.mkdir()
    shipped = (ROOT / "dagster.yaml").read_text()
    (home / "dagster.yaml").write_text(_hurried(shipped) if hurried else shipped)
    environment = os.environ | {"DAGSTER_HOME": str(home), "DR_POLICIES": str(policies)}
    port = free_port()
    web = ["dagster_webserver", "-h", "127.0.0.1", "-p", str(port), "-w", "workspace.yaml"]
    daemon = ["dagster._daemon", "run", "-w", "workspace.yaml"]
    log = home / "log.txt"
    with log.open("w") as output:
        processes: list[subprocess.Popen[bytes]] = []

        def start(program: list[str]) -> "subprocess.Popen[bytes]":
            processes.append(_started(program, environment, output))
            return processes[-1]

        server = Server(port, log, lambda: start(daemon))
        try:
            start(web)
            # one at a time: two that make the instance's tables at once leave them unusable
            server.wait("page", lambda: server.query("{version}"), seconds=120)
            server.start_daemon()
            yield server
        finally:
            for process in processes:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)
            for process in processes:
                _end(process)


def _hurried(text: str) -> str:
    for name in ("poll_interval_seconds", "free_slots_after_run_end_seconds"):
        text, changed = re.subn(rf"(\b{name}: )\d+", r"\g<1>1", text)
        assert changed == 1, name
    return text


def _started(
    program: list[str], environment: dict[str, str], output: TextIO
) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", *program],
        cwd=ROOT,
        env=environment,
        stdout=output,
        stderr=output,
        start_new_session=True,
    )


def _end(process: "subprocess.Popen[bytes]") -> None:
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
