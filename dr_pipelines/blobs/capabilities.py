"""Probes for a blob store's capabilities: they write, read and delete objects, since claims are not
proof.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from threading import Barrier
from uuid import uuid4

from dr_pipelines.errors import (
    Conflict,
    Damaged,
    InvalidRequest,
    NotFound,
    OutcomeUnknown,
)
from dr_pipelines.model.base import Count, Stored, Time
from dr_pipelines.protocols import BlobStore

RACERS = 16
ROUNDS = 3
CONTENT = bytes(range(256)) * 16


class Capabilities(Stored):
    """`winners` is the largest number of successful creates of one key, of `racers` at once."""

    probed_at: Time
    racers: Count
    winners: Count
    exclusive_create: bool
    read_after_write: bool
    range_reads: bool
    sizes: bool
    lists_after_write: bool
    deletes: bool


def probe(blobs: BlobStore, *, prefix: str, now: datetime) -> Capabilities:
    """Try everything on fresh keys under `prefix`, and delete them again.

    Raises what the store raises when it is out of reach or refuses even a plain create.
    """
    parent = f"{prefix}/{uuid4().hex}"
    single, raced = f"{parent}/single", [f"{parent}/race-{n}" for n in range(ROUNDS)]
    try:
        blobs.create(single, CONTENT)
        findings = _findings(blobs, single)
        again = _created(blobs, single, CONTENT[::-1])
        winners = [_race(blobs, key) for key in raced]
        exclusive = all(_keeps(blobs, key, who) for key, who in zip(raced, winners, strict=True))
        listed = list(blobs.keys(f"{parent}/"))
    finally:
        deletes = _delete(blobs, [single, *raced])
    return Capabilities(
        probed_at=now,
        racers=RACERS,
        winners=max(len(who) for who in winners),
        exclusive_create=exclusive and not again,
        lists_after_write=listed == sorted([single, *raced]),
        deletes=deletes,
        **findings,
    )


def _findings(blobs: BlobStore, key: str) -> dict[str, bool]:
    try:
        return {
            "read_after_write": blobs.read(key) == CONTENT,
            "range_reads": blobs.read(key, (100, 300)) == CONTENT[100:300],
            "sizes": blobs.size(key) == len(CONTENT),
        }
    except NotFound:
        return {"read_after_write": False, "range_reads": False, "sizes": False}


def _keeps(blobs: BlobStore, key: str, winners: list[int]) -> bool:
    """True if one writer won and the stored object is the winner's."""
    if len(winners) != 1:
        return False
    try:
        return blobs.read(key) == b"%d" % winners[0]
    except NotFound:
        return False


def _race(blobs: BlobStore, key: str) -> list[int]:
    """Which of the racers were told that they created the object."""
    start = Barrier(RACERS)

    def attempt(n: int) -> bool:
        start.wait()
        return _created(blobs, key, b"%d" % n)

    with ThreadPoolExecutor(RACERS) as threads:
        won = list(threads.map(attempt, range(RACERS)))
    return [n for n in range(RACERS) if won[n]]


def _created(blobs: BlobStore, key: str, data: bytes) -> bool:
    try:
        blobs.create(key, data)
    except Conflict:
        return False
    except Damaged:  # created, and overwritten by another racer before it was read back
        return True
    except OutcomeUnknown as error:
        if not isinstance(error.__cause__, NotFound):
            raise
        return True  # created, and not there for a moment while others overwrite it
    return True


def _delete(blobs: BlobStore, keys: Sequence[str]) -> bool:
    """Delete the probe's objects; False if the store forbids deletions, and a few small objects
    stay.
    """
    try:
        for key in keys:
            with suppress(NotFound):
                blobs.delete(key)
        return all(_missing(blobs, key) for key in keys)
    except InvalidRequest:
        return False


def _missing(blobs: BlobStore, key: str) -> bool:
    try:
        blobs.size(key)
    except NotFound:
        return True
    return False
