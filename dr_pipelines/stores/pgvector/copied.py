"""Records of a table of which no query is planned: its columns as they lie, made records and put in
order here.

Most values are read of the bytes that their types send. Where only a type's output function says
the text of a value, the table is read twice in one moment, for those texts and for the rest: rows
lie in the same order both times.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import ipc

from dr_pipelines.errors import Damaged
from dr_pipelines.host.permissions import temporary_directory
from dr_pipelines.model.record import store_schema
from dr_pipelines.stores.pgvector import rows_as_text, streams
from dr_pipelines.stores.pgvector.catalog import Attribute, Table
from dr_pipelines.stores.pgvector.columns import Column
from dr_pipelines.stores.pgvector.connections import Session
from dr_pipelines.stores.pgvector.contents import WIDTH
from dr_pipelines.stores.pgvector.decoding import Decoder, Fields, batch_of, numbers
from dr_pipelines.stores.pgvector.description import Collection
from dr_pipelines.stores.pgvector.inheritance import require_whole
from dr_pipelines.stores.pgvector.mapping import has_vectors
from dr_pipelines.stores.pgvector.shown import WHOLE, from_bytes, from_output
from dr_pipelines.stores.shared.pointers import needing_room
from dr_pipelines.stores.shared.sorting import ascending

DIGEST = ""
"""The name of a digest among the texts of columns: no column has it."""
ODD = '["\\\\\\x00-\\x1f]'
"""Characters that JSON does not write as they are."""
SHORT = frozenset([*WHOLE, "bool", "date", "float4", "float8", "timestamp", "timestamptz", "uuid"])
"""Types that send at most 16 bytes."""
NUMBER = r"^-?[0-9]{1,19}(\.[0-9]*)?$"
MOST = 2**63 - 1
"""The last number of the longest sequence."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """Some rows: columns as their own bytes, and as texts."""

    size: int
    fields: Mapping[str, Fields] = field(default_factory=dict)
    texts: Mapping[str, pa.Array] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Source:
    """The origin of a column of records: columns of the table in either form."""

    make: Callable[[_Piece], pa.Array]
    fields: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()


def scanned(
    session: Session,
    collection: Collection,
    columns: Sequence[str],
    *,
    documents: Sequence[str] | None,
    batch_rows: int,
) -> Iterator[pa.RecordBatch]:
    """The records, of some documents if these are given, ascending bytewise by id."""
    keyless = not collection.table.key
    read = list(dict.fromkeys([*columns, "id"]))
    whole = pa.schema([store_schema(collection.spec).field(name) for name in read])
    batches = records(session, collection, read, documents=documents)
    ordered = ascending(batches, schema=whole, batch_rows=batch_rows)
    if keyless:
        ordered = rows_as_text.numbered(ordered)
    for batch in ordered:
        if keyless and documents is not None:
            batch = batch.filter(pc.is_in(batch.column("id"), value_set=_array(documents)))
        if batch.num_rows:
            yield batch.select(list(columns))


def records(
    session: Session,
    collection: Collection,
    columns: Sequence[str],
    *,
    documents: Sequence[str] | None = None,
) -> Iterator[pa.RecordBatch]:
    """The same in the order in which they lie; of a table without a key the ids are digests yet, of
    equal rows equal ones."""
    require_whole(session, collection.table)
    keyless = not collection.table.key
    only = None if documents is None else _array([d[:WIDTH] if keyless else d for d in documents])
    read = list(columns) if only is None else list(dict.fromkeys([*columns, "document_id"]))
    schema = store_schema(collection.spec)
    fields = pa.schema([schema.field(name) for name in read])
    sources = [_source(collection, name) for name in read]
    for piece in _pieces(session, collection.table, sources):
        batch = batch_of([source.make(piece) for source in sources], fields)
        if only is not None:
            batch = batch.filter(pc.is_in(batch.column("document_id"), value_set=only))
        yield batch.select(list(columns))


def counted(session: Session, table: Table) -> int:
    """How many rows there are: those that the server sends of the column with the fewest bytes."""
    name = _shortest(table).name
    return sum(len(fields[0].begin) for fields in streams.copied(session, table, [name]))


def _shortest(table: Table) -> Attribute:
    """A column of a few bytes, else the key's, else any that has no vectors."""
    stored = [a for a in table.attributes if not a.generated]
    short = [a for a in stored if a.plain and a.kind in SHORT]
    of_key = [a for a in stored if a.number in table.key]
    return [*short, *of_key, *(a for a in stored if not has_vectors(a)), *stored][0]


def extreme(session: Session, table: Table, attribute: Attribute, *, largest: bool) -> int | None:
    """The largest or smallest whole number in a column; None where it has none. A type that does
    not send whole numbers may show them, as numeric does, or a domain: what its values show that no
    sequence counts is passed over."""
    chosen, extremes = (pc.max if largest else pc.min), list[int]()
    for values in _whole_numbers(session, table, attribute):
        value = chosen(values).as_py()
        if value is not None:
            extremes = [(max if largest else min)([*extremes, int(value)])]
    return extremes[0] if extremes else None


def _whole_numbers(session: Session, table: Table, attribute: Attribute) -> Iterator[pa.Array]:
    if attribute.plain and attribute.kind in WHOLE:
        decode = numbers(WHOLE[attribute.kind], pa.int64())
        for fields in streams.copied(session, table, [attribute.name]):
            yield decode(fields[0])
        return
    for texts in streams.copied_texts(session, table, [attribute.name]):
        counted = texts[0].filter(pc.match_substring_regex(texts[0], NUMBER))
        values = pc.replace_substring_regex(counted, r"\..*", "").cast(pa.decimal128(19, 0))
        yield values.filter(pc.less_equal(pc.abs(values), pa.scalar(MOST, values.type)))


