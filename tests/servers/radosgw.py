"""A real S3 server for tests: a Ceph monitor, one in-memory OSD and radosgw, on loopback only.

Everything lies in one directory, on free ports, and ends with the process that started it. The
monitor and the OSD trust whoever reaches them: a throw-away cluster without anything to protect.
"""

import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from tests.servers.ports import free_port

PROGRAMS = ("ceph", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin", "setpriv")
ACCESS_KEY = "AKTEST"
SECRET_KEY = "SKTEST"
STEP_SECONDS = 60
STARTS = 3

CONFIGURATION = """\
[global]
fsid={fsid}
mon_host=v1:127.0.0.1:{monitor_port}
public_addr=127.0.0.1
cluster_addr=127.0.0.1
auth_cluster_required=none
auth_service_required=none
auth_client_required=none
osd_pool_default_size=1
osd_pool_default_min_size=1
osd_pool_default_pg_num=4
osd_pool_default_pg_autoscale_mode=off
mon_allow_pool_size_one=true
mon_max_pg_per_osd=500
osd_crush_chooseleaf_type=0
mon_data={directory}/mon
osd_data={directory}/osd
osd_objectstore=memstore
osd_class_update_on_start=false
osd_crush_update_on_start=false
memstore_device_bytes=2147483648
run_dir={directory}
admin_socket={directory}/$name.asok
log_file={directory}/$name.log
pid_file={directory}/$name.pid
mon_warn_on_pool_no_redundancy=false
mon_data_avail_warn=1
mon_data_avail_crit=1
[client.rgw.a]
rgw_frontends=beast endpoint=127.0.0.1:{port}
rgw_enable_ops_log=false
"""


@dataclass(frozen=True, slots=True)
class Radosgw:
    endpoint: str
    access_key: str = ACCESS_KEY
    secret_key: str = SECRET_KEY


def missing_programs() -> list[str]:
    """Programs to install first."""
    return [program for program in PROGRAMS if shutil.which(program) is None]


@contextmanager
def running_radosgw(directory: Path) -> Iterator[Radosgw]:
    """Start everything, yield the endpoint, stop everything; takes about 15 seconds to start."""
    with ExitStack() as stack:
        for attempt in range(1, STARTS + 1):
            cluster = _Cluster(directory / str(attempt))
            stack.callback(cluster.stop)
            try:
                endpoint = cluster.start()
            except RuntimeError:  # such as a port that another process was quicker to take
                if attempt == STARTS:
                    raise
                stack.close()
            else:
                break
        yield Radosgw(endpoint)


class _Cluster:
    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self._directory = directory
        self._fsid = str(uuid4())
        self._monitor_port, self._port = free_port(), free_port()
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> str:
        text = CONFIGURATION.format(
            fsid=self._fsid,
            monitor_port=self._monitor_port,
            port=self._port,
            directory=self._directory,
        )
        (self._directory / "ceph.conf").write_text(text)
        self._start_monitor()
        self._start_osd()
        endpoint = f"http://127.0.0.1:{self._port}"
        self._serve("radosgw", "-f", "-n", "client.rgw.a")
        self._wait(lambda: _answers(endpoint), what="radosgw to answer")
        self._run(
            *("radosgw-admin", "user", "create", "--uid=test", "--display-name=test"),
            *(f"--access-key={ACCESS_KEY}", f"--secret-key={SECRET_KEY}"),
        )
        return endpoint

    def stop(self) -> None:
        """At once: nothing in there is kept."""
        for process in reversed(self._processes):
            process.kill()
            process.wait()

    def _start_monitor(self) -> None:
        monmap = str(self._directory / "monmap")
        (self._directory / "mon").mkdir()
        address = f"[v1:127.0.0.1:{self._monitor_port}]"
        self._run("monmaptool", "--create", "--addv", "a", address, "--fsid", self._fsid, monmap)
        self._run("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap)
        self._serve("ceph-mon", "-f", "-i", "a")
        self._wait(self._monitor_answers, what="the monitor to answer")

    def _monitor_answers(self) -> bool:
        """This one, and not one of another cluster that has the port."""
        return self._ceph("fsid").stdout.decode().strip() == self._fsid

    def _start_osd(self) -> None:
        uuid = str(uuid4())
        (self._directory / "osd").mkdir()
        self._run("ceph", "osd", "new", uuid)
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", uuid)
        self._run("ceph", "osd", "crush", "add", "osd.0", "1.0", "host=localhost", "root=default")
        self._serve("ceph-osd", "-f", "-i", "0")
        self._wait(lambda: b"1 up" in self._ceph("osd", "stat").stdout, what="the OSD to be up")

    def _ceph(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        command = ["ceph", "--connect-timeout", "5", *arguments]
        return subprocess.run(command, capture_output=True, env=self._environment(), check=False)

    def _run(self, *command: str) -> None:
        done = subprocess.run(
            command, capture_output=True, env=self._environment(), timeout=STEP_SECONDS, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{command[0]} failed: {done.stderr.decode()[-2000:]}")

    def _serve(self, *command: str) -> None:
        """Start a server that is killed when this process dies without stopping it."""
        with (self._directory / f"{command[0]}.out").open("wb") as out:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *command],
                stdout=out,
                stderr=subprocess.STDOUT,
                env=self._environment(),
                start_new_session=True,  # so that ^C stops the tests first
            )
        self._processes.append(process)

    def _wait(self, ready: Callable[[], bool], *, what: str) -> None:
        deadline = time.monotonic() + STEP_SECONDS
        while not ready():
            dead = next((p for p in self._processes if p.poll() is not None), None)
            if dead is not None or time.monotonic() > deadline:
                logs = {p.name: p.read_text()[-1500:] for p in self._directory.glob("*.out")}
                raise RuntimeError(f"waited in vain for {what}: {logs}")
            time.sleep(0.2)

    def _environment(self) -> dict[str, str]:
        return os.environ | {"CEPH_CONF": str(self._directory / "ceph.conf")}


def _answers(endpoint: str) -> bool:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(endpoint, timeout=5):
            return True
    except OSError:
        return False
