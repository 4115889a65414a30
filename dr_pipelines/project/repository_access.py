"""The repository of the policies, as this machine reaches it: made on first use, recognized later.

Which repository it was is remembered beside the witnessed heads, so that an empty directory in its
place, such as a mount point without its disk, is not taken for a new one.
"""

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dr_pipelines.errors import Damaged, NotFound, Unavailable
from dr_pipelines.host.permissions import Access, make_directory
from dr_pipelines.project.machine import Machine
from dr_pipelines.project.process import new_id, new_writer, now

if TYPE_CHECKING:
    from dr_pipelines.model.vector_encoding import Compression
    from dr_pipelines.protocols import BlobStore
    from dr_pipelines.repository.repository import Repository

HERE = ("file:", "memory:")
"""Addresses of this machine: nothing is sent anywhere."""


def open_repository(
    blobs: "BlobStore", machine: Machine, *, run: str = "", compression: "Compression" = "auto"
) -> "Repository":
    """The repository there, made where there was none; `run` labels what is written. Its vectors
    are compressed as the policy says.

    Raises `Damaged` where this machine remembers one that is gone, or another one.
    """
    from dr_pipelines.repository.repository import Repository
    from dr_pipelines.repository.vector_storage import UploadRate, VectorStorage

    memory = RepositoryMemory(blobs.url, machine)
    remembered = memory.read()
    exists = _exists(blobs, memory, remembered)
    repository = Repository.open_or_create(
        blobs,
        capabilities={} if exists else _capabilities(blobs),
        witness=machine.witness(blobs.url),
        writer=new_writer(run),
        clock=now,
        new_id=new_id,
    )
    if remembered and remembered != repository.identity.id:
        raise Damaged(
            f"{blobs.url} holds another repository than the one this machine knows there. If that "
            f"is intended, remove {memory.path}"
        )
    memory.write(repository.identity.id)
    remote = not blobs.url.startswith(HERE)
    rate = UploadRate(memory=RememberedRate(blobs.url, machine))
    return replace(repository, vectors=VectorStorage(compression, remote=remote, rate=rate))


def is_there(blobs: "BlobStore", machine: Machine) -> bool:
    """True if there is a repository. Raises `Damaged` where this machine remembers one."""
    memory = RepositoryMemory(blobs.url, machine)
    return _exists(blobs, memory, memory.read())


def empty_repository(blobs: "BlobStore", machine: Machine) -> "Repository":
    """A stand-in for readers where there is no repository: all its logs are empty, and nothing
    is made."""
    from dr_pipelines.blobs.empty import VacantBlobStore
    from dr_pipelines.repository.repository import Identity, Repository

    identity, witness = Identity(v=1, id=new_id(), created_at=now()), machine.witness(blobs.url)
    return Repository(VacantBlobStore(blobs.url), identity, witness, new_writer(), now, new_id)


class RepositoryMemory:
    """Which repository this machine has used at a URL."""

    def __init__(self, url: str, machine: Machine) -> None:
        self.path: Path = machine.repository(url) / "repository.id"
        self._url, self._access = url, machine.access

    def read(self) -> str | None:
        """Its id; None where there was none. Raises `Damaged` or `Unavailable`."""
        try:
            return str(json.loads(self.path.read_text())["id"])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            raise Damaged(
                f"{self.path} records which repository this machine has used, and cannot be read: "
                f"remove it if {self._url} is the right one"
            ) from None
        except OSError as error:
            raise Unavailable(f"{self.path} cannot be read: {error.strerror}") from error

    def write(self, identity: str) -> None:
        """Remember the first one."""
        if self.path.exists():
            return
        make_directory(self.path.parent, self._access)
        _put_in_place(self.path, json.dumps({"id": identity, "url": self._url}), self._access)


class RememberedRate:
    """How fast this machine sent objects to the repository at a URL, the last time that it sent
    many. A file that is absent or damaged costs measuring again."""

    def __init__(self, url: str, machine: Machine) -> None:
        self.path: Path = machine.repository(url) / "upload-rate.json"
        self._access = machine.access

    def read(self) -> float | None:
        """Bytes a second; None where none is known."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            rate = float(json.loads(self.path.read_text())["bytes_per_second"])
            return rate if 0 < rate < float("inf") else None
        return None

    def write(self, bytes_per_second: float) -> None:
        """Remember a rate."""
        with suppress(OSError):
            make_directory(self.path.parent, self._access)
            _put_in_place(
                self.path, json.dumps({"bytes_per_second": bytes_per_second}), self._access
            )


def _put_in_place(path: Path, text: str, access: Access) -> None:
    whole = path.with_suffix(f".{new_id()}.tmp")
    whole.touch(0o600)
    whole.chmod(access.file_mode)
    whole.write_text(text)
    whole.replace(path)  # in one step: half of it would be damage


def _exists(blobs: "BlobStore", memory: RepositoryMemory, remembered: str | None) -> bool:
    from dr_pipelines.repository.repository import IDENTITY_KEY

    try:
        blobs.size(IDENTITY_KEY)
    except NotFound:
        pass
    except Unavailable:
        if not blobs.url.startswith("file:"):
            raise  # a directory that does not exist yet is made; anything else is out of reach
    else:
        return True
    if remembered:
        raise Damaged(
            f"{blobs.url} holds no repository, but this machine has used one there: check that it "
            f"is mounted and the right place. To start a new repository, remove {memory.path}"
        )
    return False


def _capabilities(blobs: "BlobStore") -> dict[str, Any]:
    from dr_pipelines.blobs.capabilities import probe

    return probe(blobs, prefix="probe", now=now()).model_dump(mode="json")
