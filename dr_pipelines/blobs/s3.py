"""Objects in an S3 bucket.

The SDK sends every request once: when it repeats a create whose answer was lost, it reports the
caller's own object as a conflict. Reads are repeated here, a bounded number of times.
"""

import base64
import hashlib
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from botocore.exceptions import ClientError, IncompleteReadError

from dr_pipelines.blobs.keys import check_key, check_prefix, check_range
from dr_pipelines.blobs.s3_client import open_client, url_options
from dr_pipelines.blobs.s3_errors import (
    VENDOR_ERRORS,
    WAY_OUT,
    S3Request,
    code_of,
    is_bare,
    translated,
)
from dr_pipelines.errors import (
    Damaged,
    DrError,
    InvalidRequest,
    NotFound,
    OutcomeUnknown,
    Refused,
    Unavailable,
)

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

T = TypeVar("T")

SECRETS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
READ_PAUSES_SECONDS = (0.2, 1.0)
PAGE_KEYS = 1000


class S3BlobStore:
    """A `BlobStore` under a prefix of a bucket; `client` must not repeat requests by itself.

    With `checksums`, every object is sent with its SHA-256; it is read back in any case. `secrets`
    appear in no message, whatever the server repeats.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        *,
        client: "S3Client",
        page_keys: int = PAGE_KEYS,
        checksums: bool = True,
        secrets: Collection[str] = (),
    ) -> None:
        # typed as if the option could not be read back
        retries = getattr(client.meta.config, "retries", None) or {}
        if retries.get("total_max_attempts") != 1:
            raise InvalidRequest(
                "an S3 client that repeats requests reports false conflicts; build it with"
                " Config(retries={'total_max_attempts': 1}), as open_s3 does"
            )
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._client = client
        self._page_keys = page_keys
        self._checksums = checksums
        self._secrets = frozenset(filter(None, secrets))
        self._bucket_seen = False

    @property
    def url(self) -> str:
        path = quote(f"{self._bucket}/{self._prefix}".rstrip("/"))
        endpoint, region = self._client.meta.endpoint_url, self._client.meta.region_name
        options = {} if is_amazon(endpoint) else {"endpoint": endpoint}
        options |= {"region": region} | ({} if self._checksums else {"checksums": "no"})
        return f"s3://{path}?{urlencode(options, safe=':/')}"

    def create(self, key: str, data: bytes | memoryview) -> None:
        name, body = self._name(key), bytes(data)
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
        sent: Any = {"ChecksumSHA256": digest} if self._checksums else {}
        try:
            answer = self._client.put_object(
                Bucket=self._bucket, Key=name, Body=body, IfNoneMatch="*", **sent
            )
        except VENDOR_ERRORS as error:
            raise self._meaning(error, key, lost=OutcomeUnknown, creating=True) from error
        if not answer.get("ETag"):
            raise OutcomeUnknown(f"{self.url}: {key}: the answer is not one of an object store")
        self._require_stored(key, body)

    def _require_stored(self, key: str, body: bytes) -> None:
        """Read back what was stored: servers accept, and even return, checksums that are wrong."""
        try:
            stored = self.read(key)
        except (NotFound, Unavailable) as error:
            raise OutcomeUnknown(f"{self.url}: {key}: could not be read back") from error
        if stored != body:
            raise Damaged(f"{self.url}: {key}: reads back differently from what was written")

    def read(self, key: str, range: tuple[int, int] | None = None) -> bytes:
        name = self._name(key)
        check_range(range)
        if range is not None and range[0] == range[1]:
            self.size(key)
            return b""
        return self._repeat(lambda: self._fetch(name, range), key=key)

    def size(self, key: str) -> int:
        name = self._name(key)
        try:
            answer = self._repeat(lambda: self._head(name), key=key)
        except NotFound:
            self._check_bucket()  # a HEAD answers 404 for a missing bucket too
            raise
        size: int = answer["ContentLength"]
        return size

    def keys(self, prefix: str) -> Iterator[str]:
        return self._pages(self._prefix + check_prefix(prefix))

    def delete(self, key: str) -> None:
        name = self._name(key)
        self.size(key)  # first: S3 deletes what does not exist without a word
        try:
            self._client.delete_object(Bucket=self._bucket, Key=name)
        except VENDOR_ERRORS as error:
            raise self._meaning(error, key, lost=OutcomeUnknown) from error

    def _name(self, key: str) -> str:
        return self._prefix + check_key(key)

    def _head(self, name: str) -> Any:
        """The response to a HEAD of the object. It has no body: where it names no error, a GET of
        one byte gets the error.
        """
        try:
            return self._client.head_object(Bucket=self._bucket, Key=name)
        except ClientError as error:
            if is_bare(error):
                self._fetch(name, (0, 1))  # raises what the server has to say
            raise

    def _fetch(self, name: str, range: tuple[int, int] | None) -> bytes:
        options: Any = {"Range": f"bytes={range[0]}-{range[1] - 1}"} if range else {}
        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=name, **options)
        except ClientError as error:
            if range and code_of(error) in ("InvalidRange", "416"):
                return b""  # it starts at or after the end
            raise
        with closing(answer["Body"]) as body:
            data = body.read()  # raises when it ends before its Content-Length
        return data if range is None else _cut(data, range, answer.get("ContentRange", ""))

    def _pages(self, prefix: str) -> Iterator[str]:
        """Raises rather than lists too little."""
        last, token = "", None
        while True:
            page = self._page(prefix, token)
            for item in page.get("Contents", []):
                key = item["Key"]
                if key <= last or not key.startswith(prefix):
                    raise Refused(f"{self.url}: lists out of order: {key!r} after {last!r}")
                last = key
                yield key.removeprefix(self._prefix)
            if page.get("IsTruncated") is False:
                return
            token = page.get("NextContinuationToken")
            if not token:
                raise Unavailable(f"{self.url}: the listing ended early, after {last!r}")

    def _page(self, prefix: str, token: str | None) -> Any:
        rest: Any = {"ContinuationToken": token} if token else {}
        return self._repeat(
            lambda: self._client.list_objects_v2(
                Bucket=self._bucket, Prefix=prefix, MaxKeys=self._page_keys, **rest
            ),
            key=prefix,
        )

    def _check_bucket(self) -> None:
        if self._bucket_seen:
            return
        try:
            self._repeat(self._head_bucket, key="")
        except NotFound as error:
            raise InvalidRequest(f"{self.url}: {WAY_OUT['NoSuchBucket']}") from error
        self._bucket_seen = True

    def _head_bucket(self) -> None:
        try:
            self._client.head_bucket(Bucket=self._bucket)
        except ClientError as error:
            if is_bare(error):
                self._client.list_objects_v2(Bucket=self._bucket, MaxKeys=1)
            raise

    def _meaning(
        self, error: Exception, key: str, *, lost: type[DrError], creating: bool = False
    ) -> DrError:
        return translated(error, S3Request(self.url, key, lost, self._secrets, creating))

    def _repeat(self, call: Callable[[], T], *, key: str) -> T:
        """Call again after a pause while the store is out of reach; for what changes nothing."""
        for pause in (*READ_PAUSES_SECONDS, None):
            try:
                return call()
            except VENDOR_ERRORS as error:
                failure = self._meaning(error, key, lost=Unavailable)
                if pause is None or not isinstance(failure, Unavailable):
                    raise failure from error
            time.sleep(pause)
        raise AssertionError("the last round returns or raises")


def _cut(data: bytes, range: tuple[int, int], content_range: str) -> bytes:
    """The bytes asked for, whether the server honoured the range or sent everything."""
    honoured = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", content_range)
    if honoured is None:
        return data[range[0] : range[1]]
    first, last, total = (int(group) for group in honoured.groups())
    if (first, last + 1) != (range[0], min(range[1], total)) or len(data) != last + 1 - first:
        raise IncompleteReadError(actual_bytes=len(data), expected_bytes=range[1] - range[0])
    return data


def is_amazon(endpoint: str) -> bool:
    """True if the endpoint is Amazon's own, which the region alone decides."""
    host = urlsplit(endpoint).hostname or ""
    return host.endswith((".amazonaws.com", ".amazonaws.com.cn"))


def open_s3(url: str, environ: Mapping[str, str]) -> S3BlobStore:
    """Open `s3://bucket/prefix?endpoint=…&region=…&checksums=yes|no`; sends nothing.

    Credentials come from `environ` (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN,
    AWS_PROFILE), else from boto3's usual chain. With an endpoint, buckets are addressed by path.
    """
    options, parts = url_options(url), urlsplit(url)
    endpoint = options.get("endpoint")
    region = options.get("region") or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    client = open_client(endpoint=endpoint, region=region or "us-east-1", environ=environ)
    checksums = options.get("checksums", "yes") == "yes"
    secrets = [environ.get(name, "") for name in SECRETS]
    return S3BlobStore(
        parts.netloc, parts.path, client=client, checksums=checksums, secrets=secrets
    )
