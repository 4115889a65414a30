"""Translation of Lance's errors: its exceptions are general, their texts name the failure."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from dr_pipelines.errors import (
    AlreadyExists,
    Conflict,
    Damaged,
    DrError,
    InvalidRequest,
    NotFound,
    Unavailable,
)
from dr_pipelines.stores.shared.calls import detail

VENDOR_ERRORS = (OSError, RuntimeError, ValueError, NotImplementedError, pa.ArrowException)
"""What the bindings raise; `pa.ArrowException` is what reading batches raises."""

MEANINGS: tuple[tuple[str, type[DrError], str], ...] = (
    (r"NoSuchBucket", NotFound, "the bucket does not exist; create it, or correct the URL"),
    (
        r"InvalidAccessKeyId|SignatureDoesNotMatch|AccessDenied|403 Forbidden",
        InvalidRequest,
        "access denied; check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and what they may do here",
    ),
    (
        r"NoCredentials|credentials provider",
        InvalidRequest,
        "no credentials; set AWS_ACCESS_KEY_ID",
    ),
    (r"Dataset at path .* was not found", NotFound, "it does not exist"),
    (r"already exists", AlreadyExists, "it exists already"),
    (r"[Cc]ommit ?[Cc]onflict|[Cc]oncurrent", Conflict, "somebody else wrote first; try again"),
    (
        r"Generic S3 error|HTTP error|error sending request|timed? ?out|[Cc]onnection",
        Unavailable,
        "out of reach; check the endpoint and the network, and try again later",
    ),
    (
        r"Permission denied|No space left|Read-only file system|Too many open files",
        Unavailable,
        "the directory cannot be used now",
    ),
    (r"Invalid user input", InvalidRequest, "the engine does not accept it"),
)


def translated(error: BaseException, *, about: str) -> DrError:
    """The error of this package for one of Lance; `about` names the collection or the store.

    A message of Lance holds paths and requests, never credentials: these it gets beside the URL.
    """
    text = str(error)
    for pattern, kind, message in MEANINGS:
        if re.search(pattern, text):
            return kind(f"{about}: {message} ({_first_line(text)})")
    return Damaged(f"{about}: the engine cannot read or write it ({_first_line(text)})")


@contextmanager
def translating(about: str) -> Iterator[None]:
    """Let none of Lance's exceptions out."""
    try:
        yield
    except DrError:
        raise
    except VENDOR_ERRORS as error:
        raise translated(error, about=about) from error


def _first_line(text: str) -> str:
    """The first line of a message, without places in Lance's sources."""
    first, *_ = text.strip().splitlines() or [""]
    return detail(re.sub(r", /\S+\.rs:\d+:\d+.*", "", first))
