"""Steps once a table has its rows: constraints that older rows break, statistics, comments of
indexes."""

from typing import Any

from dr_pipelines.stores.pgvector.connections import Session
from dr_pipelines.stores.pgvector.description import Collection
from dr_pipelines.stores.pgvector.details import complete_details
from dr_pipelines.stores.pgvector.foreign_keys import add_foreign_keys, is_beside
from dr_pipelines.stores.pgvector.making import (
    add_constraint,
    comes_after_rows,
    quoted_name,
    section_of,
)
from dr_pipelines.stores.pgvector.names import derived, placed
from dr_pipelines.stores.pgvector.partitions import LivePartition, live_partitions
from dr_pipelines.stores.pgvector.structure import constraints_of

Section = dict[str, Any]


def complete(session: Session, collection: Collection) -> None:
    """Add what the label declares, comes after rows, is no index, and is not there."""
    table, label = collection.table, collection.table.label
    if label is None:
        return
    section = section_of(label.spec)
    existing = constraints_of(session, table.id, table.quoted, root=table.name, keys=True)
    there = frozenset(part["name"] for part in existing["constraints"])
    _finish(session, section, there, root=table.name, table=table.name)
    if not is_beside(table.name):
        add_foreign_keys(session, table, section)
    if table.partitioned:
        live = live_partitions(session, table, table.id)
        _of_partitions(session, section.get("partitions", {}), live, root=table.name)


def _of_partitions(
    session: Session, section: Section, live: dict[str, LivePartition], *, root: str
) -> None:
    for part in section.get("tables", []):
        if (partition := live.get(part["name"])) is not None:
            _finish(session, part, partition.constraints, root=root, table=partition.table)
            _of_partitions(session, part, partition.parts, root=root)


def _finish(
    session: Session, section: Section, there: frozenset[str], *, root: str, table: str
) -> None:
    quoted = quoted_name(session, table)
    complete_details(session, section, root=root, table=table, quoted=quoted)
    for constraint in section.get("constraints", []):
        late = comes_after_rows(constraint) and "using" not in constraint
        names = {
            derived(placed(constraint["name"], root, taken=is_taken), root)
            for is_taken in (False, True)
        }
        if late and not names & there:
            add_constraint(session, table, constraint, root=root, quoted=quoted)
