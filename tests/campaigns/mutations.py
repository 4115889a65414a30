"""Damages of a restored collection, as functions of its records: the rows of the mutation table.

Each takes the records of `tests.proof.probes.points` and a random generator. `retrieval` damages
touch a fiftieth of the records at least, or a whole tenant or value: probes must find them without
comparing records. The others are for digests, which compare every one.
"""

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tests.proof.probes.points import (
    PRINCIPALS,
    TENANTS,
    matrix,
    of_tenant,
    replaced,
    with_vectors,
)

Random = np.random.Generator
Vectors = np.ndarray
SHARE = 0.05
"""Of the records, in damages of some of them."""


@dataclass(frozen=True)
class Mutation:
    """A damage by its name."""

    name: str
    apply: Callable[[pa.Table, Random], pa.Table]
    retrieval: bool = True


def some(rows: pa.Table, random: Random, share: float = SHARE) -> np.ndarray:
    """Places of some records, ascending."""
    count = max(1, round(share * len(rows)))
    return np.sort(random.choice(len(rows), count, replace=False))


# vectors


def vectors(change: Callable[[Vectors, Random], Vectors]) -> Callable[..., pa.Table]:
    """All vectors, changed."""
    return lambda rows, random: with_vectors(rows, change(matrix(rows), random))


def some_vectors(change: Callable[[Vectors, Random], Vectors]) -> Callable[..., pa.Table]:
    """The vectors of some records, changed."""

    def apply(rows: pa.Table, random: Random) -> pa.Table:
        values, places = matrix(rows), some(rows, random)
        values[places] = change(values[places], random)
        return with_vectors(rows, values)

    return apply


def one_component(rows: pa.Table, random: Random) -> pa.Table:
    values = matrix(rows)
    values[int(random.integers(len(rows))), 3] += 0.5
    return with_vectors(rows, values)


def two_swapped(rows: pa.Table, random: Random) -> pa.Table:
    values = matrix(rows)
    values[[0, 1]] = values[[1, 0]]
    return with_vectors(rows, values)


def permuted_in_a_tenant(rows: pa.Table, random: Random) -> pa.Table:
    values, places = matrix(rows), of_tenant(rows, TENANTS[1])
    values[places] = values[random.permutation(places)]
    return with_vectors(rows, values)


def tenant_at_one_place(rows: pa.Table, random: Random) -> pa.Table:
    values, places = matrix(rows), of_tenant(rows, TENANTS[2])
    values[places] = values[places[0]]
    return with_vectors(rows, values)


def rotated(values: Vectors, random: Random) -> Vectors:
    """Another model of the same size: what was near stays near, to other queries."""
    turn, _ = np.linalg.qr(random.normal(size=(values.shape[1], values.shape[1])))
    return values @ turn


def half_by_another_model(values: Vectors, random: Random) -> Vectors:
    half = len(values) // 2
    values[half:] = rotated(values[half:], random)
    return values


