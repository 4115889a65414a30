"""Policies become objects: the only place that builds adapters, and only when they are asked for.

Opening reads and writes nothing that it need not.
"""

from dr_pipelines.project.adapters.blobs import open_blobs, repository_directory
from dr_pipelines.project.adapters.context import PolicyContext
from dr_pipelines.project.adapters.models import (
    light_way,
    open_chunker,
    open_embedder,
    require_readable,
)
from dr_pipelines.project.adapters.sources import open_source
from dr_pipelines.project.adapters.specs import (
    collection_spec,
    declared_fields,
)
from dr_pipelines.project.adapters.stores import (
    is_embedded,
    open_catalog,
    open_hashed,
    open_native,
    open_store,
    open_twin,
    store_directory,
)

__all__ = [
    "PolicyContext",
    "collection_spec",
    "declared_fields",
    "is_embedded",
    "light_way",
    "open_blobs",
    "open_catalog",
    "open_chunker",
    "open_embedder",
    "open_hashed",
    "open_native",
    "open_source",
    "open_store",
    "open_twin",
    "repository_directory",
    "require_readable",
    "store_directory",
]
