"""milvus-lite within this process: one server a directory, for as long as a store uses it."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dr_pipelines.errors import InvalidRequest, Unavailable
from dr_pipelines.host.locks import lock
from dr_pipelines.host.permissions import make_directory

_lock = threading.Lock()
_users: Counter[Path] = Counter()
"""How many stores of this process use a directory: milvus-lite lets one process in at a time, and
counts nobody itself. State of the module, because the lock is the process's."""


def acquire(path: Path, *, wait_seconds: float) -> str:
    """`host:port` of the directory's server, started if it does not run; pair with `release`.

    Raises:
        InvalidRequest: the path is a file: databases of milvus-lite before version 3 were.
        Unavailable: another process had the directory for that long.
    """
    from milvus_lite.server_manager import server_manager_instance

    if path.is_file():
        raise InvalidRequest(f"milvus+lite:{path} is a file; milvus-lite 3 keeps a directory")
    with _lock:
        if not _users[path]:
            make_directory(path)
            with _alone(path, wait_seconds=wait_seconds):
                pass  # held only to wait for it: milvus-lite itself does not wait
        uri = server_manager_instance.start_and_get_uri(str(path))
        if uri is None:
            raise Unavailable(f"milvus+lite:{path} could not be opened; is it open elsewhere?")
        _users[path] += 1
    return str(uri).removeprefix("http://")


def release(path: Path) -> None:
    """The end of one store's use; the last one stops the server."""
    from milvus_lite.server_manager import server_manager_instance

    with _lock:
        _users[path] -= 1
        if not _users[path]:
            del _users[path]
            server_manager_instance.release_server(str(path))


@contextmanager
def _alone(path: Path, *, wait_seconds: float) -> Iterator[None]:
    with (path / "LOCK").open("ab") as file:
        if not lock(file, wait_seconds=wait_seconds):
            raise Unavailable(
                f"milvus+lite:{path} stayed in use by another process for "
                f"{wait_seconds:g} s; try again later"
            )
        yield