def truncated(values: Vectors, random: Random) -> Vectors:
    values[:, values.shape[1] // 2 :] = 0
    return values


def dimension_scaled(values: Vectors, random: Random) -> Vectors:
    values[:, 2] *= 8
    return values


def dimension_lost(values: Vectors, random: Random) -> Vectors:
    values[:, 0] = 0
    return values


def lengths_lost(values: Vectors, random: Random) -> Vectors:
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def lengths_changed(values: Vectors, random: Random) -> Vectors:
    return values * random.uniform(0.5, 2.0, size=(len(values), 1))


def quantised(values: Vectors, random: Random) -> Vectors:
    step = np.abs(values).max() / 7
    return np.round(values / step) * step


def bytes_swapped(values: Vectors, random: Random) -> Vectors:
    swapped = values.astype("<f4").view(">f4").astype(np.float32)
    return np.nan_to_num(np.clip(swapped, -1e3, 1e3))


def chunk_by_first(rows: pa.Table, random: Random) -> pa.Table:
    values = matrix(rows)
    first = np.asarray(rows["chunk_index"]) == 0
    values[~first] = values[np.flatnonzero(~first) - 1]
    return with_vectors(rows, values)


def null_vectors(rows: pa.Table, random: Random) -> pa.Table:
    values: list[Any] = matrix(rows).tolist()
    for place in some(rows, random).tolist():
        values[place] = None
    return replaced(rows, "embedding", values)


# records


def without(mask: Callable[[pa.Table, Random], np.ndarray]) -> Callable[..., pa.Table]:
    """Without the records of some places."""

    def apply(rows: pa.Table, random: Random) -> pa.Table:
        keep = np.ones(len(rows), bool)
        keep[mask(rows, random)] = False
        return rows.filter(pa.array(keep))

    return apply


def with_value(name: str, value: Any) -> Callable[[pa.Table, Random], np.ndarray]:
    """Places of the records that have a value."""

    def places(rows: pa.Table, random: Random) -> np.ndarray:
        mask = pc.equal(rows[name], value).combine_chunks().fill_null(False)
        return np.flatnonzero(mask.to_numpy(zero_copy_only=False))

    return places


def last_tenth(rows: pa.Table, random: Random) -> np.ndarray:
    return np.arange(len(rows) * 9 // 10, len(rows))


def second_chunks(rows: pa.Table, random: Random) -> np.ndarray:
    seconds = np.flatnonzero(np.asarray(rows["chunk_index"]) == 1)
    return seconds[random.permutation(len(seconds))[: max(1, len(rows) // 20)]]


def one(rows: pa.Table, random: Random) -> np.ndarray:
    return np.array([int(random.integers(len(rows)))])


def again(places: Callable[[pa.Table, Random], np.ndarray], mark: str) -> Callable[..., pa.Table]:
    """Some records twice, the copy under another name."""

    def apply(rows: pa.Table, random: Random) -> pa.Table:
        copies = rows.take(pa.array(places(rows, random)))
        for name in ("document_id", "id"):
            copies = replaced(copies, name, [f"{mark}{v}" for v in copies[name].to_pylist()])
        return pa.concat_tables([rows, copies])

    return apply


def everywhere(rows: pa.Table, random: Random) -> np.ndarray:
    return np.arange(len(rows))


def renamed(rows: pa.Table, random: Random) -> pa.Table:
    chosen = set(some(rows, random).tolist())
    ids = [f"v2-{v}" if n in chosen else v for n, v in enumerate(rows["id"].to_pylist())]
    return replaced(rows, "id", ids)


def two_documents_joined(rows: pa.Table, random: Random) -> pa.Table:
    names = rows["document_id"].to_pylist()
    return replaced(rows, "document_id", [names[0] if n < 4 else v for n, v in enumerate(names)])


# fields and texts


def every(name: str, change: Callable[[Any], Any]) -> Callable[..., pa.Table]:
    """A column, changed value by value."""
    return lambda rows, random: replaced(rows, name, [change(v) for v in rows[name].to_pylist()])


def unless_null(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The change, but null stays null."""
    return lambda value: None if value is None else change(value)


def in_some(name: str, change: Callable[[Any], Any]) -> Callable[..., pa.Table]:
    """A column, changed in some records."""

    def apply(rows: pa.Table, random: Random) -> pa.Table:
        chosen = set(some(rows, random).tolist())
        values = rows[name].to_pylist()
        return replaced(rows, name, [change(v) if n in chosen else v for n, v in enumerate(values)])

    return apply


def in_one(name: str, change: Callable[[Any], Any]) -> Callable[..., pa.Table]:
    """A column, changed in one record."""

    def apply(rows: pa.Table, random: Random) -> pa.Table:
        values = rows[name].to_pylist()
        place = next(n for n, value in enumerate(values) if value is not None)
        values[place] = change(values[place])
        return replaced(rows, name, values)

    return apply


def shifted(name: str) -> Callable[..., pa.Table]:
    """A column of the record before."""

    def apply(rows: pa.Table, random: Random) -> pa.Table:
        values = rows[name].to_pylist()
        return replaced(rows, name, [values[-1], *values[:-1]])

    return apply


def of_a_tenant(name: str, change: Callable[[Any], Any]) -> Callable[..., pa.Table]:
    """A column, changed in the records of one tenant."""

    def apply(rows: pa.Table, random: Random) -> pa.Table:
        chosen = set(of_tenant(rows, TENANTS[1]).tolist())
        values = rows[name].to_pylist()
        return replaced(rows, name, [change(v) if n in chosen else v for n, v in enumerate(values)])

    return apply


def day_of(value: Any) -> Any:
    return value.replace(hour=0, minute=0) + timedelta(days=value.day % 2)


def decomposed(text: str) -> str:
    return unicodedata.normalize("NFD", text.replace("river", "rivér"))


OTHER = {TENANTS[0]: TENANTS[1], TENANTS[1]: TENANTS[0]}

MUTATIONS = (
    Mutation("vectors: one component of one", one_component, retrieval=False),
    Mutation("vectors: two swapped", two_swapped, retrieval=False),
    Mutation("vectors: permuted in a tenant", permuted_in_a_tenant),
    Mutation("vectors: a tenant at one place", tenant_at_one_place),
    Mutation("vectors: shifted by a record", vectors(lambda v, r: np.roll(v, 1, axis=0))),
    Mutation("vectors: of another model", vectors(rotated)),
    Mutation("vectors: half of another model", vectors(half_by_another_model)),
    Mutation("vectors: some of another model", some_vectors(rotated)),
    Mutation("vectors: truncated", vectors(truncated)),
    Mutation("vectors: a dimension scaled", vectors(dimension_scaled)),
    Mutation("vectors: a dimension lost", vectors(dimension_lost)),
    Mutation("vectors: dimensions reversed", vectors(lambda v, r: v[:, ::-1])),
    Mutation("vectors: lengths lost", vectors(lengths_lost)),
    Mutation("vectors: lengths changed", vectors(lengths_changed)),
    Mutation("vectors: quantised to four bits", vectors(quantised)),
    Mutation("vectors: bytes swapped", vectors(bytes_swapped)),
    Mutation("vectors: turned round", vectors(lambda v, r: -v)),
    Mutation("vectors: some turned round", some_vectors(lambda v, r: -v)),
    Mutation("vectors: some are zero", some_vectors(lambda v, r: v * 0)),
    Mutation("vectors: some are null", null_vectors),
    Mutation("vectors: some are the mean", some_vectors(lambda v, r: v * 0 + v.mean(axis=0))),
    Mutation("vectors: some with noise", some_vectors(lambda v, r: v + r.normal(0, 1, v.shape))),
    Mutation("vectors: noise everywhere", vectors(lambda v, r: v + r.normal(0, 0.5, v.shape))),
    Mutation("vectors: of the first chunk", chunk_by_first),
    Mutation("records: one missing", without(one), retrieval=False),
    Mutation("records: some missing", without(some)),
    Mutation("records: a tenant missing", without(with_value("tenant", TENANTS[1]))),
    Mutation("records: a value missing", without(with_value("team", "edge"))),
    Mutation("records: the last tenth missing", without(last_tenth)),
    Mutation("records: second chunks missing", without(second_chunks)),
    Mutation("records: one twice", again(one, "copy-"), retrieval=False),
    Mutation("records: some twice", again(some, "copy-")),
    Mutation("records: a partition twice", again(last_tenth, "p2-")),
    Mutation("records: all twice", again(everywhere, "again-")),
    Mutation("records: some under other ids", renamed),
    Mutation("records: of two documents joined", two_documents_joined, retrieval=False),
    Mutation("tenant: null in some", in_some("tenant", lambda v: None)),
    Mutation("tenant: one is null", of_a_tenant("tenant", lambda v: None)),
    Mutation("tenant: two swapped", every("tenant", lambda v: OTHER.get(v, v))),
    Mutation("tenant: all in one", every("tenant", lambda v: TENANTS[0])),
    Mutation("tenant: some in another", in_some("tenant", lambda v: TENANTS[2])),
    Mutation("tenant: in capitals", every("tenant", str.upper)),
    Mutation("tenant: of one record", in_one("tenant", lambda v: TENANTS[2]), retrieval=False),
    Mutation("principals: everybody", every("principals", lambda v: list(PRINCIPALS))),
    Mutation("principals: one more", every("principals", lambda v: [*v, "root"])),
    Mutation("principals: lost", every("principals", lambda v: [])),
    Mutation("principals: null in some", in_some("principals", lambda v: None)),
    Mutation("principals: only the first", every("principals", lambda v: v[:1])),
    Mutation("principals: one revoked is back", every("principals", lambda v: [*v, "eve"])),
    Mutation("principals: of a tenant", of_a_tenant("principals", lambda v: ["ada", "bob", "eve"])),
    Mutation("principals: shifted by a record", shifted("principals")),
    Mutation("field: a value renamed", every("team", lambda v: "cloud-2" if v == "cloud" else v)),
    Mutation("field: two values joined", every("team", lambda v: "data" if v == "edge" else v)),
    Mutation("field: null is a value", every("team", lambda v: v or "")),
    Mutation("field: a value is null", every("team", lambda v: None if v == "edge" else v)),
    Mutation("field: with a space behind", every("team", unless_null(lambda v: f"{v} "))),
    Mutation("field: in capitals", every("team", unless_null(str.upper))),
    Mutation("field: some have another", in_some("team", lambda v: "infra")),
    Mutation("field: one has another", in_one("team", lambda v: "infra2"), retrieval=False),
    Mutation("field: a number is one more", every("year", unless_null(lambda v: v + 1))),
    Mutation("field: a number is zero for null", every("year", lambda v: v or 0)),
    Mutation("field: numbers have another sign", every("weight", unless_null(lambda v: -v - 1))),
    Mutation(
        "field: numbers are rounded", every("weight", unless_null(lambda v: float(round(v) + 1000)))
    ),
    Mutation("field: a number of one", in_one("weight", lambda v: v + 0.25), retrieval=False),
    Mutation("field: true for false", every("open", unless_null(lambda v: not v))),
    Mutation("field: null is false", every("open", bool)),
    Mutation(
        "field: times by another zone", every("seen", unless_null(lambda v: v + timedelta(hours=9)))
    ),
    Mutation("field: times by the day after", every("seen", unless_null(day_of))),
    Mutation("field: times are null", every("seen", lambda v: None)),
    Mutation("text: null in some", in_some("text", lambda v: None)),
    Mutation("text: all lost", every("text", lambda v: None)),
    Mutation("text: empty in some", in_some("text", lambda v: "")),
    Mutation("text: truncated", every("text", lambda v: v[:12])),
    Mutation("text: truncated in some", in_some("text", lambda v: v[:6])),
    Mutation("text: shifted by a record", shifted("text")),
    Mutation("text: of other bytes", every("text", lambda v: v.replace("r", "Ã¶"))),
    Mutation("text: another form of Unicode", every("text", decomposed)),
    Mutation("text: without spaces", every("text", lambda v: v.replace(" ", ""))),
    Mutation("text: lost in a tenant", of_a_tenant("text", lambda v: None)),
    Mutation("text: a line end of one", in_one("text", lambda v: f"{v}\n"), retrieval=False),
)
