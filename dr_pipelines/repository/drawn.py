"""Records of a state drawn at random, by a seed: the same state and seed give the same records."""

import pyarrow as pa

from dr_pipelines.repository.scratch import beside
from dr_pipelines.repository.state import State

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
