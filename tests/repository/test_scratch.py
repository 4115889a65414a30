"""Scratch databases share an engine, which a fork must not break."""

import subprocess
import sys

import pytest

from dr_pipelines.repository.scratch import scratch_database

IDLE = """
import os, sys
from dr_pipelines.repository.scratch import scratch_database

def ask(number):
    with scratch_database() as sql:
        sql.execute(f"CREATE TABLE t AS SELECT {number} AS i")
        assert sql.execute("FROM t").fetchall() == [(number,)]

ask(1)
child = os.fork()
ask(2)
if child == 0:
    sys.exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
"""
USED = IDLE.replace(
    "child = os.fork()", "with scratch_database():\n    child = os.fork()\n    ask(3)"
).replace("sys.exit(7)", "os._exit(7)")


@pytest.mark.parametrize("script", [IDLE, USED], ids=["idle", "used"])
def test_parent_and_child_go_on_after_a_fork(script: str) -> None:
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_databases_do_not_see_each_other() -> None:
    with scratch_database() as one, scratch_database() as other:
        one.execute("CREATE TABLE t AS SELECT 1 AS i")
        other.execute("CREATE TABLE t AS SELECT 2 AS i")
        assert one.execute("FROM t").fetchall() == [(1,)]
    with scratch_database() as later:
        assert later.execute("SELECT count(*) FROM duckdb_tables()").fetchall() == [(0,)]
