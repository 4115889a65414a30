"""Records of a state drawn at random, by a seed: the same state and seed give the same records."""

import pyarrow as pa

from dr_pipelines.model.record import segment_schema
from dr_pipelines.repository.scratch import beside
from dr_pipelines.repository.segments import read_records
from dr_pipelines.repository.state import State, grouped

_DRAWN = """
WITH there AS (
    SELECT id, document_id, tenant, md5(id || $seed) AS chance
    FROM records ANTI JOIN omitted USING (id)),
spread_over AS (
    SELECT DISTINCT tenant FROM there ORDER BY md5(coalesce(tenant, '') || $seed), tenant
    LIMIT $tenants),
placed AS (
    SELECT id, document_id, tenant,
           row_number() OVER (ORDER BY chance, id) AS place,
           row_number() OVER (PARTITION BY tenant ORDER BY chance, id) AS place_of_tenant,
           EXISTS (FROM spread_over s WHERE s.tenant IS NOT DISTINCT FROM there.tenant) AS spread,
           EXISTS (FROM added a WHERE a.id = there.id) AS added
    FROM there)
SELECT id, document_id, tenant, place <= $most AS drawn FROM placed
WHERE place <= $most OR (spread AND place_of_tenant <= $each) OR added ORDER BY place
"""


def draw_records(
    state: State,
    *,
    most: int,
    each: int,
    tenants: int,
    seed: int,
    without: pa.Array,
    besides: pa.Array,
) -> pa.Table:
    """At most so many records drawn from all, those that are `drawn`, and besides of some tenants
    `each` as many, and those of some ids: `id, document_id, tenant, drawn`, in the order in which
    they were drawn.

    Records `without` are never drawn. Every record has the same chance to be among `most`.
    """
    parameters = {"most": most, "each": each, "tenants": tenants, "seed": f":{seed}"}
    omitted, added = (pa.table({"id": ids.cast(pa.string())}) for ids in (without, besides))
    with beside(state.sql, "omitted", omitted), beside(state.sql, "added", added):
        return state.sql.sql(_DRAWN, params=parameters).to_arrow_table()


_GONE = """
WITH gone AS (
    SELECT p.id, v.document_id, p.segment, p.row, md5(p.id || $seed) AS chance
    FROM pieces p JOIN versions v USING (version)
    ANTI JOIN records r ON r.id = p.id
    QUALIFY row_number() OVER (PARTITION BY p.id ORDER BY v.epoch DESC, v.position DESC,
        v.ordinal DESC, v.edit DESC, v.generation DESC, v.sequence DESC) = 1),
chosen AS (SELECT * FROM gone ORDER BY chance, id LIMIT $most)
SELECT id, document_id, segment, row FROM chosen ORDER BY segment, row
"""


def draw_gone(state: State, *, most: int, seed: int) -> pa.Table:
    """At most so many records that the log had and the state has not, because their document was
    deleted or has fewer chunks: `id, document_id` and the vectors that they had last.

    A record whose last rows were merged away by a compaction is not among them.
    """
    parameters = {"most": most, "seed": f":{seed}"}
    places = state.sql.sql(_GONE, params=parameters).to_arrow_table()
    columns = ["id", "document_id", *(vector.name for vector in state.spec.vectors)]
    schema = segment_schema(state.spec)
    read = [pa.schema([schema.field(name) for name in columns]).empty_table()]
    for number, rows in grouped([places.select(["segment", "row"])]):
        ref = state.segments[number]
        read.append(
            read_records(
                state.repository, ref, spec=state.spec, columns=columns, numbers=rows
            ).select(columns)
        )
    return pa.concat_tables(read, promote_options="permissive").combine_chunks()
