"""Translation of failed S3 requests into errors that say what to do next."""

from collections.abc import Collection
from dataclasses import dataclass, field

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
from dr_pipelines.model.display import displayed_line

VENDOR_ERRORS = (BotoCoreError, ClientError, ResponseParserError)
NEVER_SENT = (EndpointConnectionError, ConnectTimeoutError, ProxyConnectionError)
LOST = (HTTPClientError, IncompleteReadError, ResponseParserError)
MISSING = ("NoSuchKey", "404", "NotFound")
ELSEWHERE = "the bucket is in another region; add ?region=… to the URL"
EXPIRED = (
    "the session token has expired; get new credentials and set AWS_ACCESS_KEY_ID,"
    " AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN again"
)
NOT_CONDITIONAL = (
    "the store does not support If-None-Match: *, without which two writers could overwrite each"
    " other's commits; use a store or a bucket that does, or a directory"
)
NO_CHECKSUMS = (
    "the store refuses the header x-amz-checksum-sha256; add ?checksums=no to the URL (what was"
    " written is read back and compared in any case)"
)
WAY_OUT = {
    "NoSuchBucket": "the bucket does not exist; create it, or correct the URL",
    "AccessDenied": "access denied; the credentials need s3:GetObject, s3:PutObject,"
    " s3:DeleteObject and s3:ListBucket here",
    "InvalidAccessKeyId": "the access key is unknown there; check AWS_ACCESS_KEY_ID and endpoint",
    "SignatureDoesNotMatch": "the secret key is wrong; check AWS_SECRET_ACCESS_KEY",
    "ExpiredToken": EXPIRED,
    "ExpiredTokenException": EXPIRED,
    "TokenRefreshRequired": EXPIRED,
    "InvalidToken": "the session token is not valid there; check AWS_SESSION_TOKEN, or unset it"
    " where the keys are permanent ones",
    "RequestTimeTooSkewed": "this machine's clock and the store's differ by more than 15 minutes;"
    " set this machine's clock",
    "RequestExpired": "this machine's clock and the store's differ; set this machine's clock",
    "PermanentRedirect": ELSEWHERE,
    "AuthorizationHeaderMalformed": ELSEWHERE,
    "EntityTooLarge": "the object is larger than one PUT may be",
}
SAME_AS = {"403": "AccessDenied", "301": "PermanentRedirect"}
"""What a HEAD answers, which has no body to name the error."""
FULL = (507,)
"""Statuses of a request that was refused for want of space, and had no effect."""
NOT_IMPLEMENTED = (501, 505)
"""Statuses of a request that the server does not know, and that had no effect."""
UNKNOWN_HEADER = ("NotImplemented", "NotSupported", "InvalidArgument", "InvalidRequest")
"""Codes of a request with a header that the server does not know."""
SENTENCE_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class S3Request:
    """A request that failed. `lost` is the error of a lost answer, `secrets` appear in no message;
    `creating`: it was a create, which has headers that not every store knows."""

    url: str
    key: str
    lost: type[DrError]
    secrets: Collection[str] = field(default=(), repr=False)
    creating: bool = False

    @property
    def where(self) -> str:
        return f"{self.url}: {self.key}" if self.key else self.url


def translated(error: Exception, request: S3Request) -> DrError:
    """The meaning of a failed request to the caller.

    The server's own sentence is part of the message, without secrets: it may repeat what it was
    sent.
    """
    url, where = request.url, request.where
    if isinstance(error, ClientError):
        return _answered(error, request)
    if isinstance(error, FlexibleChecksumError):
        return Damaged(f"{where}: the bytes do not match the checksum stored with them")
    if isinstance(error, NEVER_SENT):
        return Unavailable(f"{url}: no connection; check the endpoint and the network")
    if isinstance(error, LOST):
        return request.lost(f"{where}: no complete answer ({type(error).__name__})")
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return InvalidRequest(
            f"{url}: no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    return InvalidRequest(f"{url}: {error}")


def _answered(error: ClientError, request: S3Request) -> DrError:
    where = request.where
    code = SAME_AS.get(code_of(error), code_of(error))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in MISSING:
        return NotFound(f"{where}: no such object")
    if status in (409, 412):
        return Conflict(f"{where}: exists, or is being written by another")
    message = _sentence(error, request.secrets)
    if status in FULL:
        return Unavailable(f"{where}: the store has no space left ({status} {code}){message}")
    way_out = WAY_OUT.get(code) or (_unsupported(error, status) if request.creating else None)
    if way_out is None and status not in NOT_IMPLEMENTED and _unanswered(status, code):
        return request.lost(f"{where}: the store failed ({status} {code}){message}")
    return InvalidRequest(f"{request.url}: {way_out or f'refused ({status} {code})'}{message}")


def _unanswered(status: int, code: str) -> bool:
    """True if the request may have taken effect in spite of this answer."""
    return status >= 500 or code in ("RequestTimeout", "429", "TooManyRequests")


def _unsupported(error: ClientError, status: int) -> str | None:
    """The header of a create that the store does not know, by its own sentence or by elimination:
    of a create, only `If-None-Match` is anything but usual. A checksum that does not fit is no
    unknown header: those answers have codes of their own."""
    message = str(error.response.get("Error", {}).get("Message") or "").lower()
    unknown = status == 501 or code_of(error) in UNKNOWN_HEADER
    if unknown and "checksum" in message:
        return NO_CHECKSUMS
    conditional = "if-none-match" in message or "ifnonematch" in message
    if conditional or status == 501 or code_of(error) == "NotImplemented":
        return NOT_CONDITIONAL
    return None


def _sentence(error: ClientError, secrets: Collection[str]) -> str:
    """The server's own sentence, shortened, with nothing in it that acts on a terminal. A HEAD's is
    made up by the SDK, of the status."""
    message = str(error.response.get("Error", {}).get("Message") or "").strip()
    if not message or code_of(error).isdigit():
        return ""
    for secret in secrets:
        message = message.replace(secret, "***")
    short = displayed_line(message, limit=SENTENCE_CHARACTERS)
    return f'; the store says: "{short}"'


def is_bare(error: ClientError) -> bool:
    """True if a refusal names no error because it has no body, as the answer to a HEAD."""
    return code_of(error) in ("301", "400", "403")


def code_of(error: ClientError) -> str:
    """The name that the server gave an error; a status where it gave none."""
    return str(error.response.get("Error", {}).get("Code", ""))
