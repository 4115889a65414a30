"""The versions of a state without repetitions: what a replay said again, value for value."""

from collections.abc import Iterator

import numpy as np

from dr_pipelines.repository.state import VALUE, State
from dr_pipelines.repository.take_rows import Numbers

_DISTINCT = f"""
CREATE OR REPLACE TABLE once AS
WITH valued AS (
    SELECT v.version, v.document_id, v.epoch, v.position, v.ordinal, v.edit, v.generation,
           v.sequence, v.segment, v.presence, v.document_sha256,
           coalesce({VALUE}, '') AS value
    FROM versions v LEFT JOIN pieces p USING (version) GROUP BY ALL)
SELECT version FROM valued
QUALIFY row_number() OVER (
    PARTITION BY document_id, epoch, position, ordinal, edit, value, presence, document_sha256
    ORDER BY generation DESC, sequence DESC, segment DESC) = 1
"""  # noqa: S608 - built from constants
_PLACES = """
SELECT segment, row, sequence FROM (
    SELECT v.segment, v.row, v.sequence FROM versions v SEMI JOIN once USING (version)
    UNION ALL
    SELECT p.segment, p.row, v.sequence FROM pieces p JOIN versions v USING (version)
    SEMI JOIN once USING (version))
ORDER BY segment, row
"""
_SIZES = """
SELECT document_id, count(*) AS rows FROM (
    SELECT v.document_id FROM versions v SEMI JOIN once USING (version)
    UNION ALL
    SELECT v.document_id FROM pieces p JOIN versions v USING (version)
    SEMI JOIN once USING (version))
GROUP BY document_id ORDER BY document_id
"""


class DistinctVersions:
    """Every version of every document once: of those with the same place in the source's order and
    the same values, the one of the newest generation. Tombstones and edits are versions too."""

    def __init__(self, state: State) -> None:
        self.segments = state.segments
        self.spec = state.spec
        self._state = state
        state.sql.execute(_DISTINCT)

    def by_segment(self) -> dict[int, tuple[Numbers, Numbers]]:
        """Rows of each segment that belong to them, document rows included, ascending; and the
        entry that brought each."""
        places = self._state.sql.execute(_PLACES).fetchnumpy()
        if not len(places["segment"]):
            return {}
        starts = np.flatnonzero(np.diff(places["segment"], prepend=-1))
        rows = np.split(places["row"], starts[1:])
        entries = np.split(places["sequence"], starts[1:])
        numbers = (int(number) for number in places["segment"][starts])
        return dict(zip(numbers, zip(rows, entries, strict=True), strict=True))

    def documents(self) -> Iterator[tuple[str, int]]:
        """Documents with the number of their rows, ascending by id."""
        for batch in self._state.batches(_SIZES):
            counts = batch["rows"].to_pylist()
            yield from zip(batch["document_id"].to_pylist(), counts, strict=True)
