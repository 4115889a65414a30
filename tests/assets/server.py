"""Dagster's webserver and daemon in processes of their own, over a temporary home."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from tests.servers.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
POLL_SECONDS = 0.5


class Server:
    """A running webserver and daemon."""

    def __init__(self, port: int, log: Path) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._log = log

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
        """What `ready` returns once it is something."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                if found := ready():
                    return found
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                pass
            time.sleep(POLL_SECONDS)
        raise AssertionError(f"no {what} after {seconds} s:\n{self._log.read_text()[-4000:]}")

    def runs(self) -> list[dict[str, Any]]:
        """All runs: status, job and tags."""
        found = self.query(
            "{runsOrError{... on Runs{results{runId status jobName tags{key value}}}}}"
        )["runsOrError"]["results"]
        return [run | {"tags": {t["key"]: t["value"] for t in run["tags"]}} for run in found]

    def daemons(self) -> dict[str, bool]:
        """Whether each daemon that is required is healthy."""
        found = self.query(
            "{instance{daemonHealth{allDaemonStatuses{daemonType healthy required}}}}"
        )["instance"]["daemonHealth"]["allDaemonStatuses"]
        return {d["daemonType"]: bool(d["healthy"]) for d in found if d["required"]}


@contextmanager
def running(home: Path, policies: Path) -> Iterator[Server]:
    """Start both, with the checkout's dagster.yaml and workspace.yaml; stop all they started."""
    home.mkdir()
    shutil.copy(ROOT / "dagster.yaml", home)
    environment = os.environ | {"DAGSTER_HOME": str(home), "DR_POLICIES": str(policies)}
    port = free_port()
    programs = [
        ["dagster_webserver", "-h", "127.0.0.1", "-p", str(port), "-w", "workspace.yaml"],
        ["dagster._daemon", "run", "-w", "workspace.yaml"],
    ]
    log = home / "log.txt"
    with log.open("w") as output:
        server, processes = Server(port, log), []
        try:
            for program in programs:
                processes.append(_started(program, environment, output))
                # one at a time: two that make the instance's tables at once leave them unusable
                server.wait("page", lambda: server.query("{version}"), seconds=120)
            yield server
        finally:
            for process in processes:
                os.killpg(process.pid, signal.SIGTERM)
            for process in processes:
                _end(process)


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
