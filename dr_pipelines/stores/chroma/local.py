"""Chroma in this process, on a directory that one process uses at a time.

Two processes that have a directory open destroy its collections for good, even where they only
write in turn: each keeps its own copy of an index, and writes it over the other's. So every session
holds a lock here, and a store that finds that somebody else had it since opens the directory anew.
"""

import os
import threading
import uuid
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chromadb.api import ServerAPI
from chromadb.config import System

from dr_pipelines.errors import (
    Damaged,
    InvalidRequest,
    NotFound,
    Unavailable,
)
from dr_pipelines.host.permissions import make_directory
from dr_pipelines.stores.chroma.address import Local, Namespace
from dr_pipelines.stores.chroma.errors import translated
from dr_pipelines.stores.chroma.session import Session, started
from dr_pipelines.stores.shared.pointers import entries, locked

DATABASE = "chroma.sqlite3"


class LocalEngine:
    """Threads take turns, and so do processes, for at most `wait_seconds`."""

    parses = 1
    exclusive = True

    def __init__(self, local: Local, *, wait_seconds: float) -> None:
        self._local = local
        self._wait_seconds = wait_seconds
        self._turn = threading.Lock()
        self._name = uuid.uuid4().hex
        self._system: System | None = None
        self._closing: weakref.finalize[[], LocalEngine] | None = None

    @property
    def place(self) -> str:
        return f"Chroma in {self._local.directory}"

    @property
    def namespace(self) -> Namespace:
        return self._local.namespace

    @property
    def home(self) -> Path:
        return self._local.home

    @contextmanager
    def session(self, *, create: bool = False) -> Iterator[Session]:
        self._prepare(create=create)
        if not self._turn.acquire(timeout=self._wait_seconds):
            raise Unavailable(f"{self.place} stayed busy for {self._wait_seconds:g} s")
        try:
            with locked(self.home, wait_seconds=self._wait_seconds), translated(self.place):
                session = Session(self._opened(create=create), self.namespace)
                if create:
                    session.make_namespace()
                yield session
        except (Damaged, Unavailable):
            self._close()  # what the engine keeps in memory may be the reason
            raise
        finally:
            self._turn.release()

    def _prepare(self, *, create: bool) -> None:
        directory = self._local.directory
        if DATABASE not in entries(directory) and not create:
            raise NotFound(f"{directory} holds no Chroma collections")
        try:
            make_directory(self._local.aliases)
        except OSError as error:
            raise InvalidRequest(f"{directory}: {error.strerror}; name a directory") from error

    def _opened(self, *, create: bool) -> ServerAPI:
        me, holder = f"{self._name} {os.getpid()}", self.home / "holder"
        last = holder.read_text(encoding="utf-8") if holder.exists() else ""
        if last != me:
            self._close()
            holder.write_text(me, encoding="utf-8")
        if self._system is None:
            self._system = started(
                chroma_api_impl="chromadb.api.rust.RustBindingsAPI",
                is_persistent=True,
                persist_directory=str(self._local.directory),
                # a directory of an older Chroma is not changed by reading it
                migrations="apply" if create else "validate",
            )
            self._closing = weakref.finalize(self, self._system.stop)  # files close with the store
        api: ServerAPI = self._system.instance(ServerAPI)
        return api

    def _close(self) -> None:
        if self._closing is not None:
            self._closing()
        self._system = self._closing = None
