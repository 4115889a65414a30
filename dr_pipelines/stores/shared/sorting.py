"""Records in order of id from an engine that returns them in an order of its own; or in that order,
once all of them are read.

An external merge sort: sorted runs of a bounded size go to a temporary directory as Arrow files,
which then are read side by side. A collection that fits into one run is never written.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import ipc

from dr_pipelines.host.permissions import temporary_directory
from dr_pipelines.stores.shared.pointers import needing_room

RUN_BYTES = 64 * 2**20
PIECE_BYTES = 2**20
BATCH_BYTES = 32 * 2**20


def ascending(
    batches: Iterable[pa.RecordBatch],
    *,
    schema: pa.Schema,
    batch_rows: int,
    run_bytes: int = RUN_BYTES,
) -> Iterator[pa.RecordBatch]:
    """The same records, ascending bytewise by `id`, at most `batch_rows` at a time, never none; of
    large records fewer.

    `schema` has a column `id` (string); of equal ids the order is any. Holds about `run_bytes` and
    one megabyte for each run; what it spills is gone when the generator ends or is closed. Raises
    `Unavailable` where the temporary directory has no room.
    """
    with temporary_directory("sort") as directory:
        runs, last = _spilled(batches, schema, Path(directory), run_bytes=run_bytes)
        pieces = [_pieces(path) for path in runs] + [iter(_in_order(last).to_batches())]
        yield from _of_size(_merged(pieces, schema), schema, batch_rows=batch_rows)


def spooled(
    batches: Iterable[pa.RecordBatch], *, schema: pa.Schema, run_bytes: int = RUN_BYTES
) -> Iterator[pa.RecordBatch]:
    """The same batches in the same order, the first of them when all are read.

    Holds about `run_bytes`; the rest waits in a temporary file, as `ascending` has it.
    """
    buffered, size, coming = list[pa.RecordBatch](), 0, iter(batches)
    while size < run_bytes:
        batch = next(coming, None)
        if batch is None:
            yield from buffered
            return
        buffered.append(batch)
        size += batch.nbytes
    with temporary_directory("spool") as directory:
        path = Path(directory) / "rest.arrow"
        with needing_room(path), ipc.new_stream(path, schema) as writer:
            for batch in coming:
                writer.write_batch(batch)
        yield from buffered
        buffered.clear()
        with path.open("rb") as file, ipc.open_stream(file) as reader:
            yield from reader


def _spilled(
    batches: Iterable[pa.RecordBatch], schema: pa.Schema, directory: Path, *, run_bytes: int
) -> tuple[list[Path], pa.Table]:
    """Files of sorted records, and what is left in memory."""
    runs, buffered, size = list[Path](), list[pa.RecordBatch](), 0
    for batch in batches:
        buffered.append(batch)
        size += batch.nbytes  # of a slice what it shows: its neighbours share its buffers
        if size >= run_bytes:
            runs.append(_write_run(pa.Table.from_batches(buffered, schema), directory, len(runs)))
            buffered, size = [], 0
    return runs, pa.Table.from_batches(buffered, schema)


def _write_run(table: pa.Table, directory: Path, number: int) -> Path:
    path = directory / f"{number}.arrow"
    rows = max(1, table.num_rows * PIECE_BYTES // max(1, table.nbytes))
    with needing_room(path), ipc.new_file(path, table.schema) as writer:
        writer.write_table(_in_order(table), max_chunksize=rows)
    return path


def _pieces(path: Path) -> Iterator[pa.RecordBatch]:
    with path.open("rb") as file, ipc.open_file(file) as reader:
        for number in range(reader.num_record_batches):
            yield reader.get_batch(number)


def _merged(runs: Sequence[Iterator[pa.RecordBatch]], schema: pa.Schema) -> Iterator[pa.Table]:
    """Tables in order: whatever is not above the lowest of the ids at which a run's piece ends."""
    pending = [_next(run) for run in runs]
    while True:
        ends = [piece.column("id")[-1].as_py() for piece in pending if piece is not None]
        if not ends:
            return
        bound = pa.scalar(min(ends, key=str.encode))
        taken = []
        for place, piece in enumerate(pending):
            if piece is None:
                continue
            below = pc.sum(pc.less_equal(piece.column("id"), bound)).as_py()
            taken.append(piece.slice(0, below))
            rest = piece.slice(below)
            pending[place] = rest if rest.num_rows else _next(runs[place])
        yield _in_order(pa.Table.from_batches(taken, schema))


def _next(run: Iterator[pa.RecordBatch]) -> pa.RecordBatch | None:
    return next((piece for piece in run if piece.num_rows), None)


def _of_size(
    tables: Iterable[pa.Table], schema: pa.Schema, *, batch_rows: int
) -> Iterator[pa.RecordBatch]:
    buffered = schema.empty_table()
    for table in tables:
        buffered = pa.concat_tables([buffered, table])
        whole = buffered.num_rows - buffered.num_rows % batch_rows
        yield from _batches(buffered.slice(0, whole), batch_rows)
        buffered = buffered.slice(whole)
        if buffered.nbytes >= BATCH_BYTES:
            yield from _batches(buffered, batch_rows)
            buffered = schema.empty_table()
    yield from _batches(buffered, batch_rows)


def _batches(table: pa.Table, batch_rows: int) -> Iterator[pa.RecordBatch]:
    for start in range(0, table.num_rows, batch_rows):
        yield from table.slice(start, batch_rows).combine_chunks().to_batches()


def _in_order(table: pa.Table) -> pa.Table:
    ids = table.column("id")
    if len(ids) < 2 or pc.all(pc.less(ids[:-1], ids[1:])).as_py():
        return table
    return table.sort_by("id")
