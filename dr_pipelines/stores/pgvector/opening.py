"""The last step of a table that is whole and proven: roles, policies, grants, triggers, owner.
Until then only the restoring user sees it, and all of it is one transaction, so that a restore
that ends here leaves all of it or nothing."""

from dataclasses import replace
from typing import Any

from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.stores.pgvector.catalog import Table
from dr_pipelines.stores.pgvector.connections import Session
from dr_pipelines.stores.pgvector.description import Collection
from dr_pipelines.stores.pgvector.making import (
    ENGINE,
    quoted_name,
    section_of,
    write_key_label,
)
from dr_pipelines.stores.pgvector.membership import make_roles
from dr_pipelines.stores.pgvector.owners import apply_owner
from dr_pipelines.stores.pgvector.partitions import LivePartition, live_partitions
from dr_pipelines.stores.pgvector.rights import apply_rights
from dr_pipelines.stores.pgvector.triggers import make_triggers

Section = dict[str, Any]
LAST = frozenset(["attached", "grants", "owner", "policies", "roles", "trigger_states", "triggers"])
"""Parts of a section that are given last, or that nobody makes."""


def open_up(session: Session, collection: Collection) -> None:
    """Give a table of ours, and its partitions, the rights that its label says; idempotent."""
    table, label = collection.table, collection.table.label
    if label is None or label.opened:
        return
    section = section_of(label.spec)
    made = make_roles(session, section)
    # before the owner: who restores may be none of his
    write_key_label(session, table.name, replace(label, opened=True, made=made))
    parts: list[tuple[str, Section]] = [(table.name, section)]
    if table.partitioned:
        live = live_partitions(session, table, table.id)
        parts += _below(section.get("partitions", {}), live, section.get("owner"))
    for name, part in parts:
        apply_rights(session, name, quoted_name(session, name), part)
    for name, part in parts:
        make_triggers(session, name, part)
    for name, part in reversed(parts):
        apply_owner(session, name, part)


def forget_roles(session: Session, table: Table) -> None:
    """Of a table that is served now: its roles are somebody's from here on, and not undone with
    it."""
    label = table.label
    if label is not None and label.made:
        write_key_label(session, table.name, replace(label, made={}))


def without_rights(spec: CollectionSpec) -> CollectionSpec:
    """A specification without what is given last, or by nobody."""
    section = {key: value for key, value in section_of(spec).items() if key not in LAST}
    if "partitions" in section:
        section["partitions"] = _bare(section["partitions"])
    return spec.model_copy(update={"engine": {**spec.engine, ENGINE: section}})


def _bare(part: Section) -> Section:
    tables = [_bare(child) for child in part.get("tables", [])]
    plain = {key: value for key, value in part.items() if key not in LAST}
    return plain | ({"tables": tables} if tables else {})


def _below(
    part: Section, live: dict[str, LivePartition], owner: str | None
) -> list[tuple[str, Section]]:
    parts = list[tuple[str, Section]]()
    for child in part.get("tables", []):
        here = live.get(child["name"])
        if here is not None:  # else dropped since
            parts.append((here.table, {**child, "owner": child.get("owner", owner)}))
            parts += _below(child, here.parts, owner)
    return parts
