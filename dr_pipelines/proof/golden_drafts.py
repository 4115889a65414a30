"""Queries that a collection may be asked, by what a sample of its records holds."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.model.collection import CollectionSpec, Field, FieldType
from dr_pipelines.model.filter_syntax import format_filter
from dr_pipelines.model.golden import scope
from dr_pipelines.model.query import (
    Contains,
    Equals,
    Filter,
    FloatArray,
    Mode,
    Query,
    Range,
    Scalar,
)
from dr_pipelines.proof.golden_sample import dense_vector, matrix_of, medoids
from dr_pipelines.stores.shared.exact import fields_of, matches
from dr_pipelines.stores.shared.keywords import postings

MOST_VALUES = 5
"""Of a filterable field: the most frequent."""
MOST_SCOPES = 50
"""Tenants, and principals: the most frequent."""
MOST_SHARED = 200
"""A term that more of the sampled records have says little."""
SHORTEST_WORD = 3
ORDERED = (FieldType.NUMBER, FieldType.TIMESTAMP)
"""Fields that are asked by a bound, the middle of what was seen."""


@dataclass(frozen=True, slots=True)
class Covered:
    """How many of the different values that a sample has are asked for, by queries whose ids begin
    with `prefix`."""

    name: str
    prefix: str
    queries: int
    seen: int


@dataclass(frozen=True, slots=True)
class Draft:
    """A query of which nothing is expected yet: the record `like`, whose `vector` asks, or the
    words of `text`."""

    id: str
    like: str | None = None
    vector: "FloatArray | None" = None
    text: str | None = None
    filter: str | None = None
    tenant: str | None = None
    principal: str | None = None

    @property
    def mode(self) -> Mode:
        return Mode.VECTOR if self.text is None else Mode.KEYWORD

    def scope(self, spec: CollectionSpec) -> Filter | None:
        """The records that it asks of."""
        return scope(spec, filter=self.filter, tenant=self.tenant, principal=self.principal)

    def query(self, condition: Filter | None) -> Query:
        """As it is asked, of other records too."""
        return Query(self.mode, self.text, self.vector, filter=condition)


def sampled_columns(spec: CollectionSpec) -> list[str]:
    """The columns that drafts are made by."""
    vector = dense_vector(spec)
    fields = [field.name for field in spec.fields if field.filterable or field.role]
    return ["id", "document_id", "text", *([vector.name] if vector else []), *fields]


class Drafts:
    """Drafts by a sample in `sampled_columns`; `covered` says how much of it the ones made so far
    ask for."""

    def __init__(self, spec: CollectionSpec, sample: pa.Table) -> None:
        self.covered = list[Covered]()
        self._spec, self._sample = spec, sample
        vector = dense_vector(spec)
        self._rows = np.empty(0, np.int64)
        self._vectors = np.empty((0, 1), np.float32)
        if vector is not None:
            self._vectors, self._rows = matrix_of(sample[vector.name], vector)

    def by_cluster(self, clusters: int) -> Iterator[Draft]:
        """One by a record of each cluster, and one by a rare word of each of those records."""
        chosen = medoids(self._vectors, clusters)
        self.covered.append(
            Covered("clusters", "cluster", len(chosen), min(clusters, len(self._sample)))
        )
        for number, place in enumerate(chosen.tolist(), start=1):
            yield self._like(f"cluster-{number:03d}", place)
        if self._spec.keyword_index:
            spread = self._rows[chosen].tolist() or list(range(min(clusters, len(self._sample))))
            words = self._words(spread)
            self.covered.append(Covered("words", "word", len(words), len(spread)))
            for number, word in enumerate(words, start=1):
                yield Draft(f"word-{number:03d}", text=word)

    def by_scope(self) -> Iterator[Draft]:
        """Two for each tenant, each principal and each value of a filterable field: asked by a
        record that has it, and by one that has not, to which forbidden ones are nearest."""
        for field in self._spec.fields:
            if field.role is None and not field.filterable:
                continue
            name, (values, seen) = field.role or field.name, self._values(field)
            self.covered.append(Covered(name, name, len(values), seen))
            for number, (value, place) in enumerate(values, start=1):
                named, within = f"{name}-{number:03d}", _within(field, value)
                draft = self._like(named, place, **within)
                yield draft
                if (outside := self._outside(draft)) is not None:
                    yield self._like(f"{named}-outside", outside, **within)

    def _outside(self, draft: Draft) -> int | None:
        """The place of a vector whose record is not in the scope of a draft."""
        condition = draft.scope(self._spec)
        if condition is None:
            return None
        columns = list(dict.fromkeys(fields_of(condition)))
        rows = self._sample.select(columns).take(pa.array(self._rows))
        places = np.flatnonzero(~matches(condition, rows))
        return int(places[0]) if len(places) else None

    def _like(self, name: str, place: int, **within: str) -> Draft:
        record = self._sample["id"][int(self._rows[place])].as_py()
        return Draft(name, like=record, vector=self._vectors[place], **within)

    def _words(self, rows: list[int]) -> list[str]:
        """The rarest term of each of some records, each once."""
        every = postings(self._sample["text"].combine_chunks())
        counted = every.group_by("term").aggregate([("row", "count")])
        counted = counted.filter(pc.less_equal(counted["row_count"], MOST_SHARED))
        long_enough = pc.greater_equal(pc.utf8_length(counted["term"]), SHORTEST_WORD)
        counted = counted.filter(long_enough)
        mine = every.filter(pc.is_in(every["row"], value_set=pa.array(rows, pa.int64())))
        mine = mine.join(counted, "term", join_type="inner").sort_by(
            [("row", "ascending"), ("row_count", "ascending"), ("term", "ascending")]
        )
        rarest = dict[int, str]()
        for row, term in zip(mine["row"].to_pylist(), mine["term"].to_pylist(), strict=True):
            rarest.setdefault(row, term)
        return list(dict.fromkeys(rarest.values()))

    def _values(self, field: Field) -> tuple[list[tuple[Scalar, int]], int]:
        """Values of a field, each with the place of a vector whose record has it, and how many
        different ones there are. Of numbers and times it is the one in the middle."""
        column = self._sample[field.name].take(pa.array(self._rows)).combine_chunks()
        places = np.arange(len(self._rows))
        if field.type is FieldType.STRINGS:
            places = places[pc.list_parent_indices(column).to_numpy()]
            column = pc.list_flatten(column)
        table = pa.table({"value": column, "place": pa.array(places)})
        table = table.filter(pc.is_valid(table["value"]))
        counted = table.group_by("value").aggregate([("place", "count"), ("place", "min")])
        if field.type in ORDERED:
            chosen = counted.sort_by("value").slice(len(counted) // 2, 1)
        else:
            order = [("place_count", "descending"), ("value", "ascending")]
            most = MOST_SCOPES if field.role else MOST_VALUES
            chosen = counted.sort_by(order).slice(0, most)
        pairs = zip(chosen["value"].to_pylist(), chosen["place_min"].to_pylist(), strict=True)
        return list(pairs), len(counted)


def _within(field: Field, value: Scalar) -> dict[str, str]:
    """The scope of a value, as a golden query says it."""
    match field.role:
        case "tenant":
            return {"tenant": str(value)}
        case "principals":
            return {"principal": str(value)}
    if field.type in ORDERED:
        return {"filter": format_filter(Range(field.name, gte=value))}
    if field.type is FieldType.STRINGS:
        return {"filter": format_filter(Contains(field.name, str(value)))}
    return {"filter": format_filter(Equals(field.name, value))}
