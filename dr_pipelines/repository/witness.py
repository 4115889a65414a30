"""Where the newest head seen is remembered, outside the repository."""

import json
import os
import threading
from pathlib import Path

from dr_pipelines.errors import Damaged


class MemoryWitness:
    """For tests."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, str]] = {}

    def newest(self, collection: str) -> tuple[int, str] | None:
        return self._seen.get(collection)

    def record(self, collection: str, number: int, sha256: str) -> None:
        if number > self._seen.get(collection, (0, ""))[0]:
            self._seen[collection] = (number, sha256)


class FileWitness:
    """One small file per collection under the state directory of this machine."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def newest(self, collection: str) -> tuple[int, str] | None:
        path = self._path(collection)
        try:
            value = json.loads(path.read_text())
            return int(value["number"]), str(value["sha256"])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise Damaged(
                f"{path} is not readable: remove it if you are sure that nothing is missing "
                "from the repository"
            ) from error

    def record(self, collection: str, number: int, sha256: str) -> None:
        if number <= (self.newest(collection) or (0, ""))[0]:
            return
        path = self._path(collection)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}.tmp")
        temporary.write_text(json.dumps({"number": number, "sha256": sha256}))
        temporary.replace(path)  # not synced: a lost witness is an older witness

    def _path(self, collection: str) -> Path:
        return self._directory / f"{collection}.json"
