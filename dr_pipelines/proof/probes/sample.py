"""The records that probes look at one by one: drawn once, read once on either side."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.live.observe import within
from dr_pipelines.model.collection import CollectionSpec, Vector
from dr_pipelines.model.record import store_schema
from dr_pipelines.proof.probes.subject import Expected, Target
from dr_pipelines.repository.digest import content_digests
from dr_pipelines.repository.drawn import draw_records
from dr_pipelines.repository.field_values import FieldValues
from dr_pipelines.repository.rows import strings

Mask = npt.NDArray[np.bool_]
Matrix = npt.NDArray[np.float32]

DRAWN = 500
"""Records drawn from all: damage to 1 % of them is missed with a probability of 0.7 %."""
OF_EACH_TENANT, TENANTS = 10, 50
"""Besides so many of each tenant, of so many tenants: damage to one tenant alone is looked for
where the tenant is small."""

OF_EACH_VALUE, VALUES = 2, 10
"""And of each of the most frequent values of a field: damage may follow a value."""


@dataclass(frozen=True)
class Sample:
    """Records of the point, whole, in the order in which they were drawn. `drawn` of them were
    drawn from all `total`, others for their tenants and values."""

    rows: pa.Table
    drawn: int
    total: int

    def __len__(self) -> int:
        return int(self.rows.num_rows)

    @cached_property
    def ids(self) -> list[str]:
        ids: list[str] = self.rows["id"].to_pylist()
        return ids

    def vectors(self, vector: Vector) -> tuple[Matrix, npt.NDArray[np.int64]]:
        """The vectors that can ask, each a row, and the places of their records: those that are
        neither null nor zero, and finite."""
        return askable(self.rows[vector.name], vector)


@dataclass(frozen=True)
class Stored:
    """The sampled records as the collection has them: which are `there`, which of those have
    vectors that are `near` the point's, to the tolerance of the store, and which the `same` text
    and fields, but for fields that the collection does not have, a sentence on which is in
    `not_compared`."""

    there: Mask
    near: Mask
    same: Mask
    not_compared: tuple[str, ...] = ()


def read_sample(expected: Expected, values: FieldValues | None, *, seed: int) -> Sample:
    """Draw records, and read them from the repository; without `values`, none for values."""
    chosen = draw_records(
        expected.state,
        most=DRAWN,
        each=OF_EACH_TENANT,
        tenants=TENANTS,
        seed=seed,
        without=expected.left_out,
        besides=pa.array([], pa.string()) if values is None else _of_values(values, seed=seed),
    )
    columns = store_schema(expected.spec).names
    rows = expected.of(strings(chosen["id"]), strings(chosen["document_id"]), columns)
    drawn = int(pc.sum(chosen["drawn"].cast(pa.int64())).as_py() or 0)
    return Sample(rows, drawn, expected.records)


def askable(column: pa.ChunkedArray, vector: Vector) -> tuple[Matrix, npt.NDArray[np.int64]]:
    """The vectors of a column that can ask, and the places of their rows."""
    array = column.combine_chunks()
    places = np.flatnonzero(array.is_valid().to_numpy(zero_copy_only=False))
    values = array.flatten().to_numpy(zero_copy_only=False).reshape(len(places), vector.dimension)
    usable = np.isfinite(values).all(axis=1) & (values != 0).any(axis=1)
    return values[usable], places[usable]


def _of_values(values: FieldValues, *, seed: int) -> pa.Array:
    """Records of frequent values of every field."""
    ids = [pa.array([], pa.string())]
    for field in values.fields:
        frequent = values.counts(field, most=VALUES, some=0, seed=seed).values
        chosen = [value for value, _ in frequent]
        ids.append(values.examples(field, chosen, each=OF_EACH_VALUE, seed=seed))
    return pa.concat_arrays(ids)


def read_stored(sample: Sample, target: Target) -> Stored:
    """Read the sampled records from the collection, and compare them."""
    ids = strings(sample.rows["id"])
    documents = pc.unique(strings(sample.rows["document_id"])).to_pylist()
    names = [name for name in store_schema(target.spec).names if name in sample.rows.column_names]
    lost = [name for name in sample.rows.column_names if name not in names]
    not_compared = (f"not in the collection, and not compared: {', '.join(lost)}",) if lost else ()
    scan = target.store.scan(target.name, columns=names, documents=documents)
    batches = [batch.filter(pc.is_in(batch["id"], value_set=ids)) for batch in scan]
    there, near, same = (np.zeros(len(sample), bool) for _ in range(3))
    if not batches:
        return Stored(there, near, same, not_compared)
    stored = pa.Table.from_batches(batches).combine_chunks()
    places = pc.index_in(ids, value_set=strings(stored["id"]))
    there = places.is_valid().to_numpy(zero_copy_only=False)
    ours = stored.take(places.drop_null())
    theirs = sample.rows.filter(pa.array(there)).combine_chunks()
    near[there] = within(ours, theirs, target.spec, tolerance=target.store.vector_tolerance)
    same[there] = _same_contents(ours, theirs, target.spec)
    return Stored(there, near, same, not_compared)


def _same_contents(ours: pa.Table, theirs: pa.Table, spec: CollectionSpec) -> Mask:
    """Row by row, whether everything but the vectors is equal."""
    equal = pc.equal(content_digests(ours, spec), content_digests(theirs, spec))
    mask: Mask = equal.to_numpy(zero_copy_only=False)
    return mask
