"""The blob store that the key `repository` names."""

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.host.permissions import Access
from dr_pipelines.project.adapters.context import PolicyContext

if TYPE_CHECKING:
    from dr_pipelines.protocols import BlobStore


def open_blobs(
    url: str,
    context: PolicyContext,
    *,
    access: Access = Access.PRIVATE,
) -> "BlobStore":
    """A directory, `file:` URL, `s3://bucket/prefix?endpoint=…`, or `memory:`, which is empty."""
    full = context.expand(url)
    if full.startswith("s3:"):
        from dr_pipelines.blobs.s3 import open_s3

        return open_s3(full, context.environ)
    if full == "memory:":
        from dr_pipelines.blobs.memory import MemoryBlobStore

        return MemoryBlobStore()
    root = repository_directory(url, context)
    if root is None:
        raise InvalidRequest(f"repository {url!r}: expected a directory, file:, s3: or memory:")
    from dr_pipelines.blobs.local import LocalBlobStore

    return LocalBlobStore(root, access=access)


def repository_directory(url: str, context: PolicyContext) -> Path | None:
    """The directory of a repository that is one, or the URL `file:` of one; None for others."""
    full = context.expand(url)
    scheme, colon, _ = full.partition(":")
    if colon and scheme != "file":
        return None
    return context.base / (unquote(urlsplit(full).path) if colon else full)
