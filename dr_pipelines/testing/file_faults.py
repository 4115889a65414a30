"""A directory that forgets what was not synced when the power goes."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from dr_pipelines.blobs.local import OsFiles

Names = Literal["synced", "all"]
FileHook = Callable[[str, Path, int], None]
"""Called with (call, path, number of the call from 1) before each call that changes or syncs."""


class PowerCut(BaseException):
    """The machine stopped; nothing in it may catch this."""


@dataclass(eq=False, slots=True)
class _File:
    """`synced` is what a power cut leaves of the bytes."""

    synced: bytes = b""


@dataclass(eq=False, slots=True)
class _Directory:
    """`synced` are the entries that a power cut leaves."""

    entries: dict[str, "_File | _Directory"] = field(default_factory=dict)
    synced: dict[str, "_File | _Directory"] = field(default_factory=dict)


class RecordingFiles(OsFiles):
    """Works on the real directory and knows what of it is durable: the bytes of synced files, the
    entries of synced directories, and what was there before.

    After `power_cut`, or once `hook` has raised `PowerCut`, every change raises `PowerCut`: the
    process is gone, and another one opens the directory anew. One thread at a time.
    """

    def __init__(self, root: Path, *, hook: FileHook | None = None) -> None:
        self._root = Path(root).resolve()
        self._hook = hook
        self._off = False
        self._tree = _Directory()
        if self._root.is_dir():
            self._tree = _snapshot(self._root)
        self.calls: list[tuple[str, Path]] = []

    def make_directory(self, path: Path) -> None:
        self._step("make_directory", path)
        super().make_directory(path)
        self._parent(path).entries[path.name] = _Directory()

    def write_new(self, path: Path, data: bytes | memoryview) -> None:
        self._step("write_new", path)
        super().write_new(path, data)
        self._parent(path).entries[path.name] = _File()

    def link(self, source: Path, target: Path) -> None:
        self._step("link", target)
        super().link(source, target)
        self._parent(target).entries[target.name] = self._parent(source).entries[source.name]

    def unlink(self, path: Path) -> None:
        self._step("unlink", path)
        super().unlink(path)
        del self._parent(path).entries[path.name]

    def sync_file(self, path: Path) -> None:
        self._step("sync_file", path)
        super().sync_file(path)
        file = self._parent(path).entries[path.name]
        if isinstance(file, _File):
            file.synced = path.read_bytes()

    def sync_directory(self, path: Path) -> None:
        self._step("sync_directory", path)
        super().sync_directory(path)
        if path.is_relative_to(self._root):  # the root's own name is not at stake
            directory = self._directory(path)
            directory.synced = dict(directory.entries)

    def power_cut(self, *, names: Names = "synced") -> None:
        """Leave on disk only what is durable; with `names="all"` the disk happened to have written
        every name and deletion already, though never the bytes of a file that was not synced."""
        self._off = True
        for entry in os.scandir(self._root):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                Path(entry.path).unlink()
        _restore(self._tree, self._root, names)

    def _step(self, call: str, path: Path) -> None:
        if self._off:
            raise PowerCut
        self.calls.append((call, path))
        if self._hook:
            try:
                self._hook(call, path, len(self.calls))
            except PowerCut:
                self._off = True
                raise

    def _parent(self, path: Path) -> _Directory:
        return self._directory(path.parent)

    def _directory(self, path: Path) -> _Directory:
        directory = self._tree
        for name in path.relative_to(self._root).parts:
            entry = directory.entries[name]
            assert isinstance(entry, _Directory)  # noqa: S101 - the real call would have failed first
            directory = entry
        return directory


def _snapshot(path: Path) -> _Directory:
    entries: dict[str, _File | _Directory] = {}
    for child in path.iterdir():
        entries[child.name] = _snapshot(child) if child.is_dir() else _File(child.read_bytes())
    return _Directory(entries=dict(entries), synced=entries)


def _restore(directory: _Directory, path: Path, names: Names) -> None:
    left = directory.synced if names == "synced" else directory.entries
    for name, entry in left.items():
        if isinstance(entry, _File):
            (path / name).write_bytes(entry.synced)
        else:
            (path / name).mkdir()
            _restore(entry, path / name, names)
