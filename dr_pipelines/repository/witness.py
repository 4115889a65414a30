"""Where the newest head seen is remembered, outside the repository."""

import json
import os
import threading
from contextlib import suppress
from pathlib import Path

from dr_pipelines.errors import Damaged, Unavailable
from dr_pipelines.host.permissions import Access, make_directory


class FileWitness:
    """One small file per collection under the state directory of this machine."""

    def __init__(self, directory: Path, access: Access = Access.PRIVATE) -> None:
        self._directory = directory
        self._access = access

    def newest(self, collection: str) -> tuple[int, str] | None:
        path = self._path(collection)
        try:
            value = json.loads(path.read_text())
            return int(value["number"]), str(value["sha256"])
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unavailable(f"{path} cannot be read: {error.strerror}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise Damaged(
                f"{path} is not readable: remove it if you are sure that nothing is missing "
                "from the repository"
            ) from error

    def record(self, collection: str, number: int, sha256: str) -> None:
        if number <= (self.newest(collection) or (0, ""))[0]:
            return
        path = self._path(collection)
        temporary = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}.tmp")
        try:
            make_directory(path.parent, self._access)
            temporary.write_text(json.dumps({"number": number, "sha256": sha256}))
            temporary.chmod(self._access.file_mode)
            temporary.replace(path)  # not synced: a lost witness is an older witness
        except OSError as error:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise Unavailable(
                f"{path} could not be written ({error.strerror}). Entry {number} of {collection!r} "
                "is in the log: once it can be written, run the command again to finish"
            ) from error

    def _path(self, collection: str) -> Path:
        return self._directory / f"{collection}.json"
