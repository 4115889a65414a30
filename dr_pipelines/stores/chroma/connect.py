"""Chroma: embedded (`chroma+local:`) or a server (`chroma:`). Needs the extra `chroma`.

The client is imported when a store is opened: the aliases of a directory are read without it.
"""

import os
from pathlib import Path

from dr_pipelines.protocols import VectorStore
from dr_pipelines.stores.chroma.address import TOKEN, Local, parsed_url
from dr_pipelines.stores.shared.driver_store import DriverStore
from dr_pipelines.stores.shared.naming import NO_NAMES, StoredNames
from dr_pipelines.stores.shared.pointers import Pointers

WAIT_SECONDS = 30


def open_store(url: str, *, base: Path, names: StoredNames = NO_NAMES) -> VectorStore:
    """The store of a URL: `chroma://HOST:PORT/?tenant=T&database=D&ssl=1`, whose server gets the
    token in the environment's CHROMA_TOKEN, or `chroma+local:DIRECTORY?tenant=T&database=D`.

    Raises:
        InvalidRequest: it is no such URL.
        ModuleNotFoundError: Chroma is not installed.
    """
    del names  # `takes_names` says that there are none
    from dr_pipelines.stores.chroma.aliases import ServerPointers
    from dr_pipelines.stores.chroma.local import LocalEngine
    from dr_pipelines.stores.chroma.session import RemoteEngine
    from dr_pipelines.stores.chroma.store import ChromaDriver

    where = parsed_url(url, base=base)
    if isinstance(where, Local):
        local = LocalEngine(where, wait_seconds=WAIT_SECONDS)
        return DriverStore(ChromaDriver(local, Pointers(where.aliases)))
    remote = RemoteEngine(where, token=os.environ.get(TOKEN))
    return DriverStore(ChromaDriver(remote, ServerPointers(remote.session)))
