"""The S3 store against an imitation of S3, a proxy that loses answers, and other web servers."""

import base64
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from uuid import uuid4

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from dr_pipelines.blobs import s3
from dr_pipelines.blobs.s3 import S3BlobStore, open_s3
from dr_pipelines.errors import (
    Conflict,
    Damaged,
    DrError,
    InvalidRequest,
    NotFound,
    OutcomeUnknown,
    Refused,
    Unavailable,
)
from dr_pipelines.protocols import BlobStore
from dr_pipelines.testing.blob_contract import BlobStoreContract
from tests.blobs.s3_buckets import client_of, new_bucket, opened
from tests.servers.cutting_proxy import CuttingProxy
from tests.servers.ports import free_port

DATA = bytes(range(256)) * 4096


@pytest.fixture(scope="module")
def client(moto_endpoint: str) -> Any:
    return client_of(moto_endpoint)


@pytest.fixture(scope="module")
def bucket(client: Any) -> str:
    return new_bucket(client)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "READ_PAUSES_SECONDS", (0.0, 0.0))


class TestMoto(BlobStoreContract):
    listed = 230

    @pytest.fixture
    def blobs(self, client: Any, bucket: str) -> BlobStore:
        return S3BlobStore(bucket, uuid4().hex, client=client, page_keys=100)


@pytest.fixture
def blobs(client: Any, bucket: str) -> S3BlobStore:
    return S3BlobStore(bucket, uuid4().hex, client=client)


@contextmanager
def answering(status: int, body: bytes, headers: dict[str, str]) -> Iterator[tuple[str, list[str]]]:
    """An HTTP server that answers everything alike, and the methods it was asked for."""
    requests: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            requests.append(self.command)
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(body))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_PUT = do_HEAD = do_DELETE = answer  # noqa: N815 - the names http.server calls

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requests
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


SAYS = "it is not to be"


def error_body(code: str, says: str = SAYS) -> bytes:
    return f"<Error><Code>{code}</Code><Message>{says}</Message></Error>".encode()


