"""PostgreSQL with pgvector."""

from pathlib import Path
from typing import TYPE_CHECKING

from dr_pipelines.stores.shared.engine import Engine, Location, Scheme
from dr_pipelines.stores.shared.naming import NO_NAMES, StoredNames

if TYPE_CHECKING:
    from dr_pipelines.protocols import VectorStore


def open_store(url: str, *, base: Path, names: StoredNames = NO_NAMES) -> "VectorStore":
    """See `connect.open_store`, which is imported now."""
    from dr_pipelines.stores.pgvector import connect

    return connect.open_store(url, base=base, names=names)


ENGINE = Engine(
    name="pgvector",
    title="PostgreSQL",
    schemes=(
        Scheme(
            name="postgresql",
            location=Location.SERVER,
            forms=("postgresql://HOST/DATABASE",),
            synonyms=r"postgres|postgresql\+[a-z0-9_]+",  # the latter are SQLAlchemy's
        ),
    ),
    open=open_store,
    extra="pgvector",
    packages=("psycopg",),
    takes_names=True,
)
