"""The cheapest truthful sign that a table may have changed.

What a transaction sees is decided by which transactions were committed before it, and the engine
says that in one value: the snapshot, whose numbers never come again. Two equal snapshots of one
history of a server see the same of every table. A crash or another server begins another history:
the time at which the server started and the one at which it last lost its statistics, which every
recovery after a crash resets, tell histories apart; so do the cluster's identifier and the file of
the table. What is rejected: the counters of `pg_stat_user_tables` follow late and are lost in a
crash, so that equal ones do not mean equal contents; the write position of the log moves without
any change, at every checkpoint.

A standby's snapshot does not name what is in progress, so that there is no sign there. The sign is
a server's: it changes also when something else in the server was written.
"""

from dr_pipelines.stores.pgvector.catalog import Table
from dr_pipelines.stores.pgvector.connections import Session
from dr_pipelines.stores.pgvector.statements import oid, qualified

SIGN = qualified("""
    SELECT pg_catalog.pg_current_snapshot()::text, pg_catalog.pg_postmaster_start_time()::text,
        coalesce((SELECT stats_reset::text FROM pg_stat_bgwriter), ''),
        (SELECT system_identifier FROM pg_catalog.pg_control_system())::text,
        (SELECT timeline_id FROM pg_catalog.pg_control_checkpoint())::text,
        {table}::text, coalesce(pg_catalog.pg_relation_filenode({table})::text, '')
""")


def change_token(session: Session, table: Table) -> str | None:
    """Equal only while no transaction that writes anything was committed; None on a standby."""
    if session.one(qualified("SELECT pg_catalog.pg_is_in_recovery()")):
        return None
    return " ".join(session.rows(SIGN.format(table=oid(table.id)))[0])
