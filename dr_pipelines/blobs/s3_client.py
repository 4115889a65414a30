"""The options in the URL of a bucket, and the client for it."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from dr_pipelines.errors import InvalidRequest

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

BUCKET = re.compile("[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
"""S3's names, and the longer and older ones that some servers still have."""
EXPECTED = "s3://bucket/prefix"
OPTIONS = ("endpoint", "region", "checksums")
CONNECT_TIMEOUT_SECONDS = 5
READ_TIMEOUT_SECONDS = 60


def url_options(url: str) -> dict[str, str]:
    """The options of a URL that can be used; no message repeats more of it than its bucket."""
    try:
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query))
        endpoint = urlsplit(options.get("endpoint", "https://none"))
    except ValueError:
        raise InvalidRequest(f"the URL is malformed: expected {EXPECTED}") from None
    if "@" in parts.netloc or "@" in endpoint.netloc:
        raise InvalidRequest(
            "an S3 URL holds no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    if parts.scheme != "s3" or not BUCKET.fullmatch(parts.netloc) or parts.fragment:
        raise InvalidRequest(f"not the URL of a bucket: expected {EXPECTED}")
    unknown = sorted(set(options) - set(OPTIONS))
    if unknown:
        accepted = ", ".join(OPTIONS)
        raise InvalidRequest(f"s3://{parts.netloc}: unknown option; expected one of: {accepted}")
    if options.get("checksums", "yes") not in ("yes", "no"):
        raise InvalidRequest(f"s3://{parts.netloc}: checksums must be yes or no")
    if endpoint.scheme not in ("http", "https") or not endpoint.hostname or endpoint.query:
        raise InvalidRequest(
            f"s3://{parts.netloc}: the endpoint must be http://host:port or https://host:port"
        )
    return options


def open_client(*, endpoint: str | None, region: str, environ: Mapping[str, str]) -> "S3Client":
    """A client that repeats no request by itself; sends nothing."""
    import boto3
    from botocore.config import Config

    session = boto3.session.Session(
        aws_access_key_id=environ.get("AWS_ACCESS_KEY_ID"),
        aws_secret_access_key=environ.get("AWS_SECRET_ACCESS_KEY"),
        aws_session_token=environ.get("AWS_SESSION_TOKEN"),
        profile_name=environ.get("AWS_PROFILE"),
        region_name=region,
    )
    config = Config(
        retries={"total_max_attempts": 1, "mode": "standard"},
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        read_timeout=READ_TIMEOUT_SECONDS,
        max_pool_connections=32,
        # what is written carries the checksum given here, and no other header than S3 always had
        request_checksum_calculation="when_required",
        response_checksum_validation="when_supported",
        s3={"addressing_style": "path" if endpoint else "auto"},
    )
    return session.client("s3", endpoint_url=endpoint, config=config)
