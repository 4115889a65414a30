"""A table as a collection: its label, overlaid with what Lance reports of it now."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dr_pipelines.model.collection import (
    CollectionSpec,
    Metric,
    Vector,
    VectorIndex,
)
from dr_pipelines.planning.parts import UNREPORTED
from dr_pipelines.stores.lancedb import vectors
from dr_pipelines.stores.lancedb.foreign import ForeignRecords, mapped
from dr_pipelines.stores.lancedb.index import (
    TEXT,
    LiveIndex,
    live_indexes,
    text_columns,
)
from dr_pipelines.stores.lancedb.records import (
    LABEL,
    Entry,
    ManagedRecords,
    Records,
)
from dr_pipelines.stores.shared.label import Label, decoded
from dr_pipelines.stores.shared.layout import Layout, Role, column_roles_of, laid_out, layout_of

ENGINE = "lancedb"
STOP_WORDS = "custom_stop_words"

Section = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Collection:
    """A table, opened at one version. `label` is None for one that something else made."""

    name: str
    dataset: Any
    label: Label | None
    layout: Records

    @property
    def built(self) -> bool:
        return self.label is None or self.label.indexed


def opened(name: str, dataset: Any) -> Collection | None:
    """The collection that a dataset is; None for a table that has no vector.

    Raises:
        Damaged: its label cannot be read.
    """
    schema = dataset.schema
    text = (schema.metadata or {}).get(LABEL.encode())
    if text is None:
        return _foreign(name, dataset)
    label = decoded(text, of=f"{name!r} (metadata {LABEL!r})")
    return Collection(name, dataset, label, records_of(label.spec))


def records_of(spec: CollectionSpec) -> Records:
    """How records of a collection of ours lie in its table."""
    section = section_of(spec)
    if layout_of(section) is Layout.FOREIGN:
        return ForeignRecords(spec, section)
    return ManagedRecords(spec)


def described(collection: Collection) -> CollectionSpec:
    """The specification as it is now."""
    spec, dataset = collection.layout.spec, collection.dataset
    live, silent = live_indexes(dataset), list[str]()
    taken, described_vectors = set[str](), list[Vector]()
    for vector in spec.vectors:
        index = _first_on(live, collection.layout.column(vector.name))
        taken |= {index.name} if index else set()
        described_vectors.append(_vector(vector, index, collection, silent))
    has_text = any(i.type == TEXT and i.column == collection.layout.text for i in live)
    keywords = has_text if collection.built else spec.keyword_index
    section = dict(spec.engine.get(ENGINE, laid_out(Layout.MANAGED)))
    section |= _configuration(dataset)
    if collection.built:
        section["indexes"] = [_entry(i, i.name in taken, section, silent) for i in live]
    elif "indexes" in section:
        silent.append(f"engine.{ENGINE}.indexes")
    _keep_tags(section, dataset, silent)
    silent += [part for part in ("shards", "replicas") if getattr(spec, part) is not None]
    section.pop(UNREPORTED, None)
    section |= {UNREPORTED: sorted(set(silent))} if silent else {}
    return spec.model_copy(
        update={
            "name": collection.name,
            "vectors": tuple(described_vectors),
            "keyword_index": keywords,
            "engine": {**spec.engine, ENGINE: section},
        }
    )


def wanted_indexes(collection: Collection) -> list[LiveIndex]:
    """All that `build_index` makes sure of: what the specification says, and where it says nothing
    of scalar and full-text indexes, those that filters and keywords need. Of a table that users
    made: what is there."""
    if collection.label is None:
        return live_indexes(collection.dataset)
    layout, spec = collection.layout, collection.layout.spec
    section = spec.engine.get(ENGINE, {})
    entries: Sequence[Mapping[str, Any]] = section.get("indexes", layout.indexes())
    indexes = list[LiveIndex]()
    for vector in spec.vectors:
        if vector.index is not None:
            named = _named(entries, layout.column(vector.name), vector.index.kind)
            indexes.append(_of_vector(vector, layout.column(vector.name), named))
    names = {index.name for index in indexes}
    return indexes + [_of_entry(entry) for entry in entries if entry["name"] not in names]


def section_of(spec: CollectionSpec) -> Section:
    """The section of a specification for this engine alone."""
    return spec.engine.get(ENGINE, {})


def is_collection(dataset: Any) -> bool:
    """True if a table has a label, readable or not, or a vector."""
    schema = dataset.schema
    return LABEL.encode() in (schema.metadata or {}) or bool(mapped(schema, ())[2])


def _foreign(name: str, dataset: Any) -> Collection | None:
    section, fields, vectors = mapped(dataset.schema, text_columns(dataset))
    if not vectors:
        return None
    spec = CollectionSpec(
        name=name,
        vectors=tuple(vectors),
        fields=tuple(fields),
        keyword_index=column_roles_of(section).get(Role.TEXT) in text_columns(dataset),
        engine={ENGINE: section},
    )
    return Collection(name, dataset, None, ForeignRecords(spec, section))


def _first_on(live: Sequence[LiveIndex], column: str) -> LiveIndex | None:
    return next((index for index in live if index.column == column and index.is_vector), None)


def _vector(
    vector: Vector, live: LiveIndex | None, collection: Collection, silent: list[str]
) -> Vector:
    part = f"vectors.{vector.name}"
    if collection.label is not None and vector.dtype not in vectors.KEPT:
        silent.append(f"{part}.dtype")
    if live is None:
        silent.append(f"{part}.metric")
        if vector.index is not None and not collection.built:
            silent.append(f"{part}.index")
            return vector
        return vector.model_copy(update={"index": None})
    index = live.vector_index()
    lists = vector.index.parameters.get("lists") if vector.index is not None else None
    if not live.trained and lists is not None:
        parameters = {**index.parameters, "lists": lists}
        index = VectorIndex(kind=index.kind, parameters=parameters)
        silent.append(f"{part}.index.lists")
    return vector.model_copy(update={"index": index, "metric": live.metric})


def _configuration(dataset: Any) -> Section:
    schema = {_text(k): _text(v) for k, v in (dataset.schema.metadata or {}).items()}
    schema.pop(LABEL, None)
    configuration = {
        "storage": {
            "version": dataset.data_storage_version,
            "stable_row_ids": dataset.has_stable_row_ids,
        },
        "properties": schema,
        "configuration": dict(dataset.config()),
        "comments": dict(dataset.metadata),
    }
    return {key: value for key, value in configuration.items() if value or key == "configuration"}


def _entry(live: LiveIndex, is_known: bool, section: Section, silent: list[str]) -> Entry:
    """`is_known`: its parameters are said with its vector."""
    entry = replace(live, parameters={}).entry() if is_known else live.entry()
    if live.is_vector and not is_known and live.metric is not None:
        entry["metric"] = str(live.metric)
    entries = [e for e in section.get("indexes", []) if e["name"] == live.name]
    words = entries[0].get("parameters", {}).get(STOP_WORDS) if entries else None
    if not live.trained and words and live.type == TEXT:  # only an index with texts reports them
        entry["parameters"] = {**live.parameters, STOP_WORDS: words}
        silent.append(f"engine.{ENGINE}.indexes")
    return entry


def _keep_tags(section: Section, dataset: Any, silent: list[str]) -> None:
    """Tags name versions of the history that a table has; a restored one has a history of its own,
    and is told what the tags of the other meant."""
    live = {
        name: {"version": tag["version"], "branch": tag["branch"]}
        for name, tag in dataset.tags.list().items()
    }
    tags = section.get("tags", {})
    if live or tags:
        section["tags"] = {**tags, **live}
    if set(tags) - set(live):
        silent.append(f"engine.{ENGINE}.tags")


def _named(entries: Sequence[Mapping[str, Any]], column: str, kind: str) -> str:
    named = (e["name"] for e in entries if e["columns"] == [column] and e["type"] == kind.upper())
    return str(next(named, f"{column}_idx"))


def _of_vector(vector: Vector, column: str, name: str) -> LiveIndex:
    assert vector.index is not None  # noqa: S101 - for the type checker; the caller looked
    kind, parameters = vector.index.kind.upper(), vector.index.parameters
    return LiveIndex(name, kind, column, True, vector.metric, parameters)


def _of_entry(entry: Mapping[str, Any]) -> LiveIndex:
    (column,) = entry["columns"]
    parameters = entry.get("parameters", {})
    metric = Metric(entry["metric"]) if "metric" in entry else None
    return LiveIndex(entry["name"], entry["type"], column, True, metric, parameters)


def _text(value: bytes) -> str:
    return value.decode(errors="surrogateescape")
