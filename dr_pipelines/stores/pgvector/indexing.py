"""Building what a specification declares, with a look at how far the engine is."""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass, replace
from typing import Any

import psycopg
from psycopg import sql

from dr_pipelines.model.collection import Vector
from dr_pipelines.protocols import Progress
from dr_pipelines.stores.pgvector.completing import complete
from dr_pipelines.stores.pgvector.connections import Connections, Session
from dr_pipelines.stores.pgvector.description import (
    DOCUMENTS,
    KEYWORDS,
    PENDING,
    Collection,
    default_index_name,
)
from dr_pipelines.stores.pgvector.making import index_command, section_of
from dr_pipelines.stores.pgvector.names import derived, with_table
from dr_pipelines.stores.pgvector.partitions import LivePartition, live_partitions
from dr_pipelines.stores.pgvector.statements import oid, qualified
from dr_pipelines.stores.pgvector.vector_indexes import definition

STEPS = 1000
"""Progress of one index, in parts."""
LOOK_SECONDS = 0.2
GRAPH_FACTOR = 1.5
MOST_MEMORY = 4 * 2**30
SETTING_FACTOR = 4
MOST_WORKERS = 7
ANALYZE = sql.SQL("ANALYZE {}")
MEMORY = qualified(
    "SELECT pg_catalog.pg_size_bytes(pg_catalog.current_setting('maintenance_work_mem')), "
    "pg_catalog.pg_size_bytes(pg_catalog.current_setting('shared_buffers'))"
)
HOW_FAR = qualified(
    "SELECT blocks_done, blocks_total, tuples_done, tuples_total "
    "FROM pg_stat_progress_create_index WHERE pid = {}"
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """An index that is to be there: `name` may have a place for the table's, `using` has one."""

    name: str
    using: str
    unique: bool = False
    partition: str | None = None
    """The table that gets it, where that is a partition."""


def wanted_indexes(collection: Collection) -> list[Wanted]:
    """Indexes that the label declares and the table lacks: plain ones first, so that those of
    vectors, which take longest, are the last."""
    label = collection.table.label
    if label is None:
        return []
    spec, section = label.spec, section_of(label.spec)
    declared = list[Wanted]()
    if collection.ours:
        declared.append(Wanted("{table}_document_id_idx", DOCUMENTS))
        if spec.keyword_index:
            declared.append(Wanted("{table}_text_idx", KEYWORDS))
    declared += [
        Wanted(part["name"], with_table(part["using"], collection.table.quoted), part["unique"])
        for part in [*section.get("indexes", []), *section.get("constraints", [])]
        if "using" in part
    ]
    there = [
        Wanted(derived(i.name, collection.table.name), i.using, i.unique)
        for i in collection.table.indexes
        if i.valid and not i.constraint
    ]
    missing = _without(declared, there)
    return [*missing, *_vector_indexes(collection, spec.vectors, section)]


def _without(declared: list[Wanted], there: list[Wanted]) -> list[Wanted]:
    """Indexes that are not there. One that is there stands for one that is wanted and like it in
    everything: first under the same name, then under another, which it has where its own was
    taken. An index of a constraint stands for none."""
    unnamed = Counter((i.using, i.unique) for i in there)
    unnamed.subtract((i.using, i.unique) for i in set(there).intersection(declared))
    missing = list[Wanted]()
    for index in declared:
        if index in there:
            continue
        if unnamed[index.using, index.unique] > 0:
            unnamed[index.using, index.unique] -= 1
        else:
            missing.append(index)
    return missing


def _vector_indexes(
    collection: Collection, vectors: tuple[Vector, ...], section: dict[str, Any]
) -> Iterator[Wanted]:
    for vector in vectors:
        if vector.index is None or vector.name in collection.vector_indexes:
            continue
        column = collection.mapping.column(vector.name)
        attribute = next(
            a for a in collection.table.attributes if column and a.name == column.native
        )
        cast = section.get("quantization", {}).get(vector.name)
        if cast is None and attribute.modifier < 0 and attribute.kind in ("vector", "halfvec"):
            cast = attribute.kind
        names = section.get("index_names", {})
        name = names.get(f"vectors.{vector.name}.index", default_index_name(vector.name))
        using = definition(vector, vector.index, attribute.quoted, cast=cast)
        yield Wanted(name, using)


def build(
    connections: Connections,
    collection: Collection,
    settings: dict[str, str],
    *,
    look: Callable[[Session], None],
    progress: Progress | None,
) -> dict[str, str]:
    """Build every index that is missing, each in a transaction of its own: what is there stays,
    when one fails or the process ends. Before each comes a `look` at what is to be executed.
    Readers go on meanwhile. Returns the settings that were chosen for the last one."""
    with connections.reading() as session:
        pending = all_wanted(session, collection)
    chosen = dict[str, str]()
    for number, index in enumerate(pending):
        with connections.writing() as session:
            chosen = _prepare(session, collection, settings)
            look(session)
            _execute(
                session,
                command(session, index, collection.table.name),
                connections,
                progress=progress,
                done=number * STEPS,
                total=len(pending) * STEPS,
            )
    if pending and progress is not None:
        progress(len(pending) * STEPS, len(pending) * STEPS)
    return chosen


def analyse(
    connections: Connections, collection: Collection, *, look: Callable[[Session], None]
) -> None:
    """Let the server look at the rows, also by the expressions of indexes; no reader waits."""
    with connections.writing() as session:
        look(session)
        session.run(ANALYZE.format(collection.identifier(session)))


def finish(
    connections: Connections,
    collection: Collection,
    *,
    look: Callable[[Session], None],
    analysed: bool,
) -> None:
    """All that comes when the indexes are there; some of it waits for readers. What was `analysed`
    before is again where anything is declared that may come now."""
    with connections.writing() as session:
        look(session)
        complete(session, collection)
        if not analysed or not _is_plain(collection):
            session.run(ANALYZE.format(collection.identifier(session)))


def _is_plain(collection: Collection) -> bool:
    """True if a table of ours has nothing but its columns and indexes."""
    label = collection.table.label
    late = (*PENDING, "constraints", "replica_identity")
    return collection.ours and label is not None and not section_of(label.spec).keys() & {*late}


def all_wanted(session: Session, collection: Collection) -> list[Wanted]:
    """Indexes that a table and its partitions are to have and do not have."""
    return [*wanted_indexes(collection), *_of_partitions(session, collection)]


def _of_partitions(session: Session, collection: Collection) -> list[Wanted]:
    """Indexes that single partitions are to have for themselves, and do not have."""
    label, table = collection.table.label, collection.table
    if label is None or not table.partitioned:
        return []
    declared = section_of(label.spec).get("partitions", {}).get("tables", [])
    return list(_missing(declared, live_partitions(session, table, table.id)))


def _missing(declared: list[dict[str, Any]], live: dict[str, LivePartition]) -> Iterator[Wanted]:
    for part in declared:
        partition = live.get(part["name"])
        if partition is None:  # dropped since
            continue
        of_it = [Wanted(i["name"], i["using"], i["unique"]) for i in part.get("indexes", [])]
        there = [Wanted(i["name"], i["using"], i["unique"]) for i in partition.indexes]
        for index in _without(of_it, there):
            yield replace(index, partition=partition.table)
        yield from _missing(part.get("tables", []), partition.parts)


def command(session: Session, index: Wanted, table: str) -> sql.Composed:
    """The statement that makes an index."""
    partition = index.partition
    return index_command(
        session, index.name, index.using, unique=index.unique, root=table, partition=partition
    )


def _prepare(session: Session, collection: Collection, settings: dict[str, str]) -> dict[str, str]:
    """Memory for the whole graph of an HNSW index, which is slow to build without, but no more than
    the server's own settings let one think that it has; and as many workers as it lets one
    operation have. The URL may say otherwise."""
    size = qualified("SELECT pg_total_relation_size({})")
    size_bytes = int(session.one(size.format(oid(collection.table.id))))
    usual, buffers = (int(value) for value in session.rows(MEMORY)[0])
    most = max(SETTING_FACTOR * usual, buffers)
    memory = int(max(usual, min(MOST_MEMORY, most, size_bytes * GRAPH_FACTOR)))
    limit = int(session.one(qualified("SELECT current_setting('max_parallel_workers')")))
    chosen = {
        "maintenance_work_mem": f"{memory // 1024}kB",
        "max_parallel_maintenance_workers": str(min(limit, MOST_WORKERS)),
        **settings,
    }
    for key, value in chosen.items():
        set_ = qualified("SELECT pg_catalog.set_config({}, {}, true)")
        session.run(set_.format(sql.Literal(key), sql.Literal(value)))
    return chosen


def _execute(
    session: Session,
    command: sql.Composed,
    connections: Connections,
    *,
    progress: Progress | None,
    done: int,
    total: int,
) -> None:
    try:
        with session.connection.transaction():
            _watched(session, command, connections, progress=progress, done=done, total=total)
    except (psycopg.errors.DiskFull, psycopg.errors.OutOfMemory):
        # workers share memory that a container may have little of, whatever the server has
        session.run(sql.SQL("SET LOCAL max_parallel_maintenance_workers = 0"))
        _watched(session, command, connections, progress=progress, done=done, total=total)


def _watched(
    session: Session,
    command: sql.Composed,
    connections: Connections,
    *,
    progress: Progress | None,
    done: int,
    total: int,
) -> None:
    """Run a command in a thread, and look from here how far it is."""
    if progress is None:
        session.define(command)
        return
    pid = session.connection.info.backend_pid
    with ThreadPoolExecutor(1) as pool, connections.alone() as watcher:
        running = pool.submit(session.define, command)
        try:
            for part in _looks(running, watcher, pid):
                progress(done + part, total)
        except BaseException:
            session.connection.cancel_safe()  # or leaving would wait for its end
            raise
        running.result()


def _looks(running: "Future[None]", watcher: Session, pid: int) -> Iterator[int]:
    part = 0
    while True:
        try:
            running.exception(timeout=LOOK_SECONDS)
        except NotYet:
            part = max(part, _part_done(watcher, pid))  # between phases the server says nothing
            yield part
        else:
            return


def _part_done(watcher: Session, pid: int) -> int:
    rows = watcher.rows(HOW_FAR.format(sql.Literal(pid)))
    if not rows:
        return 0
    blocks, all_blocks, tuples, all_tuples = (int(value or 0) for value in rows[0])
    done, total = (blocks, all_blocks) if all_blocks else (tuples, all_tuples)
    return min(STEPS, STEPS * done // total) if total else 0
