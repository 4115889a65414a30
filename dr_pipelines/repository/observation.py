"""Observations of a store compared with the fold: document by document, by digest.

A document's value is the SHA-256 over the digests of its records; a document without records has
the empty value. Digests are always recomputed from the values that were read.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import pyarrow as pa

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.recovery_point import Digests
from dr_pipelines.repository import digest
from dr_pipelines.repository.prefetch import ending, prefetch
from dr_pipelines.repository.scratch import beside, insert
from dr_pipelines.repository.state import VALUE, State, differing

_SCHEMA = """
CREATE OR REPLACE TABLE observed (
    id VARCHAR, document_id VARCHAR, content_digest BLOB, vector_digest BLOB);
CREATE OR REPLACE TABLE near_vectors (id VARCHAR, vector_digest BLOB, preference BIGINT);
CREATE OR REPLACE TABLE absent AS FROM observed LIMIT 0;
"""
_REPEATED = """
SELECT id, count(*) FROM observed GROUP BY id HAVING count(*) > 1 ORDER BY id LIMIT 1
"""
_DIFFERING = f"""
CREATE OR REPLACE TABLE differing AS {differing("records", "observed")};
DELETE FROM differing WHERE document_id IS NULL;
"""  # noqa: S608 - built from constants
_LEFT_OUT = """
CREATE OR REPLACE TABLE absent AS
SELECT r.id, r.document_id, r.content_digest, r.vector_digest
FROM records r JOIN left_out l ON l.id = r.id
    AND l.content_digest = r.content_digest AND l.vector_digest = r.vector_digest
ANTI JOIN observed o ON o.id = r.id
"""
_STORED = f"""
CREATE OR REPLACE TABLE stored_values AS
SELECT document_id, {VALUE} AS value
FROM observed SEMI JOIN differing USING (document_id) GROUP BY document_id
"""  # noqa: S608 - built from constants
_LOGGED = f"""
CREATE OR REPLACE TABLE logged_values AS
SELECT v.document_id, v.version, v.sequence, coalesce({VALUE}, '') AS value
FROM versions v LEFT JOIN pieces p USING (version)
WHERE v.document_id IN (SELECT document_id FROM differing)
GROUP BY ALL
"""  # noqa: S608 - built from constants
_PLAN = """
SELECT d.document_id, n.document_id IS NOT NULL AS known,
       coalesce(n.sequence IN (SELECT unnest(?::BIGINT[])), false) AS fresh,
       s.value IS NULL AS empty,
       EXISTS (SELECT 1 FROM logged_values l
               WHERE l.document_id = d.document_id AND l.value = coalesce(s.value, '')) AS logged,
       EXISTS (SELECT 1 FROM versions v WHERE v.document_id = d.document_id
               AND v.sequence IN (SELECT unnest(?::BIGINT[]))) AS taken_over
FROM differing d
LEFT JOIN documents n USING (document_id)
LEFT JOIN stored_values s USING (document_id)
ORDER BY d.document_id
"""

# Segment by segment, so that each is read about once; the newest logged vector of a record is
# preferred: what lies within the tolerance of two is the newest.
_CANDIDATES = """
SELECT o.document_id, o.id, p.segment, p.row, p.vector_digest,
       row_number() OVER (PARTITION BY o.id ORDER BY r.id IS NULL, p.version DESC) AS preference
FROM observed o JOIN pieces p ON p.id = o.id AND p.content_digest = o.content_digest
LEFT JOIN records r ON r.id = p.id AND r.version = p.version
WHERE o.vector_digest <> p.vector_digest AND NOT EXISTS (
    FROM records n WHERE n.id = o.id AND n.content_digest = o.content_digest
    AND n.vector_digest = o.vector_digest)
