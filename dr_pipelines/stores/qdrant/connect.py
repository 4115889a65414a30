"""Qdrant: a server by the official client, the client's local mode, or the engine in process.

What only one of them needs is imported when its URL is opened: the client takes a second.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from dr_pipelines.host.extras import ExtraMissing
from dr_pipelines.protocols import VectorStore
from dr_pipelines.stores.qdrant.address import FORMS, TOKEN, server_address
from dr_pipelines.stores.shared.address import directory
from dr_pipelines.stores.shared.naming import NO_NAMES, StoredNames, checked_as_file

if TYPE_CHECKING:
    from dr_pipelines.stores.qdrant.variant import Variant

WAIT_SECONDS = 30.0


def open_store(
    url: str,
    *,
    base: Path,
    wait_seconds: float = WAIT_SECONDS,
    names: StoredNames = NO_NAMES,
) -> VectorStore:
    """The store that a URL names: `qdrant://HOST:PORT`, `qdrant+local:DIRECTORY` or
    `qdrant+edge:DIRECTORY`. Nothing is read, and nobody is asked, before its first use.

    Raises:
        InvalidRequest: a URL of another form, or the variant's package is not installed.
    """
    scheme, _, rest = url.partition(":")
    try:
        if scheme == "qdrant+edge":
            return _edge(directory(rest, FORMS, base=base), wait_seconds, checked_as_file(names))
        if scheme == "qdrant+local":
            return _local(directory(rest, FORMS, base=base), wait_seconds, checked_as_file(names))
        if scheme == "qdrant":
            return _server(url, names)
    except ModuleNotFoundError as error:
        raise ExtraMissing(error.name or scheme, extra="qdrant", purpose=f"{scheme}:") from error
    raise FORMS.refusal(f"its scheme is {scheme[:40]!r}")


def _edge(path: Path, wait_seconds: float, names: StoredNames) -> VectorStore:
    from dr_pipelines.stores.qdrant.edge import EdgeVariant

    return _store(EdgeVariant(path, wait_seconds=wait_seconds), names, translates_aliases=False)


def _local(path: Path, wait_seconds: float, names: StoredNames) -> VectorStore:
    from dr_pipelines.stores.qdrant.server import LocalVariant

    return _store(LocalVariant(path, wait_seconds=wait_seconds), names, translates_aliases=True)


def _server(url: str, names: StoredNames) -> VectorStore:
    from dr_pipelines.stores.qdrant.server import ServerVariant

    server = ServerVariant(server_address(url), api_key=os.environ.get(TOKEN))
    return _store(server, names, translates_aliases=True)


def _store(variant: "Variant", names: StoredNames, *, translates_aliases: bool) -> VectorStore:
    from dr_pipelines.stores.qdrant.named import NamedVariant
    from dr_pipelines.stores.qdrant.store import qdrant_store

    if names.stored:
        variant = NamedVariant(variant, names, translates_aliases=translates_aliases)
    return qdrant_store(variant)
