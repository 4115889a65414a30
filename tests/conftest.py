"""Servers that several test packages share, each started once, on loopback, on first use."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("dr_pipelines.testing")

from tests.servers import radosgw as rgw  # noqa: E402 - assertions are rewritten on import

REQUIRE_RADOSGW = "DR_REQUIRE_RADOSGW"


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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = [
        report
        for report in terminalreporter.stats.get("skipped", [])
        if "radosgw" in report.keywords
    ]
    if skipped:
        terminalreporter.write_line(
            f"NOT RUN: {len(skipped)} tests against a real S3 server; install ceph-mon, ceph-osd,"
            " radosgw and ceph-common",
            yellow=True,
        )
