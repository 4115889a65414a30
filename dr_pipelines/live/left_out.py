"""Records that an engine refuses when they are written: left out, listed, and kept in the log.

A store without them is not one from which they were deleted: until the log says something else of
them, each counts as there.
"""

import threading
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.errors import Damaged, InvalidRequest, NotFound
from dr_pipelines.model.base import canonical_json
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.misfit import NAMED, Misfit
from dr_pipelines.model.recovery_point import LeftOut, Manifest
from dr_pipelines.protocols import VectorStore
from dr_pipelines.repository import digest
from dr_pipelines.repository.history import History
from dr_pipelines.repository.json_codec import JSON_LIMIT_BYTES
from dr_pipelines.repository.observation import Observation
from dr_pipelines.repository.repository import Repository

RECORD_BYTES, CHARACTER_BYTES = 180, 6
"""Of the list, at most, for a record and for a character of its id: also below the limit of values
that JSON may have."""
MOST_UNFORESEEN = 1000
"""Records that an engine may refuse although nothing foresaw it. More are no odd rows: then
something is wrong with the whole, and the restore ends."""
_SCHEMA = pa.schema(
    [("id", pa.string()), ("content_digest", pa.binary(32)), ("vector_digest", pa.binary(32))]
)


@dataclass(frozen=True)
class Left:
    """Records that a collection was made without: id and digests of each, and some by name."""

    table: pa.Table
    named: tuple[Misfit, ...] = ()

    @property
    def total(self) -> int:
        return int(self.table.num_rows)

    def __add__(self, other: "Left") -> "Left":
        """All of both; a record of both as the other has it."""
        if not other.total:
            return self
        ids = other.table["id"]
        before = self.table.filter(pc.invert(pc.is_in(self.table["id"], value_set=ids)))
        refused = {m.record: m for m in (*self.named, *other.named)}
        return Left(pa.concat_tables([before, other.table]), _named_first(refused))


NOTHING_LEFT = Left(_SCHEMA.empty_table())


@dataclass
class Filling:
    """Writes records into a collection and leaves out what its engine refuses. Several threads may
    write different records."""

    store: VectorStore
    physical: str
    spec: CollectionSpec
    refused: dict[str, Misfit] = field(default_factory=dict)
    _tables: list[pa.Table] = field(default_factory=list)
    _unforeseen: int = 0
    _listed_bytes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def write(self, rows: pa.Table, *, replaces: list[str] | None = None) -> int:
        """Write some rows, whole documents; returns how many were written."""
        misfits = self.store.misfits(self.spec, rows)
        if len(misfits):
            named = {misfit.record: misfit for misfit in misfits}
            bad = np.zeros(rows.num_rows, bool)
            bad[misfits.rows] = True
            self._leave_out(rows.filter(pa.array(bad)), named)
            rows = rows.filter(pa.array(~bad))
        return self._write(rows, replaces or [])

    def left_out(self) -> Left:
        """Records that were left out, each once."""
        if not self._tables:
            return NOTHING_LEFT
        return Left(pa.concat_tables(self._tables), _named_first(self.refused))

    def _write(self, rows: pa.Table, replaces: list[str]) -> int:
        """A record that nothing foresaw is found by halves."""
        try:
            self.store.write(self.physical, rows, replaces=replaces)
        except NotFound:
            raise  # it is not the records that are wrong
        except InvalidRequest as error:
            if rows.num_rows > 1:
                half = rows.num_rows // 2
                done = self._write(rows.slice(0, half), replaces)
                return done + self._write(rows.slice(half), [])
            with self._lock:
                self._unforeseen += 1
                if rows.num_rows == 0 or self._unforeseen > MOST_UNFORESEEN:
                    raise
            key = rows["id"][0].as_py()
            reason = str(error)
            self._leave_out(rows, {key: Misfit(record=key, column="", reason=reason)})
            if replaces:
                self.store.write(self.physical, rows.slice(0, 0), replaces=replaces)
            return 0
        return len(rows)

    def _leave_out(self, rows: pa.Table, named: dict[str, Misfit]) -> None:
        with self._lock:
            self._list(rows, named)

    def _list(self, rows: pa.Table, named: dict[str, Misfit]) -> None:
        rows = rows.combine_chunks()
        fresh = pa.array([key not in self.refused for key in rows["id"].to_pylist()], pa.bool_())
        rows = rows.filter(fresh)
        if not rows.num_rows:
            return
        usual = "refused for its values, like those that are named"
        for key in rows["id"].to_pylist():
            misfit = Misfit(record=key, column="", reason=usual)
            self.refused[key] = named.get(key, misfit)
        self._require_few(rows)
        columns = [
            rows["id"].combine_chunks(),
            digest.content_digests(rows, self.spec),
            digest.vector_digests(rows, self.spec),
        ]
        self._tables.append(pa.table(columns, schema=_SCHEMA))

    def _require_few(self, rows: pa.Table) -> None:
        """More than a list can hold are no odd rows either."""
        characters = pc.sum(pc.utf8_length(rows["id"])).as_py()
        self._listed_bytes += len(rows) * RECORD_BYTES + characters * CHARACTER_BYTES
        if self._listed_bytes > JSON_LIMIT_BYTES:
            first = next(iter(self.refused.values()))
            raise InvalidRequest(
                f"the engine refuses {len(self.refused)} records or more, too many to leave out: "
                f"{first}"
            )


