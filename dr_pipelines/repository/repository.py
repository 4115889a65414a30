"""A repository: write-once objects of known hash, and a log for every collection."""

import hashlib
import itertools
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from pydantic import ValidationError

from dr_pipelines.errors import (
    Conflict,
    Damaged,
    NotFound,
    OutcomeUnknown,
    Refused,
)
from dr_pipelines.model.base import Stored, Time
from dr_pipelines.model.recovery_point import ObjectRef, Writer
from dr_pipelines.protocols import BlobStore, Clock, MappedBlobs
from dr_pipelines.repository.json_codec import (
    JSON_LIMIT_BYTES,
    decode_json,
    seal_json,
    unknown_features,
    unseal_json,
)
from dr_pipelines.repository.log import Log, Witness
from dr_pipelines.repository.vector_storage import VectorStorage

IDENTITY_KEY = "repo.json"
IDENTITY_LIMIT_BYTES = 64 * 1024
PUT_ATTEMPTS = 3


class Identity(Stored):
    """The contents of repo.json; written once."""

    v: Literal[1]
    id: str
    features: tuple[str, ...] = ()
    created_at: Time
    capabilities: dict[str, Any] = {}


@dataclass(frozen=True)
class Repository:
    """Everything that verbs need to read and write one repository.

    `writer` names this process; object names contain it, so none is ever used twice. `vectors` says
    how the next ones are encoded.
    """

    blobs: BlobStore
    identity: Identity
    witness: Witness
    writer: Writer
    clock: Clock
    new_id: Callable[[], str]
    vectors: VectorStorage = field(default_factory=VectorStorage, compare=False)
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count, repr=False)

    @classmethod
    def create(
        cls,
        blobs: BlobStore,
        *,
        capabilities: Mapping[str, Any],
        witness: Witness,
        writer: Writer,
        clock: Clock,
        new_id: Callable[[], str],
    ) -> Self:
        """Make a new repository, or open the one that another process made at the same moment.

        Raises `Refused` when the store's create is not exclusive: two writers would both commit.
        """
        if not capabilities.get("exclusive_create", False):
            raise Refused(
                f"{blobs.url}: an object that exists can be created again, so two writers could "
                "overwrite each other's commits. Use a store that honours If-None-Match: * (some "
                "do so only in buckets without versioning), or a directory"
            )
        identity = Identity(v=1, id=new_id(), created_at=clock(), capabilities=dict(capabilities))
        data = seal_json(identity.model_dump(mode="json"))
        for _ in range(PUT_ATTEMPTS):
            with suppress(Conflict, OutcomeUnknown):  # whoever wrote it, it is read back below
                blobs.create(IDENTITY_KEY, data)
            if _exists(blobs, IDENTITY_KEY):
                break
        return cls.open(blobs, witness=witness, writer=writer, clock=clock, new_id=new_id)

    @classmethod
    def open_or_create(
        cls,
        blobs: BlobStore,
        *,
        capabilities: Mapping[str, Any],
        witness: Witness,
        writer: Writer,
        clock: Clock,
        new_id: Callable[[], str],
    ) -> Self:
        """`create` where capabilities were probed, since there is none yet; else `open`."""
        if not capabilities:
            return cls.open(blobs, witness=witness, writer=writer, clock=clock, new_id=new_id)
        return cls.create(
            blobs,
            capabilities=capabilities,
            witness=witness,
            writer=writer,
            clock=clock,
            new_id=new_id,
        )

    @classmethod
    def open(
        cls,
        blobs: BlobStore,
        *,
        witness: Witness,
        writer: Writer,
        clock: Clock,
        new_id: Callable[[], str],
    ) -> Self:
        """Open an existing repository; raises `NotFound` where there is none, `Damaged` where its
        identity cannot be read, `Refused` where it needs a newer version."""
        try:
            data = blobs.read(IDENTITY_KEY, (0, IDENTITY_LIMIT_BYTES + 1))
        except NotFound as error:
            raise NotFound(f"{blobs.url} holds no repository yet") from error
        identity = _parse_identity(data, what=f"{blobs.url} {IDENTITY_KEY}")
        return cls(blobs, identity, witness, writer, clock, new_id)

    def log(self, collection: str) -> Log:
        """The log of a collection, which may be empty."""
        return Log(
            self.blobs,
            collection,
            witness=self.witness,
            writer=self.writer,
            clock=self.clock,
            new_transaction=self.new_id,
        )

    def new_name(self, separator: str = "/") -> str:
        """`<writer>/<n>`: a name that no other process uses, and this one only once."""
        return f"{self.writer.id}{separator}{next(self._numbers)}"

    def put(self, key: str, data: bytes | memoryview) -> ObjectRef:
        """Store an object under a fresh name. If the response is lost, reading tells whether it was
        stored.

        Raises `OutcomeUnknown` when it cannot be established.
        """
        ref = ObjectRef.of(key, data)
        for _ in range(PUT_ATTEMPTS):
            try:
                with self.vectors.rate.sending(len(data)):
                    self.blobs.create(key, data)
            except (Conflict, OutcomeUnknown):
                if not self._stands(ref):
                    continue
            return ref
        raise OutcomeUnknown(f"{key}: could not establish whether it was written")

    def fetch(self, ref: ObjectRef) -> bytes:
        """The object's bytes, proven to be the ones that were written.

        Raises `Damaged`, and `Refused` for one that is encoded as only a newer version reads it.
        """
        _require_readable(ref)
        try:
            # no more than it should have: whatever lies there, it does not fill the memory
            data = self.blobs.read(ref.key, (0, ref.size_bytes + 1))
        except NotFound as error:
            raise Damaged(f"{ref.key} is missing from {self.blobs.url}") from error
        if len(data) != ref.size_bytes:
            size = self.blobs.size(ref.key) if len(data) > ref.size_bytes else len(data)
            raise Damaged(f"{ref.key} has {size} bytes, not {ref.size_bytes}")
        _require_unaltered(ref, data)
        return data

    def map(self, ref: ObjectRef) -> memoryview:
        """As `fetch`, for what is searched again and again: where objects lie on this machine, the
        bytes where they lie, proven now. They take no memory that others cannot have."""
        if not isinstance(self.blobs, MappedBlobs):
            return memoryview(self.fetch(ref))
        _require_readable(ref)
        try:
            data = self.blobs.map(ref.key)
        except NotFound as error:
            raise Damaged(f"{ref.key} is missing from {self.blobs.url}") from error
        if len(data) != ref.size_bytes:
            raise Damaged(f"{ref.key} has {len(data)} bytes, not {ref.size_bytes}")
        _require_unaltered(ref, data)
        return data

    def fetch_json(self, ref: ObjectRef) -> Any:
        """The JSON that an object is, within the limits of the format; raises as `fetch` does, and
        `Damaged` for what is not JSON."""
        return decode_json(self.fetch(ref), what=ref.key, limit_bytes=JSON_LIMIT_BYTES)

    def _stands(self, ref: ObjectRef) -> bool:
        try:
            data = self.blobs.read(ref.key, (0, ref.size_bytes + 1))
        except NotFound:
            return False
        if hashlib.sha256(data).hexdigest() != ref.sha256:
            raise Damaged(f"{ref.key} reads back differently from what was written")
        return True


def _require_readable(ref: ObjectRef) -> None:
    if needs := ref.needs():
        raise Refused(f"{ref.key} was written by a newer version that uses {needs!r}")


def _require_unaltered(ref: ObjectRef, data: bytes | memoryview) -> None:
    if hashlib.sha256(data).hexdigest() != ref.sha256:
        raise Damaged(f"{ref.key} has been altered: its SHA-256 is not {ref.sha256[:12]}…")


def _exists(blobs: BlobStore, key: str) -> bool:
    try:
        blobs.size(key)
    except NotFound:
        return False
    return True


def _parse_identity(data: bytes, *, what: str) -> Identity:
    value = unseal_json(data, what=what, limit_bytes=IDENTITY_LIMIT_BYTES)
    if unknown := unknown_features(value):
        raise Refused(
            f"{what} was written by a newer version of dr_pipelines that uses {sorted(unknown)}: "
            "install the newer one"
        )
    try:
        return Identity.model_validate(value)
    except ValidationError as error:
        raise Damaged(f"{what}: not a repository ({error.error_count()} errors)") from error
