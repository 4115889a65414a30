"""What an S3 request that failed means to the caller, and the way out of it."""

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    ProxyConnectionError,
)
from botocore.parsers import ResponseParserError

from dr_pipelines.errors import (
    Conflict,
    Damaged,
    DrError,
    InvalidRequest,
    NotFound,
    Unavailable,
)

VENDOR_ERRORS = (BotoCoreError, ClientError, ResponseParserError)
NEVER_SENT = (EndpointConnectionError, ConnectTimeoutError, ProxyConnectionError)
LOST = (HTTPClientError, IncompleteReadError, ResponseParserError)
MISSING = ("NoSuchKey", "404", "NotFound")
ELSEWHERE = "the bucket is in another region; add ?region=… to the URL"
WAY_OUT = {
    "NoSuchBucket": "the bucket does not exist; create it, or correct the URL",
    "AccessDenied": "access denied; the credentials need s3:GetObject, s3:PutObject,"
    " s3:DeleteObject and s3:ListBucket here",
    "InvalidAccessKeyId": "the access key is unknown there; check AWS_ACCESS_KEY_ID and endpoint",
    "SignatureDoesNotMatch": "the secret key is wrong; check AWS_SECRET_ACCESS_KEY",
    "RequestTimeTooSkewed": "this machine's clock is wrong by more than 15 minutes",
    "PermanentRedirect": ELSEWHERE,
    "AuthorizationHeaderMalformed": ELSEWHERE,
    "EntityTooLarge": "the object is larger than one PUT may be",
}
SAME_AS = {"403": "AccessDenied", "301": "PermanentRedirect"}
"""What a HEAD answers, which has no body to name the error."""


def translated(error: Exception, *, url: str, key: str, lost: type[DrError]) -> DrError:
    """What a failed request means to the caller; `lost` says what a lost answer is."""
    where = f"{url}: {key}" if key else url
    if isinstance(error, ClientError):
        return _answered(error, where=where, url=url, lost=lost)
    if isinstance(error, FlexibleChecksumError):
        return Damaged(f"{where}: the bytes do not match the checksum stored with them")
    if isinstance(error, NEVER_SENT):
        return Unavailable(f"{url}: no connection; check the endpoint and the network")
    if isinstance(error, LOST):
        return lost(f"{where}: no complete answer ({type(error).__name__})")
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return InvalidRequest(
            f"{url}: no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    return InvalidRequest(f"{url}: {error}")


def _answered(error: ClientError, *, where: str, url: str, lost: type[DrError]) -> DrError:
    code = SAME_AS.get(code_of(error), code_of(error))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in MISSING:
        return NotFound(f"{where}: no such object")
    if status in (409, 412):
        return Conflict(f"{where}: exists, or is being written by another")
    if status >= 500 or code in ("RequestTimeout", "429", "TooManyRequests"):
        return lost(f"{where}: the store failed ({status} {code})")
    return InvalidRequest(f"{url}: {WAY_OUT.get(code, f'refused ({status} {code})')}")


def code_of(error: ClientError) -> str:
    """The name that the server gave an error; a status where it gave none."""
    return str(error.response.get("Error", {}).get("Code", ""))