ORDER BY p.segment, o.document_id
"""
_SETTLE = """
CREATE OR REPLACE TABLE rounded AS
SELECT o.document_id, o.id, o.vector_digest AS read, near.vector_digest AS logged
FROM observed o JOIN (
    SELECT id, arg_min(vector_digest, preference) AS vector_digest FROM near_vectors GROUP BY id
) near USING (id);
UPDATE observed SET vector_digest = logged FROM rounded WHERE observed.id = rounded.id;
"""
_AS_READ = """
UPDATE observed SET vector_digest = read FROM rounded
WHERE observed.id = rounded.id AND rounded.document_id IN (SELECT document_id FROM recorded)
"""


@dataclass(frozen=True, slots=True)
class Observed:
    """How much was read, and the sums of its digests. `rounded` records came back near a logged
    vector, within the store's tolerance, and count as that vector. `omitted` records were left out
    of a restore, are not in the store, and count as what the log says; they are not among `rows`.
    """

    rows: int
    content: str
    vectors: str
    rounded: int = 0
    omitted: int = 0

    def agrees_with(self, digests: Digests) -> bool:
        """True if the store holds exactly the records of a state."""
        return (self.content, self.vectors) == (digests.content, digests.vectors)


class Observation:
    """The observed contents of a store, beside the state that they are compared with; see
    `observe`.

    `observed` sums it up as it counts by now: what is settled, or left out, changes what counts.
    """

    def __init__(self, state: State, observed: Observed) -> None:
        self.state = state
        self.observed = observed
        self._sql = state.sql

    def candidates(self, *, rows: int) -> Iterator[pa.Table]:
        """Records whose vector no logged version of the same content has, each with every logged
        vector that it may be near: `document_id, id, segment, row, vector_digest, preference`. At
        most `rows` at a time, segment by segment."""
        return self.state.batches(_CANDIDATES, rows=rows)

    def settle(self, near: Iterable[pa.Table]) -> None:
        """Count records as the logged vector that is near theirs (`id, vector_digest, preference`):
        of several the one with the least preference."""
        for rows in near:
            insert(self._sql, "near_vectors", rows)
        self._sql.execute(_SETTLE)
        settled = self._sql.execute("SELECT count(*) FROM rounded").fetchone()
        self._recount(rounded=int((settled or (0,))[0]))

    def as_read(self, documents: Sequence[str]) -> None:
        """Count some documents as the store returned them after all: those that are recorded so,
        whole, because another record of theirs was changed."""
        if not self.observed.rounded or not documents:
            return
        recorded = pa.table({"document_id": pa.array(documents, pa.string())})
        with beside(self._sql, "recorded", recorded):
            self._sql.execute(_AS_READ)
        self._recount(rounded=self.observed.rounded)

    def leave_out(self, records: pa.Table) -> None:
        """Count records that the store was filled without (`id` and both digests) as what the log
        has, if that is what was left out and the store has no record of that id. Everything else
        must be equal by itself."""
        if not records.num_rows:
            return
        with beside(self._sql, "left_out", records):
            self._sql.execute(_LEFT_OUT)
        absent = self._sql.sql("FROM absent").to_arrow_table()
        if not absent.num_rows:
            return
        content, vectors = (
            int(sums, 16) + digest.total(absent[name].cast(pa.binary(32)))
            for name, sums in (
                ("content_digest", self.observed.content),
                ("vector_digest", self.observed.vectors),
            )
        )
        self._sql.execute("INSERT INTO observed FROM absent")
        self._sql.execute(_DIFFERING)
        self.observed = replace(
            self.observed,
            content=digest.to_hex(content),
            vectors=digest.to_hex(vectors),
            omitted=absent.num_rows,
        )

    def left_out(self) -> pa.Table:
        """The records that `leave_out` counts, ascending: `id` and both digests."""
        query = "SELECT id, content_digest, vector_digest FROM absent ORDER BY id"
        return self._sql.sql(query).to_arrow_table()

    def differences(
        self, *, pending: Sequence[int] = (), taken_over: Sequence[int] = ()
    ) -> pa.Table:
        """One row for each differing document: `document_id`, `known` (the log has it), `fresh`
        (its newest version is of an entry that is `pending`), `empty` (nothing is stored), `logged`
        (what is stored is what some logged version said), `taken_over` (one of those entries
        touched it)."""
        self._sql.execute(_STORED)
        self._sql.execute(_LOGGED)
        return self._sql.sql(_PLAN, params=[list(pending), list(taken_over)]).to_arrow_table()

    def _recount(self, *, rounded: int) -> None:
        """After vector digests were replaced."""
        vectors = 0
        for batch in self.state.batches("SELECT vector_digest FROM observed"):
            vectors += digest.total(batch["vector_digest"].cast(pa.binary(32)))
        self._sql.execute(_DIFFERING)
        self.observed = replace(self.observed, vectors=digest.to_hex(vectors), rounded=rounded)


def observe(state: State, batches: Iterable[pa.RecordBatch]) -> Observation:
    """Read records, in any order, recompute their digests, and keep the narrow result beside the
    state.

    Raises:
        InvalidRequest: two records have one id, so that neither can be compared.
    """
    with closing(prefetch(digested(prefetch(batches), spec=state.spec))) as digests:
        return observe_digests(state, digests)


def observe_digests(state: State, digests: Iterable[pa.Table]) -> Observation:
    """The same, of what `digested` makes of records. Raises as `observe` does."""
    state.sql.execute(_SCHEMA)
    rows = content = vectors = 0
    for narrow in digests:
        insert(state.sql, "observed", narrow)
        rows += narrow.num_rows
        content += digest.total(narrow["content_digest"])
        vectors += digest.total(narrow["vector_digest"])
    _require_unique(state)
    state.sql.execute(_DIFFERING)
    return Observation(state, Observed(rows, digest.to_hex(content), digest.to_hex(vectors)))


def _require_unique(state: State) -> None:
    repeated = state.sql.execute(_REPEATED).fetchone()
    if repeated is not None:
        raise InvalidRequest(
            f"{state.spec.name!r}: {repeated[1]} records have the id {repeated[0]!r}, so that "
            "nothing tells them apart; give each its own"
        )


def digested(batches: Iterable[pa.RecordBatch], *, spec: CollectionSpec) -> Iterator[pa.Table]:
    """Ids, documents and digests of records, a table per batch that is not empty."""
    with ending(batches):
        for batch in batches:
            if batch.num_rows:
                yield pa.table(
                    {
                        "id": batch.column("id"),
                        "document_id": batch.column("document_id"),
                        "content_digest": digest.content_digests(batch, spec),
                        "vector_digest": digest.vector_digests(batch, spec),
                    }
                )
