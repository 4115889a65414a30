"""PostgreSQL with pgvector."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from dr_pipelines.stores.shared.engine import Engine, Location, Scheme
from dr_pipelines.stores.shared.naming import NO_NAMES, StoredNames

if TYPE_CHECKING:
    from dr_pipelines.model.collection import CollectionSpec
    from dr_pipelines.model.compatibility import Note
    from dr_pipelines.model.recovery import NameRules
    from dr_pipelines.protocols import VectorStore


def open_store(url: str, *, base: Path, names: StoredNames = NO_NAMES) -> "VectorStore":
    """See `connect.open_store`, which is imported now."""
    from dr_pipelines.stores.pgvector import connect

    return connect.open_store(url, base=base, names=names)


def _name_rules(collection: str) -> "NameRules":
    from dr_pipelines.stores.pgvector.name_rules import name_rules

    return name_rules(collection)


def _values_elsewhere(spec: "CollectionSpec") -> "Iterable[Note]":
    from dr_pipelines.stores.pgvector.elsewhere import values_elsewhere

    return values_elsewhere(spec)


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
    name_rules=_name_rules,
    values_elsewhere=_values_elsewhere,
)
