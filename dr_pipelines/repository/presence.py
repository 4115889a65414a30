"""The newest log position at which a document is in the state."""

from collections.abc import Sequence

import pyarrow as pa

from dr_pipelines.model.record import Presence
from dr_pipelines.repository.history import History
from dr_pipelines.repository.state import State


def last_present(history: History, documents: Sequence[str]) -> dict[str, int | None]:
    """By document, the newest log number at which it is there; None where no version of it that
    is still in the log is. An empty log has none."""
    head = history.head()
    manifest = history.manifest_at(head)
    numbers: dict[str, int | None] = dict.fromkeys(documents)
    if manifest is None:
        return numbers
    with history.fold(manifest, documents=pa.array(sorted(set(documents)), pa.string())) as state:
        left, before = set(documents), head.number + 1
        while left:
            here = _newest(state)
            present = {name for name, (there, _) in here.items() if there and name in left}
            numbers |= dict.fromkeys(present, before - 1)
            left -= present
            later = [sequence for name, (_, sequence) in here.items() if name in left]
            if not later:
                break
            before = max(later)
            state.newest(before=before)
    return numbers


def _newest(state: State) -> dict[str, tuple[bool, int]]:
    """Of each document, whether it is there, and the entry that says so."""
    rows = state.sql.execute("SELECT document_id, presence, sequence FROM documents").fetchall()
    return {name: (presence == Presence.PRESENT, int(entry)) for name, presence, entry in rows}
