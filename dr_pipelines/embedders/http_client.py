"""Requests to an embedding service: bounded in size, time and number, and silent about the key."""

import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any

import urllib3

from dr_pipelines.errors import InvalidRequest, Unavailable
from dr_pipelines.model.display import displayed_line

TRANSIENT = frozenset([408, 425, 429, 500, 502, 503, 504])
CONNECT_SECONDS = 10.0
FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 60.0
LONGEST_TOLD_SECONDS = 300.0
"""A service that asks for a longer pause is unavailable."""
PART_BYTES = 1 << 16
SENTENCE = 300
SENTENCE_BYTES = 1 << 14


@dataclass(frozen=True)
class Limits:
    """How long and how often to ask; `requests_per_minute` is kept on our side."""

    timeout_seconds: float = 60.0
    retries: int = 5
    requests_per_minute: int | None = None


class _Transient(Exception):
    """Worth asking again; `wait_seconds` is what the service told."""

    def __init__(self, message: str, wait_seconds: float | None = None) -> None:
        super().__init__(message)
        self.wait_seconds = wait_seconds


@dataclass
class Service:
    """One address that takes JSON and answers with JSON. Redirects are not followed: they could
    carry the key to somebody else."""

    url: str
    place: str
    limits: Limits
    key: str | None = field(default=None, repr=False)
    key_name: str = ""
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    _pool: Any = field(default=None, repr=False)
    _last: float | None = field(default=None, repr=False)

    def post(self, body: dict[str, Any], *, limit_bytes: int) -> Any:
        """The answer to a request, asked again while it is worth it.

        Raises `InvalidRequest` for what the service will never take, `Unavailable` when it gave no
        answer in as many attempts as are allowed.
        """
        for attempt in range(self.limits.retries + 1):
            self._pace()
            try:
                return self._once(body, limit_bytes)
            except _Transient as failed:
                message, asked_seconds = str(failed), failed.wait_seconds
            if attempt == self.limits.retries or (asked_seconds or 0) > LONGEST_TOLD_SECONDS:
                break
            self.sleep(asked_seconds if asked_seconds is not None else self._backoff(attempt))
        more = (
            f"; it asks to wait {asked_seconds:.0f} s"
            if asked_seconds and asked_seconds > LONGEST_TOLD_SECONDS
            else ""
        )
        raise Unavailable(
            f"{self.place}: no answer in {attempt + 1} attempts ({message}){more}. "
            "Try again later: what is embedded so far is kept"
        )

    def _pace(self) -> None:
        """Wait for this request's turn."""
        if self.limits.requests_per_minute and self._last is not None:
            due = self._last + 60.0 / self.limits.requests_per_minute
            if (left := due - self.clock()) > 0:
                self.sleep(left)
        self._last = self.clock()

    def _backoff(self, attempt: int) -> float:
        longest = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * float(2**attempt))
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - so that clients do not march in step

    def _once(self, body: dict[str, Any], limit_bytes: int) -> Any:
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if self.key is not None:
            headers["Authorization"] = f"Bearer {self.key}"
        deadline = self.clock() + self.limits.timeout_seconds
        try:
            answer = self._connections().request(
                "POST",
                self.url,
                body=json.dumps(body, ensure_ascii=False).encode(),
                headers=headers,
                timeout=urllib3.Timeout(
                    connect=min(CONNECT_SECONDS, self.limits.timeout_seconds),
                    read=self.limits.timeout_seconds,
                ),
                retries=False,
                redirect=False,
                preload_content=False,
            )
            try:
                data = self._read(answer, limit_bytes, deadline)
            finally:
                answer.close()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            # `from None`: what the library says may hold the request
            raise _Transient(_kind(error)) from None
        if answer.status != 200:
            raise self._refusal(answer.status, data, answer.headers.get("Retry-After"))
        return _decoded(data)

    def _connections(self) -> urllib3.PoolManager:
        if self._pool is None:
            self._pool = urllib3.PoolManager(maxsize=1)
        return self._pool  # type: ignore[no-any-return]

    def _read(self, answer: Any, limit_bytes: int, deadline: float) -> bytes:
        data = bytearray()
        while part := answer.read(PART_BYTES, decode_content=False):
            data += part
            if len(data) > limit_bytes:
                raise InvalidRequest(
                    f"{self.place}: its answer is longer than {limit_bytes} bytes, more than the "
                    "vectors that were asked for could take"
                )
            if self.clock() > deadline:
                raise _Transient(f"no whole answer in {self.limits.timeout_seconds:.0f} s")
        return bytes(data)

    def _refusal(self, status: int, data: bytes, retry_after: str | None) -> Exception:
        message = self._sentence(data)
        if status in TRANSIENT:
            return _Transient(f"status {status}{message}", _seconds(retry_after))
        return InvalidRequest(f"{self.place}: {self._way_out(status)} (status {status}{message})")

    def _way_out(self, status: int) -> str:
        if status in (401, 403):
            name = f"${{{self.key_name}}}" if self.key_name else "none"
            return f"it does not accept the key (api_key is {name})"
        if 300 <= status < 400:
            return "it sends to another address, which is not followed: name that one in url"
        if status == 404:
            return "there is no such model or address: look at url and model"
        return "it does not take the request: look at model, dimension and max_tokens"

    def _sentence(self, data: bytes) -> str:
        """The service's own message, without the key if it repeats it."""
        text = data[:SENTENCE_BYTES].decode("utf-8", "replace")
        try:
            answer = json.loads(text)
            detail = answer.get("error", answer.get("detail", answer.get("message")))
            text = str(detail.get("message", detail) if isinstance(detail, dict) else detail)
        except (ValueError, AttributeError, RecursionError):
            pass
        if self.key:
            text = text.replace(self.key, "***")
        line = displayed_line(text.strip(), limit=SENTENCE)
        return f": {line}" if line and line != "None" else ""


def _decoded(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise _Transient(f"its answer of {len(data)} bytes is not JSON") from None


def _kind(error: Exception) -> str:
    """The kind of a connection error, in the library's word for it."""
    if isinstance(error, urllib3.exceptions.TimeoutError):
        return "it took too long"
    return f"the connection failed: {type(error).__name__}"


def _seconds(retry_after: str | None) -> float | None:
    """`Retry-After` as seconds from now: a number, or a date."""
    if not retry_after:
        return None
    if retry_after.strip().isdecimal():
        return float(min(int(retry_after.strip()[:9]), 10**8))
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None