def test_a_client_that_repeats_requests_is_refused() -> None:
    repeating = boto3.client(
        "s3", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    with pytest.raises(InvalidRequest, match="reports false conflicts"):
        S3BlobStore("bucket", client=repeating)


def test_a_create_is_one_conditional_put_with_its_checksum(
    client: Any, bucket: str, blobs: S3BlobStore
) -> None:
    sent: list[tuple[str, dict[str, Any]]] = []

    def record(params: dict[str, Any], **_: object) -> None:
        sent.append((params["method"], params["headers"]))

    client.meta.events.register("before-call.s3", record)
    try:
        blobs.create("a", DATA)
    finally:
        client.meta.events.unregister("before-call.s3", record)
    [(method, headers), (after, _)] = sent
    digest = base64.b64encode(hashlib.sha256(DATA).digest()).decode()
    assert (method, headers["If-None-Match"], after) == ("PUT", "*", "GET")
    assert headers["x-amz-checksum-sha256"] == digest


class _LosesTheLastByte:
    """A client whose server stores less than it was sent, and says nothing."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def put_object(self, **arguments: Any) -> Any:
        del arguments["ChecksumSHA256"]
        return self._client.put_object(**arguments | {"Body": arguments["Body"][:-1]})


def test_what_reads_back_differently_is_damaged(client: Any, bucket: str) -> None:
    blobs = S3BlobStore(bucket, "readback", client=_LosesTheLastByte(client))  # type: ignore[arg-type]
    with pytest.raises(Damaged, match="a: reads back differently from what was written"):
        blobs.create("a", DATA)


def test_a_lost_answer_to_a_create_is_unknown_and_the_object_is_there(
    moto_endpoint: str, bucket: str
) -> None:
    direct = opened(moto_endpoint, bucket, prefix="lost")
    with CuttingProxy(moto_endpoint) as proxy:
        blobs = opened(proxy.endpoint, bucket, prefix="lost")
        proxy.cut_next_put = True
        with pytest.raises(OutcomeUnknown, match="log/1: no complete answer"):
            blobs.create("log/1", DATA)
        assert proxy.methods == ["PUT"]
    assert direct.read("log/1") == DATA


def test_a_read_that_is_cut_off_is_repeated(moto_endpoint: str, bucket: str) -> None:
    opened(moto_endpoint, bucket, prefix="cut").create("a", DATA)
    with CuttingProxy(moto_endpoint) as proxy:
        blobs = opened(proxy.endpoint, bucket, prefix="cut")
        proxy.cut_next_get_after = 20_000
        assert blobs.read("a") == DATA
        assert proxy.methods == ["GET", "GET"]


def test_an_object_that_ends_early_every_time_is_not_read(bucket: str) -> None:
    with answering(200, b"12345", {"Content-Length": "10", "Connection": "close"}) as (
        url,
        requests,
    ):
        with pytest.raises(Unavailable, match="a: no complete answer"):
            opened(url, bucket).read("a")
        assert requests == ["GET"] * 3


@pytest.mark.parametrize("content_range", ["bytes 0-4/100", "bytes 10-14/12", "bytes 10-13/100"])
def test_another_range_than_asked_for_is_not_taken(bucket: str, content_range: str) -> None:
    with (
        answering(206, b"12345", {"Content-Range": content_range}) as (url, _),
        pytest.raises(Unavailable, match="a: no complete answer"),
    ):
        opened(url, bucket).read("a", (10, 15))


def test_a_server_that_ignores_ranges_is_cut_to_size(bucket: str) -> None:
    with answering(200, b"0123456789", {}) as (url, _):
        assert opened(url, bucket).read("a", (2, 5)) == b"234"


def test_bytes_that_do_not_match_their_stored_checksum_are_damage(bucket: str) -> None:
    digest = base64.b64encode(hashlib.sha256(b"other").digest()).decode()
    with (
        answering(200, b"bytes", {"x-amz-checksum-sha256": digest}) as (url, _),
        pytest.raises(Damaged, match="a: the bytes do not match the checksum"),
    ):
        opened(url, bucket).read("a")


PAGE = (
    "<ListBucketResult><IsTruncated>{truncated}</IsTruncated>"
    "<Contents><Key>backups/one/b</Key></Contents><Contents><Key>{second}</Key></Contents>"
    "</ListBucketResult>"
)


@pytest.mark.parametrize(
    ("truncated", "second", "raised", "says"),
    [
        ("false", "backups/one/a", Refused, "lists out of order"),
        ("false", "backups/one/b", Refused, "lists out of order"),
        ("false", "elsewhere", Refused, "lists out of order"),
        ("true", "backups/one/c", Unavailable, "the listing ended early, after 'backups/one/c'"),
    ],
)
def test_a_listing_that_cannot_be_right_is_not_taken(
    bucket: str, truncated: str, second: str, raised: type[DrError], says: str
) -> None:
    page = PAGE.format(truncated=truncated, second=second).encode()
    with answering(200, page, {}) as (url, _), pytest.raises(raised, match=says):
        list(opened(url, bucket).keys(""))


@pytest.mark.parametrize(
    ("status", "code", "raised", "says"),
    [
        (500, "InternalError", OutcomeUnknown, "log/1: the store failed .500 InternalError."),
        (503, "SlowDown", OutcomeUnknown, "log/1: the store failed .503 SlowDown."),
        (400, "RequestTimeout", OutcomeUnknown, "log/1: the store failed .400 RequestTimeout."),
        (403, "AccessDenied", InvalidRequest, "the credentials need s3:GetObject, s3:PutObject"),
        (403, "RequestTimeTooSkewed", InvalidRequest, "this machine's clock and the store's"),
        (400, "ExpiredToken", InvalidRequest, "the session token has expired"),
        (400, "InvalidToken", InvalidRequest, "the session token is not valid there"),
        (403, "InvalidAccessKeyId", InvalidRequest, "the access key is unknown there"),
        (403, "SignatureDoesNotMatch", InvalidRequest, "the secret key is wrong"),
        (400, "AuthorizationHeaderMalformed", InvalidRequest, "the bucket is in another region"),
        (400, "EntityTooLarge", InvalidRequest, "larger than one PUT may be"),
        (501, "NotImplemented", InvalidRequest, "does not support If-None-Match"),
        (507, "InsufficientCapacity", Unavailable, "log/1: the store has no space left .507"),
        (400, "Unheard", InvalidRequest, "refused .400 Unheard."),
    ],
)
def test_a_failed_create_says_whether_it_may_have_happened(
    bucket: str, status: int, code: str, raised: type[DrError], says: str
) -> None:
    with answering(status, error_body(code), {}) as (url, requests):
        with pytest.raises(raised, match=says) as failure:
            opened(url, bucket).create("log/1", b"x")
        assert failure.type is raised
        assert str(failure.value).endswith(f'; the store says: "{SAYS}"')
        assert requests == ["PUT"]


@pytest.mark.parametrize(
    ("status", "code", "says", "named"),
    [
        (
            501,
            "NotImplemented",
            "A header you provided is not implemented",
            "does not support If-None-Match",
        ),
        (400, "InvalidArgument", "If-None-Match is not supported", "does not support If-None-Mat"),
        (400, "InvalidRequest", "Checksum algorithm not supported", r"add \?checksums=no to the U"),
        (501, "NotImplemented", "x-amz-checksum-sha256 unknown", r"add \?checksums=no to the URL"),
    ],
)
def test_a_header_that_the_store_does_not_know_is_named(
    bucket: str, status: int, code: str, says: str, named: str
) -> None:
    with answering(status, error_body(code, says), {}) as (url, _):
        with pytest.raises(InvalidRequest, match=named) as failure:
            opened(url, bucket).create("log/1", b"x")
        assert says in str(failure.value)


@pytest.mark.parametrize("code", ["BadDigest", "XAmzContentChecksumMismatch"])
def test_a_checksum_that_does_not_fit_is_no_reason_to_go_without(bucket: str, code: str) -> None:
    with answering(400, error_body(code, "The checksum did not match"), {}) as (url, _):
        with pytest.raises(InvalidRequest, match=f"refused .400 {code}.") as failure:
            opened(url, bucket).create("log/1", b"x")
        assert "checksums=no" not in str(failure.value)


def test_a_deletion_that_is_not_implemented_is_not_about_conditions(
    client: Any, blobs: S3BlobStore
) -> None:
    blobs.create("a", b"")

    def refuse(**_: object) -> None:
        answer = {"Error": {"Code": "NotImplemented", "Message": SAYS}}
        raise ClientError(answer | {"ResponseMetadata": {"HTTPStatusCode": 501}}, "DeleteObject")  # type: ignore[arg-type]

    client.meta.events.register("after-call.s3.DeleteObject", refuse)
    try:
        with pytest.raises(InvalidRequest, match=r"refused \(501 NotImplemented\)") as failure:
            blobs.delete("a")
    finally:
        client.meta.events.unregister("after-call.s3.DeleteObject", refuse)
    assert "If-None-Match" not in str(failure.value)


def test_without_checksums_none_is_sent_and_objects_are_read_back(
    moto_endpoint: str, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    url = f"s3://{bucket}/plain?endpoint={moto_endpoint}&region=us-east-1&checksums=no"
    observed = client_of(moto_endpoint)
    monkeypatch.setattr(s3, "open_client", lambda **_: observed)
    blobs = open_s3(url, keys)
    sent: list[tuple[str, dict[str, Any]]] = []

    def record(params: dict[str, Any], **_: object) -> None:
        sent.append((params["method"], params["headers"]))

    observed.meta.events.register("before-call.s3", record)
    blobs.create("a", DATA)
    [(method, headers), (after, _)] = sent
    assert (method, after, headers["If-None-Match"]) == ("PUT", "GET", "*")
    assert not [name for name in headers if "checksum" in name.lower()]
    assert blobs.url == open_s3(blobs.url, keys).url


@pytest.mark.parametrize(
    ("status", "code", "named"),
    [
        (400, "ExpiredToken", "the session token has expired"),
        (403, "RequestTimeTooSkewed", "this machine's clock and the store's"),
        (403, "InvalidAccessKeyId", "the access key is unknown there"),
        (403, "SignatureDoesNotMatch", "the secret key is wrong"),
        (403, "AccessDenied", "access denied; the credentials need"),
    ],
)
def test_a_refused_look_at_a_size_is_explained_as_a_read_is(
    bucket: str, status: int, code: str, named: str
) -> None:
    """A HEAD has no body that could say so."""
    with answering(status, error_body(code), {}) as (url, requests):
        blobs = opened(url, bucket)
        with pytest.raises(InvalidRequest, match=named) as failure:
            blobs.size("a")
        assert SAYS in str(failure.value)
        assert (requests[0], requests[-1]) == ("HEAD", "GET")


def test_what_a_store_says_cannot_act_on_a_terminal_or_repeat_a_secret(bucket: str) -> None:
    says = "no &#x9b;31m\u202egnp.exe\nline two token-of-mine " + "x" * 400
    keys = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test-secret",
        "AWS_SESSION_TOKEN": "token-of-mine",
    }
    with answering(403, error_body("AccessDenied", says), {}) as (url, _):
        blobs = open_s3(f"s3://{bucket}?endpoint={url}", keys)
        with pytest.raises(InvalidRequest) as failure:
            blobs.read("a")
    message = str(failure.value)
    assert r"no \x9b31m\u202egnp.exe\nline two *** xxx" in message
    assert len(message) < 500


@pytest.mark.parametrize("code", ["PreconditionFailed", "ConditionalRequestConflict"])
def test_both_kinds_of_conflict_are_conflicts(bucket: str, code: str) -> None:
    status = 412 if code == "PreconditionFailed" else 409
    with (
        answering(status, error_body(code), {}) as (url, _),
        pytest.raises(Conflict, match="log/1: exists, or is being written by another"),
    ):
        opened(url, bucket).create("log/1", b"x")


def test_a_failing_store_is_asked_again_a_bounded_number_of_times(bucket: str) -> None:
    with answering(503, error_body("SlowDown"), {}) as (url, requests):
        blobs = opened(url, bucket)
        calls: list[Callable[[], object]] = [
            lambda: blobs.read("a"),
            lambda: blobs.size("a"),
            lambda: list(blobs.keys("")),
            lambda: blobs.delete("a"),
        ]
        for call in calls:
            with pytest.raises(Unavailable):
                call()
        assert requests == ["GET"] * 3 + ["HEAD"] * 3 + ["GET"] * 3 + ["HEAD"] * 3


def test_a_deletion_whose_answer_is_lost_is_unknown(client: Any, blobs: S3BlobStore) -> None:
    blobs.create("a", b"")

    def lose(**_: object) -> None:
        raise ResponseParserError("cut")

    client.meta.events.register("after-call.s3.DeleteObject", lose)
    try:
        with pytest.raises(OutcomeUnknown, match="a: no complete answer"):
            blobs.delete("a")
    finally:
        client.meta.events.unregister("after-call.s3.DeleteObject", lose)
    with pytest.raises(NotFound):
        blobs.size("a")


def test_a_missing_bucket_is_not_a_missing_object(client: Any) -> None:
    blobs = S3BlobStore("no-such-bucket", client=client)
    calls: list[Callable[[], object]] = [
        lambda: blobs.create("a", b""),
        lambda: blobs.read("a"),
        lambda: blobs.size("a"),
        lambda: list(blobs.keys("")),
        lambda: blobs.delete("a"),
    ]
    for call in calls:
        with pytest.raises(InvalidRequest, match="the bucket does not exist") as refused:
            call()
        assert refused.type is InvalidRequest


def test_an_endpoint_where_nobody_listens_is_unavailable() -> None:
    blobs = opened(f"http://127.0.0.1:{free_port()}", "bucket")
    for call in (lambda: blobs.create("a", b""), lambda: blobs.read("a")):
        with pytest.raises(Unavailable, match="no connection; check the endpoint"):
            call()


@pytest.mark.parametrize("page", [b"<html>hello", b"<html>hello</html>", b"hello", b""])
def test_a_web_server_that_is_no_object_store_is_not_taken_for_one(
    bucket: str, page: bytes
) -> None:
    with answering(200, page, {"Content-Type": "text/html"}) as (url, _):
        blobs = opened(url, bucket)
        with pytest.raises(Unavailable):
            list(blobs.keys(""))
        with pytest.raises(OutcomeUnknown):
            blobs.create("a", b"")


def test_stores_of_one_bucket_do_not_see_each_other(client: Any, bucket: str) -> None:
    one, other = (S3BlobStore(bucket, f"x/{name}", client=client) for name in ("a", "ab"))
    one.create("k", b"one")
    other.create("k", b"other")
    assert (list(one.keys("")), one.read("k")) == (["k"], b"one")
    assert (list(other.keys("")), other.read("k")) == (["k"], b"other")


@pytest.mark.parametrize(
    ("url", "canonical"),
    [
        (
            "s3://bucket/a/b/?endpoint=http://127.0.0.1:9&region=eu-west-1",
            "s3://bucket/a/b?endpoint=http://127.0.0.1:9&region=eu-west-1",
        ),
        ("s3://bucket", "s3://bucket?region=us-east-1"),
        ("s3://bucket/p?region=eu-north-1", "s3://bucket/p?region=eu-north-1"),
    ],
)
def test_the_url_opens_the_same_place_again(url: str, canonical: str) -> None:
    environ = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "hidden"}
    assert open_s3(url, environ).url == canonical
    assert open_s3(canonical, environ).url == canonical


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("s3://key:hidden@bucket/p", "an S3 URL holds no credentials"),
        ("s3://bucket?endpoint=http://key:hidden@host", "an S3 URL holds no credentials"),
        ("s3://bucket?endpoint=127.0.0.1:9000", "the endpoint must be http://host:port"),
        ("s3://bucket?endpoint=ftp://host", "the endpoint must be http://host:port"),
        (
            "s3://bucket?secret_key=hidden",
            "unknown option; expected one of: endpoint, region, checksums",
        ),
        ("s3://bucket?checksums=maybe", "checksums must be yes or no"),
        ("s3:///p", "expected s3://bucket/prefix"),
        ("https://bucket/p", "expected s3://bucket/prefix"),
    ],
)
def test_a_url_that_cannot_be_opened_says_what_is_expected(url: str, says: str) -> None:
    with pytest.raises(InvalidRequest, match=says) as refused:
        open_s3(url, {})
    assert "hidden" not in str(refused.value)


def test_missing_credentials_are_named(
    moto_endpoint: str, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    blobs = open_s3(f"s3://{bucket}/p?endpoint={moto_endpoint}", {})
    with pytest.raises(InvalidRequest, match="no credentials; set AWS_ACCESS_KEY_ID"):
        blobs.create("a", b"")
