"""The S3 store against a real server."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from dr_pipelines.blobs.capabilities import Capabilities, probe
from dr_pipelines.blobs.s3 import S3BlobStore
from dr_pipelines.errors import (
    Conflict,
    InvalidRequest,
    OutcomeUnknown,
    Refused,
)
from dr_pipelines.protocols import BlobStore
from dr_pipelines.testing.blob_contract import BlobStoreContract
from tests.blobs.s3_buckets import client_of, new_bucket, opened
from tests.repository.builders import repository
from tests.servers.cutting_proxy import CuttingProxy
from tests.servers.radosgw import Radosgw

NOW = datetime(2026, 1, 1, tzinfo=UTC)

pytestmark = pytest.mark.radosgw


def open_bucket(server: Radosgw, bucket: str) -> S3BlobStore:
    return opened(server.endpoint, bucket, server.access_key, server.secret_key)


@pytest.fixture(scope="module")
def client(radosgw: Radosgw) -> Any:
    return client_of(radosgw.endpoint, radosgw.access_key, radosgw.secret_key)


@pytest.fixture(scope="module")
def bucket(client: Any) -> str:
    return new_bucket(client)


@pytest.fixture
def blobs(client: Any, bucket: str) -> S3BlobStore:
    return S3BlobStore(bucket, uuid4().hex, client=client)


class TestRadosgw(BlobStoreContract):
    @pytest.fixture
    def blobs(self, client: Any, bucket: str) -> BlobStore:
        return S3BlobStore(bucket, uuid4().hex, client=client)


def test_an_unversioned_bucket_has_every_capability(blobs: S3BlobStore) -> None:
    measured = probe(blobs, prefix="probe", now=NOW)
    assert measured == Capabilities(
        probed_at=NOW,
        racers=16,
        winners=1,
        exclusive_create=True,
        read_after_write=True,
        range_reads=True,
        sizes=True,
        lists_after_write=True,
        deletes=True,
    )
    assert list(blobs.keys("")) == []


def test_a_versioned_bucket_that_overwrites_is_refused(client: Any) -> None:
    """This server ignores `If-None-Match: *` there: every racer wins."""
    blobs = S3BlobStore(new_bucket(client, versioned=True), client=client)
    measured = probe(blobs, prefix="probe", now=NOW)
    assert (measured.exclusive_create, measured.winners) == (False, 16)
    with pytest.raises(Refused, match="an object that exists can be created again"):
        repository(blobs, capabilities=measured.model_dump(mode="json"))
    assert list(blobs.keys("")) == []


def test_a_create_whose_answer_is_lost_is_unknown_done_and_sent_once(
    radosgw: Radosgw, bucket: str, blobs: S3BlobStore
) -> None:
    with CuttingProxy(radosgw.endpoint) as proxy:
        through = opened(
            proxy.endpoint,
            bucket,
            radosgw.access_key,
            radosgw.secret_key,
            prefix=blobs.url.partition("?")[0].rpartition("/")[2],
        )
        proxy.cut_next_put = True
        with pytest.raises(OutcomeUnknown, match="log/1: no complete answer"):
            through.create("log/1", b"one")
        assert proxy.methods == ["PUT"]
        with pytest.raises(Conflict):
            through.create("log/1", b"two")
        through.create("log/2", b"two")
    assert {key: blobs.read(key) for key in blobs.keys("")} == {"log/1": b"one", "log/2": b"two"}


@pytest.mark.parametrize(
    ("access_key", "secret_key", "says"),
    [
        (None, "wrong", "the secret key is wrong; check AWS_SECRET_ACCESS_KEY"),
        ("unknown", "SKTEST", "the access key is unknown there; check AWS_ACCESS_KEY_ID"),
    ],
)
def test_wrong_credentials_are_named_but_not_shown(
    radosgw: Radosgw, bucket: str, access_key: str | None, secret_key: str, says: str
) -> None:
    blobs = opened(radosgw.endpoint, bucket, access_key or radosgw.access_key, secret_key)
    with pytest.raises(InvalidRequest, match=says) as refused:
        blobs.create("a", b"")
    assert radosgw.secret_key not in str(refused.value)
    with pytest.raises(InvalidRequest, match=says):
        blobs.size("a")
