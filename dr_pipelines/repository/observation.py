"""What a store was seen to hold, compared with the fold: document by document, by digest.

A document's value is the SHA-256 over the digests of its records; a document without records has
the empty value. Digests are always recomputed from the values that were read.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import pyarrow as pa

from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.recovery_point import Digests
from dr_pipelines.repository import digest
from dr_pipelines.repository.fold import State
from dr_pipelines.repository.prefetch import prefetch

_VALUE = "sha256(string_agg(hex(content_digest) || hex(vector_digest), '' ORDER BY id))"

_DIFFERING = """
CREATE OR REPLACE TABLE differing AS
SELECT DISTINCT unnest([r.document_id, o.document_id]) AS document_id
FROM records r FULL JOIN observed o USING (id)
WHERE r.document_id IS DISTINCT FROM o.document_id
   OR r.content_digest IS DISTINCT FROM o.content_digest
   OR r.vector_digest IS DISTINCT FROM o.vector_digest;
DELETE FROM differing WHERE document_id IS NULL;
"""
_HELD = """
CREATE OR REPLACE TABLE held AS
SELECT r.id, r.document_id, r.content_digest, r.vector_digest
FROM records r JOIN left_out l ON l.id = r.id
    AND l.content_digest = r.content_digest AND l.vector_digest = r.vector_digest
ANTI JOIN observed o ON o.id = r.id
"""
_STORED = f"""
CREATE OR REPLACE TABLE stored_values AS
SELECT document_id, {_VALUE} AS value
FROM observed SEMI JOIN differing USING (document_id) GROUP BY document_id
"""  # noqa: S608 - built from constants
_LOGGED = f"""
CREATE OR REPLACE TABLE logged_values AS
SELECT v.document_id, v.version, v.sequence, coalesce({_VALUE}, '') AS value
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


@dataclass(frozen=True, slots=True)
class Observed:
    """How much was read, and the sums of its digests. `rounded` records came back near a logged
    vector, within the store's tolerance, and count as that vector. `held` records were left out of
    a restore, are not in the store, and count as what the log says; they are not among `rows`."""

    rows: int
    content: str
    vectors: str
    rounded: int = 0
    held: int = 0

    def agrees_with(self, digests: Digests) -> bool:
        """Whether the store holds exactly the records of a state."""
        return (self.content, self.vectors) == (digests.content, digests.vectors)


def observe(state: State, batches: Iterable[pa.RecordBatch], *, spec: CollectionSpec) -> Observed:
    """Read records, recompute their digests, and keep the narrow result beside the fold."""
    state.sql.execute(
        "CREATE OR REPLACE TABLE observed "
        "(id VARCHAR, document_id VARCHAR, content_digest BLOB, vector_digest BLOB)"
    )
    rows = content = vectors = 0
    for narrow in prefetch(digested(prefetch(batches), spec=spec)):
        state.sql.register("incoming", narrow)
        state.sql.execute("INSERT INTO observed SELECT * FROM incoming")
        state.sql.unregister("incoming")
        rows += narrow.num_rows
        content += digest.total(narrow["content_digest"])
        vectors += digest.total(narrow["vector_digest"])
    state.sql.execute(_DIFFERING)
    return Observed(rows, digest.to_hex(content), digest.to_hex(vectors))


def hold(state: State, observed: Observed, left_out: pa.Table) -> Observed:
    """What was observed, with records that a restore left out (`id` and both digests): each counts
    as what the log has, if that is what was left out and the store has no record of that id.

    Their ids stay in the table `held`. Everything else must be equal by itself.
    """
    state.sql.register("left_out", left_out)
    state.sql.execute(_HELD)
    state.sql.unregister("left_out")
    held = state.sql.sql("SELECT * FROM held").to_arrow_table()
    if not held.num_rows:
        return observed
    content = int(observed.content, 16) + digest.total(held["content_digest"].cast(pa.binary(32)))
    vectors = int(observed.vectors, 16) + digest.total(held["vector_digest"].cast(pa.binary(32)))
    state.sql.execute("INSERT INTO observed SELECT * FROM held")
    state.sql.execute(_DIFFERING)
    return replace(
        observed,
        content=digest.to_hex(content),
        vectors=digest.to_hex(vectors),
        held=held.num_rows,
    )


def recount(state: State, observed: Observed) -> Observed:
    """What was observed, after vector digests of it were replaced."""
    vectors = 0
    for batch in state.batches("SELECT vector_digest FROM observed"):
        vectors += digest.total(batch["vector_digest"].cast(pa.binary(32)))
    state.sql.execute(_DIFFERING)
    return replace(observed, vectors=digest.to_hex(vectors))


def digested(batches: Iterable[pa.RecordBatch], *, spec: CollectionSpec) -> Iterator[pa.Table]:
    """Ids, documents and digests of records, a table per batch that is not empty."""
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


def differences(
    state: State, *, pending: tuple[int, ...] = (), taken_over: tuple[int, ...] = ()
) -> pa.Table:
    """One row for each differing document: `document_id`, `known` (the log has it), `fresh` (its
    newest version is not marked applied), `empty` (nothing is stored), `logged` (what is stored
    is what some logged version said), `taken_over` (one of those entries touched it)."""
    state.sql.execute(_STORED)
    state.sql.execute(_LOGGED)
    return state.sql.sql(_PLAN, params=[list(pending), list(taken_over)]).to_arrow_table()
