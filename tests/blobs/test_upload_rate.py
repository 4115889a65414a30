"""How fast objects leave for a server that speaks S3 is measured, and known to the next process."""

import json
from pathlib import Path
from typing import Any

import pytest

from dr_pipelines.host.permissions import Access
from dr_pipelines.project.machine import Machine
from dr_pipelines.project.repository_access import RememberedRate, open_repository
from dr_pipelines.repository.repository import Repository
from dr_pipelines.repository.segments import read_segment, write_segment
from dr_pipelines.repository.vector_storage import COUNTED_BYTES, MEASURED_BYTES
from tests.blobs.s3_buckets import client_of, new_bucket, opened
from tests.repository.builders import SPEC, Version, rows_of
from tests.servers.cutting_proxy import CuttingProxy

ROWS = rows_of([Version("a", texts=("one", "two"))])
PAUSE_SECONDS = 0.002  # after at most 64 KiB: less than 33 MB/s


def server_of(kind: str, request: pytest.FixtureRequest) -> tuple[str, str, str]:
    """Endpoint and keys."""
    if kind == "imitation":
        return request.getfixturevalue("moto_endpoint"), "test", "test"
    server: Any = request.getfixturevalue("radosgw")
    return server.endpoint, server.access_key, server.secret_key


@pytest.mark.parametrize("kind", ["imitation", pytest.param("radosgw", marks=pytest.mark.radosgw)])
def test_a_slow_link_is_known_to_the_next_process(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    endpoint, *keys = server_of(kind, request)
    bucket = new_bucket(client_of(endpoint, *keys))
    machine = Machine(tmp_path / "state", Access.PRIVATE)
    with CuttingProxy(endpoint) as proxy:

        def process() -> Repository:
            return open_repository(opened(proxy.endpoint, bucket, *keys), machine)

        first = process()
        assert first.vectors.now().reason == "less than 16 MiB were sent: no rate is known"
        early = write_segment(first, "books", ROWS, spec=SPEC, kind="base")
        proxy.pause_seconds = PAUSE_SECONDS
        for _ in range(MEASURED_BYTES // (4 * COUNTED_BYTES)):
            first.put(f"books/native/{first.new_name()}", bytes(4 * COUNTED_BYTES))
        measured = first.vectors.rate.bytes_per_second()
        second = process()
        assert second.vectors.rate.bytes_per_second() is None
        assert second.vectors.rate.remembered() == measured
        late = write_segment(second, "books", ROWS, spec=SPEC, kind="base")
        assert [ref.vectors[0].encoding for ref in (early, late)] == [None, "arrow+zstd"]
        stored = second.vectors.of([late])
        assert stored is not None
        assert "were measured by an earlier process, the limit is 55 MB/s" in stored.reason
        assert all(read_segment(second, ref, spec=SPEC).equals(ROWS) for ref in (early, late))


@pytest.mark.parametrize(
    "damage", ["", "{", "[]", "{}", '{"bytes_per_second": "fast"}', '{"bytes_per_second": -1}']
)
def test_what_is_remembered_and_damaged_costs_measuring_again(tmp_path: Path, damage: str) -> None:
    memory = RememberedRate("s3://bucket", Machine(tmp_path, Access.PRIVATE))
    assert memory.read() is None
    memory.write(12.5)
    assert memory.read() == 12.5
    assert memory.path.stat().st_mode & 0o777 == 0o600
    memory.path.write_text(damage)
    assert memory.read() is None
    memory.write(14.0)
    assert json.loads(memory.path.read_text()) == {"bytes_per_second": 14.0}


def test_where_nothing_can_be_remembered_nothing_fails(tmp_path: Path) -> None:
    (tmp_path / "heads").write_text("a file, and no directory")
    memory = RememberedRate("s3://bucket", Machine(tmp_path, Access.PRIVATE))
    memory.write(12.5)
    assert memory.read() is None