def _named_first(refused: dict[str, Misfit]) -> tuple[Misfit, ...]:
    """The first of those that were left out, those with a reason of their own before others."""
    return tuple(sorted(refused.values(), key=lambda m: (not m.column, m.record))[:NAMED])


def write_left_out(history: History, left: Left) -> LeftOut | None:
    """Keep the list of what was left out; None where nothing was."""
    if not left.total:
        return None
    rows = [
        [key, content.hex(), vectors.hex()]
        for key, content, vectors in zip(*(c.to_pylist() for c in left.table.columns), strict=True)
    ]
    value = {"kind": "left-out", "records": rows}
    key = f"{history.collection}/evidence/left-out/{history.repository.new_name('-')}.json"
    ref = history.repository.put(key, canonical_json(value))
    return LeftOut(records=ref, total=len(rows), named=left.named)


def read_left_out(repository: Repository, manifest: Manifest) -> Left:
    """Records that a manifest's collection lacks; raises `Damaged`."""
    if manifest.left_out is None:
        return NOTHING_LEFT
    ref = manifest.left_out.records
    value = repository.fetch_json(ref)
    try:
        rows = [(k, bytes.fromhex(c), bytes.fromhex(v)) for k, c, v in value["records"]]
        table = pa.table([list(column) for column in zip(*rows, strict=True)], schema=_SCHEMA)
    except (KeyError, TypeError, ValueError, pa.ArrowException) as error:
        raise Damaged(f"{ref.key}: does not list records") from error
    return Left(table, manifest.left_out.named)


def still_left_out(
    observation: Observation, manifest: Manifest, *, history: History
) -> LeftOut | None:
    """Records still left out: without those that somebody put back, or that the log has changed."""
    if manifest.left_out is None:
        return None
    absent = observation.left_out()
    if absent.num_rows == manifest.left_out.total:
        return manifest.left_out
    there = set(absent["id"].to_pylist())
    named = tuple(m for m in manifest.left_out.named if m.record in there)
    return write_left_out(history, Left(absent.cast(_SCHEMA), named))


def all_but(rows: pa.Table, ids: pa.Array) -> pa.Table:
    """Rows but for some ids."""
    return rows.filter(pc.invert(pc.is_in(rows["id"], value_set=ids))) if len(ids) else rows


def only(rows: pa.Table, ids: pa.Array) -> pa.Table:
    """Rows with these ids."""
    return rows.filter(pc.is_in(rows["id"], value_set=ids))
