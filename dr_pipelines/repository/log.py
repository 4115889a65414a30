"""The log of a collection: create-only, numbered without gaps, the only commit point.

Its rules were model-checked (docs/format.md); the order of calls below is part of them.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from pydantic import ValidationError

from dr_pipelines.errors import (
    Conflict,
    Damaged,
    NotFound,
    OutcomeUnknown,
    Refused,
    Unavailable,
)
from dr_pipelines.model.details import Kind, writing_problem
from dr_pipelines.model.recovery_point import (
    ZERO,
    Body,
    Head,
    LogEntry,
    Writer,
)
from dr_pipelines.protocols import BlobStore, Clock
from dr_pipelines.repository.json_codec import seal_json, unseal_json

ENTRY_LIMIT_BYTES = 64 * 1024
GAP_PROBE = 64
CREATE_ATTEMPTS = 4
APPEND_ATTEMPTS = 16


class Witness(Protocol):
    """Remembers the newest head seen, outside the repository: a cut-off tail leaves no trace
    inside it."""

    def newest(self, collection: str) -> tuple[int, str] | None:
        """Number and hash of the newest entry ever seen."""
        ...

    def record(self, collection: str, number: int, sha256: str) -> None:
        """Remember a head; an older one than what is remembered is ignored."""
        ...


@dataclass(frozen=True, slots=True)
class Draft:
    """The entry that a writer wants to append, decided for one head."""

    timeline: int
    body: Body


class Log:
    """Reads and appends the entries of one collection."""

    def __init__(
        self,
        blobs: BlobStore,
        collection: str,
        *,
        witness: Witness,
        writer: Writer,
        clock: Clock,
        new_transaction: Callable[[], str],
    ) -> None:
        self._blobs = blobs
        self._collection = collection
        self._witness = witness
        self._writer = writer
        self._clock = clock
        self._new_transaction = new_transaction

    def head(self) -> Head:
        """The newest entry, found by galloping from the last witnessed one (no listing).

        Raises `Damaged` when the log ends before, or differs from, what was witnessed.
        """
        number = self._newest_number(self._witnessed())
        if number == 0:
            return Head(0, ZERO, None)
        entry, sha256 = self.read(number)
        self._witness.record(self._collection, number, sha256)
        return Head(number, sha256, entry)

    def read(self, number: int) -> tuple[LogEntry, str]:
        """An entry and the SHA-256 of its bytes; raises `NotFound` or `Damaged`."""
        try:
            data = self._blobs.read(self.key(number), (0, ENTRY_LIMIT_BYTES + 1))
        except NotFound as error:
            raise NotFound(f"{self._collection}: no log entry {number}") from error
        entry = parse_entry(data, number=number, what=self.key(number))
        if entry.collection != self._collection:
            raise Damaged(f"{self.key(number)}: belongs to {entry.collection!r}")
        return entry, _sha256(data)

    def entries(self, first: int = 1, last: int | None = None) -> Iterator[tuple[LogEntry, str]]:
        """Entries in order, each proven to follow the one before; raises `Damaged`."""
        last = self.head().number if last is None else last
        previous = ZERO if first == 1 else self.read(first - 1)[1]
        for number in range(first, last + 1):
            try:
                entry, sha256 = self.read(number)
            except NotFound as error:
                raise Damaged(f"{self.key(number)} is missing, and later entries exist") from error
            if entry.previous != previous:
                raise Damaged(f"{self.key(number)} does not follow entry {number - 1}")
            previous = sha256
            yield entry, sha256

    def require_descent(self, sha256: str) -> None:
        """The head is the entry of this hash, or follows it; reads back to it, proving each link.

        Raises:
            Refused: no entry of the log has the hash. Another log, an older state of this one, or
                a forged one: nothing of it may be trusted.
            Damaged: an entry does not follow the one before.
        """
        head = self.head()
        number, digest, entry = head.number, head.sha256, head.entry
        while entry is not None and digest != sha256 and number > 1:
            expected = entry.previous
            number -= 1
            entry, digest = self.read(number)
            if digest != expected:
                raise Damaged(f"{self.key(number)} is not what entry {number + 1} follows")
        if entry is None or digest != sha256:
            ending = f"ends at log:{head.number} with {head.sha256}" if head.number else "is empty"
            raise Refused(
                f"{self._collection}: no entry of the log has the expected hash {sha256}; it "
                f"{ending}. "
                "It is an older state of this log, another one, or forged: nothing was done"
            )

    def append(self, kind: Kind, build: Callable[[Head], Draft]) -> Head:
        """Commit one entry.

        `build` is called with the head that the entry will follow, again after each lost race; it
        writes the manifest, and validates: what it raises aborts the append. Raises
        `OutcomeUnknown` when it cannot be established whether the entry was committed, `Conflict`
        when too many races were lost. Nothing is deleted on any path.
        """
        transaction = self._new_transaction()
        for _ in range(APPEND_ATTEMPTS):
            head = self.head()
            self._refuse_read_only(head)
            self._refuse_gap(head)
            draft = build(head)
            if problem := writing_problem(kind, draft.body.detail):
                raise Refused(f"{self._collection}: nothing was written: {problem}")
            entry = LogEntry(
                collection=self._collection,
                i=head.number + 1,
                previous=head.sha256,
                transaction=transaction,
                kind=kind,
                timeline=draft.timeline,
                writer=self._writer,
                at=self._clock(),
                body=draft.body,
            )
            data = encode_entry(entry)
            if self._commit(entry, data):
                self._witness.record(self._collection, entry.i, _sha256(data))
                return Head(entry.i, _sha256(data), entry)
        raise Conflict(f"{self._collection}: other writers won {APPEND_ATTEMPTS} times; try again")

    def key(self, number: int) -> str:
        """Where an entry is kept."""
        return f"{self._collection}/log/{number:020d}.json"

    def _commit(self, entry: LogEntry, data: bytes) -> bool:
        """True if our entry was committed, False if another's was. The response to a create may
        be lost, and a retry below us may report a conflict with ourselves: only what is read
        back counts."""
        for _ in range(CREATE_ATTEMPTS):
            with suppress(Conflict, OutcomeUnknown, Unavailable):  # established by reading, below
                self._blobs.create(self.key(entry.i), data)
            try:
                stored, sha256 = self.read(entry.i)
            except (NotFound, Unavailable):
                continue
            if stored.transaction != entry.transaction:
                return False
            if sha256 != _sha256(data):
                raise Damaged(f"{self.key(entry.i)} reads back differently from what was written")
            return True
        raise OutcomeUnknown(
            f"{self.key(entry.i)}: could not establish whether it was written. Nothing was undone; "
            "read the log again before repeating the command"
        )

    def _witnessed(self) -> int:
        seen = self._witness.newest(self._collection)
        if seen is None:
            return 0
        number, sha256 = seen
        try:
            _, actual = self.read(number)
        except NotFound as error:
            raise Damaged(
                f"the log of {self._collection} ends before entry {number}, which was seen before: "
                "its tail is missing"
            ) from error
        if actual != sha256:
            raise Damaged(f"{self.key(number)} is not the entry that was seen before")
        return number

    def _newest_number(self, lowest: int) -> int:
        step, low = 1, lowest
        while self._exists(low + step):
            low, step = low + step, step * 2
        high = low + step  # absent
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._exists(middle) else (low, middle)
        return low

    def _exists(self, number: int) -> bool:
        try:
            self._blobs.size(self.key(number))
        except NotFound:
            return False
        return True

    def require_no_gap(self, number: int) -> None:
        """No entry lies beyond a missing one; `number` is the newest that galloping finds.

        The one place that lists: what follows a gap is hidden from galloping. Raises `Damaged`.
        """
        following = self.key(number + 1)
        later = [key for key in self._blobs.keys(f"{self._collection}/log/") if key > following]
        if later and not self._exists(number + 1):
            raise Damaged(f"{following} is missing, but {later[0]} exists: the log has a gap")

    def _refuse_gap(self, head: Head) -> None:
        """An entry beyond a missing one means that the log was damaged: refuse to build on it.

        Powers of two are enough: what lies 3 or 5 beyond the head escapes for now, as a tail that
        was cut off would (only a witness knows of it), but every append comes one nearer, and at 2
        it is seen. So a gap is never filled, and what lies beyond it never follows another entry.
        """
        step = 2
        while step <= GAP_PROBE:
            if self._exists(head.number + step) and not self._exists(head.number + 1):
                raise Damaged(
                    f"{self.key(head.number + 1)} is missing, but {self.key(head.number + step)} "
                    "exists: the log has a gap and is not written to"
                )
            step *= 2

    def _refuse_read_only(self, head: Head) -> None:
        if head.entry is None:
            return
        if unknown := head.entry.needs():
            raise Refused(
                f"{self._collection} was written by a newer version that uses {sorted(unknown)}: "
                "this version only reads it"
            )


def encode_entry(entry: LogEntry) -> bytes:
    """Canonical JSON with the entry's own checksum; raises `Refused` over 64 KiB."""
    data = seal_json(entry.model_dump(mode="json"))
    if len(data) > ENTRY_LIMIT_BYTES:
        raise Refused(f"log entry {entry.i}: {len(data)} bytes, more than {ENTRY_LIMIT_BYTES}")
    return data


def parse_entry(data: bytes, *, number: int, what: str) -> LogEntry:
    """Decode and check an entry; raises `Damaged` naming `what`, and `Refused` for one of a later
    format."""
    value = unseal_json(data, what=what, limit_bytes=ENTRY_LIMIT_BYTES)
    try:
        entry = LogEntry.model_validate(value)
    except ValidationError as error:
        raise Damaged(f"{what}: not a log entry ({error.error_count()} errors)") from error
    if entry.i != number:
        raise Damaged(f"{what}: holds entry {entry.i}, not {number}")
    return entry


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