def _source(collection: Collection, name: str) -> _Source:
    table = collection.table
    if not collection.ours and name in ("id", "document_id"):
        if not table.key:
            return _Source(lambda piece: piece.texts[DIGEST], texts=(DIGEST,))
        return _key([table.attribute(number) for number in table.key])
    column = collection.mapping.column(name)
    if column is not None:
        return _of_column(table, column)
    if name == "chunk_index":
        return _Source(lambda piece: pa.array(np.zeros(piece.size, np.int32)))
    return _Source(lambda piece: pa.nulls(piece.size, pa.string()))


def _of_column(table: Table, column: Column) -> _Source:
    native, beside, decode = column.native, column.beside, column.of_bytes
    if decode is None:
        return _text(next(a for a in table.attributes if a.name == native))
    if beside is None:
        return _bytes(native, decode)
    of_either = decode
    return _Source(
        lambda piece: of_either(piece.fields[beside].or_else(piece.fields[native])),
        fields=(beside, native),
    )


def _key(attributes: Sequence[Attribute]) -> _Source:
    """The id that `keys.key_column` is: the key as text, or a JSON array of several texts."""
    parts = [_plain_text(attribute) for attribute in attributes]
    if len(parts) == 1:
        return parts[0]
    return _Source(
        lambda piece: _listed([part.make(piece) for part in parts]),
        fields=tuple(name for part in parts for name in part.fields),
        texts=tuple(name for part in parts for name in part.texts),
    )


def _plain_text(attribute: Attribute) -> _Source:
    decode = from_bytes(attribute)
    return _text(attribute) if decode is None else _bytes(attribute.name, decode)


def _bytes(native: str, decode: Decoder) -> _Source:
    return _Source(lambda piece: decode(piece.fields[native]), fields=(native,))


def _text(attribute: Attribute) -> _Source:
    meant = from_output(attribute)
    return _Source(lambda piece: meant(piece.texts[attribute.name]), texts=(attribute.name,))


def _listed(columns: Sequence[pa.Array]) -> pa.Array:
    """Texts of several columns as JSON arrays, as the server's `to_json` writes them."""
    inside = pc.binary_join_element_wise(*map(_in_json, columns), ",")
    return pc.binary_join_element_wise("[", inside, "]", "")


def _in_json(texts: pa.Array) -> pa.Array:
    written = pc.binary_join_element_wise('"', texts, '"', "")
    odd = pc.match_substring_regex(texts, ODD)
    if not pc.any(odd).as_py():
        return written
    few = [json.dumps(text, ensure_ascii=False) for text in texts.filter(odd).to_pylist()]
    return pc.replace_with_mask(written, odd, pa.array(few, pa.string()))


def _pieces(session: Session, table: Table, sources: Sequence[_Source]) -> Iterator[_Piece]:
    """Rows with all that some sources need."""
    names = list(dict.fromkeys(name for source in sources for name in source.fields))
    shown = list(dict.fromkeys(name for source in sources for name in source.texts))
    if not shown:
        for fields in streams.copied(session, table, names):
            yield _Piece(len(fields[0].begin), dict(zip(names, fields, strict=True)))
        return
    texts = _texts(session, table, shown)
    if not names:
        for batch in texts:
            yield _Piece(batch.num_rows, texts=_named(batch))
        return
    with temporary_directory("copy") as directory, ExitStack() as stack:
        path = Path(directory) / "texts.arrow"
        _spill(texts, path, shown)
        reader = stack.enter_context(ipc.open_stream(stack.enter_context(path.open("rb"))))
        beside = _Beside(iter(reader))
        for fields in streams.copied(session, table, names):
            size = len(fields[0].begin)
            yield _Piece(size, dict(zip(names, fields, strict=True)), _named(beside.next(size)))
        beside.require_end()


def _texts(session: Session, table: Table, shown: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Columns as texts; for a digest all of them are read."""
    every = [a.name for a in table.attributes if not a.generated]
    names = every if DIGEST in shown else list(shown)
    for columns in streams.copied_texts(session, table, names):
        by_name = dict(zip(names, columns, strict=True))
        if DIGEST in shown:
            by_name[DIGEST] = rows_as_text.digests(columns)
        yield pa.RecordBatch.from_arrays([by_name[name] for name in shown], list(shown))


def _spill(batches: Iterator[pa.RecordBatch], path: Path, names: Sequence[str]) -> None:
    schema = pa.schema([(name, pa.string()) for name in names])
    with needing_room(path), ipc.new_stream(path, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)


def _named(batch: pa.RecordBatch | pa.Table) -> dict[str, pa.Array]:
    return dict(zip(batch.schema.names, batch.columns, strict=True))


class _Beside:
    """Rows of one reading, as many at a time as another brings."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._batches = batches
        self._left: list[pa.RecordBatch] = []

    def next(self, size: int) -> pa.RecordBatch:
        """The next rows, as one batch."""
        ready = sum(batch.num_rows for batch in self._left)
        while ready < size:
            batch = next(self._batches, None)
            if batch is None:
                raise _uneven()
            self._left.append(batch)
            ready += batch.num_rows
        whole = pa.concat_batches(self._left) if len(self._left) > 1 else self._left[0]
        self._left = [whole.slice(size)]
        return whole.slice(0, size)

    def require_end(self) -> None:
        """Raises: Damaged: rows are left."""
        if any(batch.num_rows for batch in (*self._left, *self._batches)):
            raise _uneven()


def _uneven() -> Damaged:
    return Damaged("the server sent a table twice in one transaction, with other rows each time")


def _array(documents: Sequence[str]) -> pa.Array:
    return pa.array(documents, pa.string())
