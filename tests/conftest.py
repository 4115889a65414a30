"""Servers that several test packages share, each started once, on loopback, on first use."""

import gc
import itertools
import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

gc.disable()  # until everything is imported: pytest_collection
# Hundreds of processes are started: each reads what another compiled, a quarter of a second's work.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# Threads of models that have nothing to do sleep: two processes of tests share the processors.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

pytest_plugins = ("pytester", "tests.parameter_names", "tests.temporary")
pytest.register_assert_rewrite("dr_pipelines.testing")

from dr_pipelines.host.permissions import TEMPORARY, TEMPORARY_ACCESS  # noqa: E402
from dr_pipelines.model.components import StorePolicy  # noqa: E402
from dr_pipelines.project import adapters  # noqa: E402 - assertions are rewritten on import
from dr_pipelines.protocols import VectorStore  # noqa: E402
from tests.engines import DIRECTORIES, OpenStore, StoreURL  # noqa: E402
from tests.servers import pgvector as pg  # noqa: E402
from tests.servers import radosgw as rgw  # noqa: E402

REQUIRE_RADOSGW = "DR_REQUIRE_RADOSGW"
GARBAGE = 20_000
"""New objects until the next look for garbage; Python's own 700 are for small programs."""


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Import without looking for garbage, and never look for it among what was imported.

    What all tests import together is about a million objects. They stay until the end, and going
    through them again and again took half of the collection and a tenth of the tests.
    """
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.set_threshold(GARBAGE)
        gc.enable()


def pytest_unconfigure() -> None:
    """Let the process end as usual: libraries say what of theirs is not freed."""
    gc.unfreeze()


@pytest.fixture(scope="session")
def radosgw(tmp_path_factory: pytest.TempPathFactory) -> Iterator[rgw.Radosgw]:
    """A real S3 server; skips where it is not installed, unless DR_REQUIRE_RADOSGW=1."""
    missing = rgw.missing_programs()
    if missing and os.environ.get(REQUIRE_RADOSGW) == "1":
        pytest.fail(f"{REQUIRE_RADOSGW}=1, but not installed: {', '.join(missing)}")
    if missing:
        pytest.skip(f"radosgw is not installed: {', '.join(missing)} not found")
    with rgw.running_radosgw(Path(tmp_path_factory.mktemp("rgw"))) as server:
        yield server


@pytest.fixture(scope="session")
def moto_endpoint() -> Iterator[str]:
    """An imitation of S3; no credentials are checked."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def postgres() -> Iterator[pg.Server]:
    """PostgreSQL 18 with pgvector."""
    with pg.running_postgres(18) as server:
        yield server


@pytest.fixture
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> StoreURL:
    """URLs of new, empty stores: embedded where an engine can be, else in a database of its own."""
    numbers = itertools.count()

    def make(engine: str) -> str:
        if engine == "memory":
            return "memory:"
        if engine == "pgvector":
            server: pg.Server = request.getfixturevalue("postgres")
            return server.url(server.create_database())
        return f"{DIRECTORIES[engine]}:{tmp_path / f'{engine}-{next(numbers)}'}"

    return make


@pytest.fixture
def open_store(store_url: StoreURL, tmp_path: Path) -> OpenStore:
    """Opens new, empty stores as policies do."""

    def make(engine: str) -> VectorStore:
        policy = StorePolicy(url=store_url(engine))
        return adapters.open_store(policy, adapters.PolicyContext(tmp_path))

    return make


# what a marked test needs that a machine may lack, and how to get it
NEEDS = {
    "radosgw": "a real S3 server; install ceph-mon, ceph-osd, radosgw and ceph-common",
    "small_disk": "a file system of their own; run as root where mounting is allowed",
    "shared_data": "real data; set DR_SHARED to the directory that holds data/rustsec",
}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in the last lines what was skipped, so that nobody takes it for passed."""
    skipped = terminalreporter.stats.get("skipped", [])
    for mark, needed in NEEDS.items():
        count = sum(mark in report.keywords for report in skipped)
        if count:
            terminalreporter.write_line(f"NOT RUN: {count} tests that need {needed}", yellow=True)


@pytest.fixture(autouse=True)
def _process_as_it_was() -> Iterator[None]:
    """Opening a project sets this process's umask and where its temporary files lie; fixtures of a
    whole run open some."""
    umask = os.umask(0o022)
    _forget_temporary_files()
    yield
    os.umask(umask)
    _forget_temporary_files()


def _forget_temporary_files() -> None:
    for name in (TEMPORARY, TEMPORARY_ACCESS):
        os.environ.pop(name, None)
