"""Attachments of a LanceDB table that do not come back with it."""

from typing import Any

from dr_pipelines.model.compatibility import Note, Outcome
from dr_pipelines.stores.lancedb.schema import ENGINE


def unkept(dataset: Any) -> tuple[Note, ...]:
    """A note for each kind of thing that a restore of records would not make again."""
    notes = []
    branches = sorted(dataset.branches.list())
    if branches:
        message = f"{', '.join(map(repr, branches))}: the records of a branch are kept nowhere; "
        message += "clone it into a table of its own (deep_clone) and back that up"
        notes.append(Note(f"engine.{ENGINE}.branches", Outcome.LOST, message))
    if dataset.mem_wal_index_details() is not None:
        message = "rows that wait in the memory-WAL are no part of a version; flush it first"
        notes.append(Note(f"engine.{ENGINE}.mem_wal", Outcome.LOST, message))
    if dataset.base_paths():
        message = "a shallow clone comes back with rows of its own, and as files it is not kept"
        notes.append(Note(f"engine.{ENGINE}.base_paths", Outcome.APPROXIMATED, message))
    return tuple(notes)
