"""A table as a collection: its specification, as the engine reports it."""

from collections.abc import Mapping as Pairs
from dataclasses import dataclass, replace
from typing import Any

from psycopg import sql

from dr_pipelines.model.collection import (
    CollectionSpec,
    Metric,
    Vector,
    VectorIndex,
)
from dr_pipelines.planning.parts import (
    NEEDS,
    OWN_NAME,
    REMARKS,
    UNREPORTED,
)
from dr_pipelines.stores.pgvector import contents
from dr_pipelines.stores.pgvector.attached import add_attached
from dr_pipelines.stores.pgvector.catalog import Attribute, Index, Table, rows_of
from dr_pipelines.stores.pgvector.columns import Mapping
from dr_pipelines.stores.pgvector.connections import Session
from dr_pipelines.stores.pgvector.details import details
from dr_pipelines.stores.pgvector.dimensions import dimensions, indexed
from dr_pipelines.stores.pgvector.foreign_keys import is_beside
from dr_pipelines.stores.pgvector.inheritance import require_whole
from dr_pipelines.stores.pgvector.inline import described_options
from dr_pipelines.stores.pgvector.making import (
    AS_IT_WAS,
    ENGINE,
    comes_after_rows,
    section_of,
)
from dr_pipelines.stores.pgvector.mapping import foreign_mapping, has_vectors, own_mapping
from dr_pipelines.stores.pgvector.names import collection_name, derived
from dr_pipelines.stores.pgvector.needs import needs
from dr_pipelines.stores.pgvector.partitions import partitions
from dr_pipelines.stores.pgvector.rights import described_roles, named_roles, rights
from dr_pipelines.stores.pgvector.statements import oid, qualified
from dr_pipelines.stores.pgvector.structure import by_name, index_part, structure
from dr_pipelines.stores.pgvector.vector_indexes import (
    CAST,
    METRICS,
    SEARCH,
    Found,
    found_index,
)

DOCUMENTS = "USING btree (document_id)"
KEYWORDS = "USING gin (to_tsvector('simple'::regconfig, \"left\"(text, 150000)))"
"""Of longer texts only the beginning is found by the engine's own keywords: a tsvector ends at
1 MiB, and a write that it refused would be lost. 150,000 characters never reach that."""


METRIC_CLASSES = qualified("""
    SELECT o.opcname FROM pg_index i
    JOIN pg_class c ON c.oid = i.indexrelid
    JOIN pg_am m ON m.oid = c.relam AND m.amname IN ('hnsw', 'ivfflat')
    JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
    JOIN pg_opclass o ON o.oid = i.indclass[0]
    WHERE a.attname = {name} AND (i.indrelid = {table}
        OR i.indrelid IN (SELECT relid FROM pg_catalog.pg_partition_tree({table})))
""")
FOREIGN_KEYS = "foreign_keys"
INVALID_INDEX = "invalid index"
PENDING = (
    "clustered",
    "foreign_keys",
    "index_comments",
    "index_names",
    "index_statistics",
    "indexes",
    "not_nulls",
    "quantization",
    "statistics",
)
"""Parts that are there when the index is built."""


@dataclass(frozen=True, slots=True)
class Collection:
    """A table, what its columns are, and which of its indexes are those of vectors."""

    table: Table
    mapping: Mapping
    ours: bool
    """True if its layout is that of this package."""
    vector_indexes: Pairs[str, Found]
    """Vector → its index."""
    compared: frozenset[str]
    """Vectors of which an index says the metric."""

    @property
    def spec(self) -> CollectionSpec:
        """The contract and the indexes, and what the label keeps; without the engine's section."""
        label = self.table.label
        labelled = label.spec if label else None
        return CollectionSpec(
            name=self.table.collection,
            vectors=tuple(self._indexed(vector) for vector in self.mapping.vectors),
            fields=self.mapping.fields,
            keyword_index=labelled.keyword_index if labelled else _has_text_index(self),
            shards=labelled.shards if labelled else None,
            replicas=labelled.replicas if labelled else None,
            engine={k: v for k, v in labelled.engine.items() if k != ENGINE} if labelled else {},
            origin=labelled.origin if labelled else None,
        )

    @property
    def built(self) -> bool:
        """True if everything that the label declares is there. Tables that others made are as
        they want them."""
        label = self.table.label
        return label is None or (label.indexed and not self._lost(label.spec))

    def _indexed(self, vector: Vector) -> Vector:
        declared = self._declared(vector.name)
        built = self.vector_indexes.get(vector.name)
        label = self.table.label
        if built is None:
            pending = label is not None and not label.indexed
            return vector.model_copy(update={"index": declared if pending else None})
        parameters: dict[str, Any] = dict(built.parameters)
        if declared is not None:
            session_ones = SEARCH.get(built.kind, {})
            parameters |= {k: v for k, v in declared.parameters.items() if k in session_ones}
        index = VectorIndex(kind=built.kind, parameters=parameters)
        return vector.model_copy(update={"index": index})

    def _declared(self, name: str) -> VectorIndex | None:
        label = self.table.label
        declared = label.spec.vectors if label else ()
        return next((v.index for v in declared if v.name == name), None)

    def _lost(self, spec: CollectionSpec) -> bool:
        declared = [v.name for v in spec.vectors if v.index is not None]
        keywords = self.ours and spec.keyword_index and self.index(KEYWORDS) is None
        return keywords or any(name not in self.vector_indexes for name in declared)

    def index(self, using: str) -> Index | None:
        """An index with this definition."""
        return next((i for i in self.table.indexes if i.using == using and i.valid), None)

    def identifier(self, session: Session) -> sql.Identifier:
        """The table as SQL."""
        return session.bound.get(self.table.id) or session.table(self.table.name)

    def rows(self, session: Session) -> sql.Composed:
        """The relation that has the rows: without those of tables that inherit, which are not
        partitions."""
        return rows_of(session, self.table)

    def records(self, session: Session) -> sql.Composed:
        """The same, and with what the ids of a table without a key are made of."""
        rows = self.rows(session)
        return rows if self.table.key else contents.numbered(self.table, rows)


def collection_of(session: Session, table: Table, *, whole: bool = True) -> Collection | None:
    """A table as a collection; None if it has no vector. Without `whole` only that is examined:
    rows are not searched for vectors of other dimensions."""
    mapping, ours = _mapping(session, table, whole=whole)
    if not mapping.vectors:
        return None
    chosen, compared = dict[str, Found](), set[str]()
    vectors = list[Vector]()
    for vector in mapping.vectors:
        column = mapping.column(vector.name)
        attribute = next(a for a in table.attributes if column and a.name == column.native)
        candidates = [f for i in table.indexes if (f := found_index(i, attribute)) is not None]
        metrics = {f.metric for f in candidates} or _metrics(
            session, table, attribute, vector.dimension
        )
        metric = _label_metric(table, vector.name) or min(metrics, default=Metric.COSINE)
        if metric in metrics:
            compared.add(vector.name)
        vectors.append(vector.model_copy(update={"metric": metric}))
        fitting = [f for f in candidates if f.metric is metric]
        if fitting:
            chosen[vector.name] = fitting[0]
    seen = Mapping(mapping.fields, tuple(vectors), mapping.columns)
    return Collection(table, seen, ours, chosen, frozenset(compared))


def described(
    session: Session, collection: Collection, *, aliases: tuple[str, ...]
) -> CollectionSpec:
    """The whole specification, with the engine's section."""
    table, spec = collection.table, collection.spec
    require_whole(session, table)
    with session.definitions():
        section = structure(session, table, whole=not collection.ours)
        section |= details(session, table.id, table.quoted, root=table.name, table=table.name)
        section |= rights(session, table.id, table.quoted)
        if "partitions" in section:
            section["partitions"]["tables"] = partitions(session, table)
    if collection.ours:
        section["storage"] = _storage(session, collection, section.get("storage", {}))
    add_attached(session, table, section)
    section[NEEDS] = needs(session, table.id)
    section["roles"] = described_roles(session, named_roles(section))
    carried = {c.native: c.name for c in collection.mapping.columns if not c.shared}
    for column in section.get("columns", []):
        if carried.get(column["name"], column["name"]) != column["name"]:
            column["as"] = carried[column["name"]]
        shared = [c for c in collection.mapping.columns if c.shared and c.native == column["name"]]
        if shared:
            column["dimensions"] = [c.name for c in shared]
    section["key"] = [] if collection.ours else [table.attribute(n).name for n in table.key]
    others = _others(collection)
    section["indexes"] = by_name([index_part(i, table) for i in others if not i.unique])
    # another engine that lacks these lets in what they keep out
    unique = [index_part(i, table) for i in others if i.unique]
    section["constraints"] = by_name([*section.get("constraints", []), *unique])
    section[REMARKS] = remarks(table)
    section[OWN_NAME] = table.name if collection_name(table.name) != table.name else None
    names = {
        f"vectors.{vector}.index": derived(index.name, table.name)
        for vector, index in collection.vector_indexes.items()
        if derived(index.name, table.name) != default_index_name(vector)
    }
    section["index_names"] = names
    section["quantization"] = {
        vector: index.cast
        for vector, index in collection.vector_indexes.items()
        if index.cast == "halfvec"
    }
    if not collection.ours:
        section["layout"] = AS_IT_WAS
    label = table.label
    if label is not None and not label.indexed:
        labelled = section_of(label.spec)
        section |= {key: labelled[key] for key in PENDING if key in labelled}
        later = [c for c in labelled.get("constraints", []) if comes_after_rows(c)]
        made = [c for c in section["constraints"] if not comes_after_rows(c)]
        section["constraints"] = by_name([*made, *later])
    waiting = dict[str, Any]()
    if label is not None and is_beside(table.name) and not aliases:
        declared = section_of(label.spec).get(FOREIGN_KEYS)
        waiting = {FOREIGN_KEYS: declared} if declared else {}
    section = {key: value for key, value in (section | waiting).items() if value}
    section[UNREPORTED] = [*unreported(collection), *(f"engine.{ENGINE}.{key}" for key in waiting)]
    if not section[UNREPORTED]:
        del section[UNREPORTED]
    engine = {**spec.engine, ENGINE: section}
    return spec.model_copy(update={"engine": engine, "aliases": aliases})


def _storage(session: Session, collection: Collection, storage: dict[str, Any]) -> dict[str, Any]:
    """That of a table of ours, without what its layout has anyway."""
    options = described_options(session, collection.spec, storage.get("options", {}))
    return {key: value for key, value in (storage | {"options": options}).items() if value}


def remarks(table: Table) -> list[dict[str, Any]]:
    """Objects that a restore makes nothing of and that nobody misses: indexes that were never
    finished, such as `CREATE INDEX CONCURRENTLY` leaves behind."""
    unfinished = [index_part(i, table) for i in table.indexes if not i.valid and not i.constraint]
    return by_name([part | {"kind": INVALID_INDEX} for part in unfinished])


def unreported(collection: Collection) -> list[str]:
    """Parts that are believed: search parameters, which no index has, and metrics that neither an
    index nor an operator says."""
    parts = list[str]()
    for vector in collection.spec.vectors:
        if vector.name not in collection.compared:
            parts.append(f"vectors.{vector.name}.metric")
        session_ones = SEARCH.get(vector.index.kind, {}) if vector.index else {}
        parameters = vector.index.parameters if vector.index else {}
        parts += [f"vectors.{vector.name}.index.{key}" for key in session_ones if key in parameters]
    return parts


def default_index_name(vector: str) -> str:
    """The name of a vector's index if none is specified."""
    return f"{{table}}_{vector}_idx"


def _others(collection: Collection) -> list[Index]:
    """Indexes that neither the contract nor a constraint brings along."""
    vectors = {each.name for each in collection.vector_indexes.values()}
    default = {DOCUMENTS, KEYWORDS} if collection.ours else set()
    return [
        index
        for index in collection.table.indexes
        if not index.constraint
        and index.valid
        and index.name not in vectors
        and index.using not in default
        and index.id != (collection.table.key_index if collection.ours else 0)
    ]


def _mapping(session: Session, table: Table, *, whole: bool) -> tuple[Mapping, bool]:
    label = table.label
    if label is not None and section_of(label.spec).get("layout") != AS_IT_WAS:
        oid = session.extension.vector if session.extension else 0
        own = own_mapping(table, label.spec, vector_oid=oid)
        if own is not None:
            return own, True
    sizes = _dimensions(session, table, whole=whole)
    if label is None:
        return foreign_mapping(table, dimensions=sizes), False
    recorded = [v.name for v in label.spec.vectors]
    bits = frozenset(
        a.name
        for a in table.attributes
        if a.kind == "bit" and _label_name(label.spec, a) in recorded
    )
    foreign = foreign_mapping(table, dimensions=sizes, bits=bits)
    places = {name: place for place, name in enumerate(recorded)}
    vectors = sorted(foreign.vectors, key=lambda v: places.get(v.name, len(places)))
    return replace(foreign, vectors=tuple(vectors)), False


def _dimensions(session: Session, table: Table, *, whole: bool) -> dict[str, list[int]]:
    """Dimensions of vector columns that declare none. The label says them, since a restore fills a
    table before it has its indexes; what came since, an index of all rows or the rows say."""
    undeclared = [
        a for a in table.attributes if a.modifier <= 0 and has_vectors(a) and not a.generated
    ]
    dimensions_of = dict[str, list[int]]()
    for attribute in undeclared:
        sizes_of = _label_dimensions(table.label.spec, attribute) if table.label else set[int]()
        if table.label is None or table.label.indexed:
            sizes = indexed(table, attribute)
            rows = dimensions(session, table, attribute, whole=whole) if sizes is None else [sizes]
            sizes_of.update(rows)
        dimensions_of[attribute.name] = sorted(sizes_of)
    return dimensions_of


def _metrics(session: Session, table: Table, attribute: Attribute, size: int) -> set[Metric]:
    """Metrics of indexes that hold a part of the vectors: those of a condition, or a partition."""
    query = METRIC_CLASSES.format(table=oid(table.id), name=sql.Literal(attribute.name))
    casts = [
        index.classes[0]
        for index in table.indexes
        if (match := CAST.fullmatch(index.expression)) is not None
        and (match["column"], match["size"]) == (attribute.quoted, str(size))
    ]
    classes = [*casts, *(row[0] for row in session.rows(query))]
    operators = (name.partition("_")[2] for name in classes)
    return {METRICS[name] for name in operators if name in METRICS}


def _label_dimensions(spec: CollectionSpec, attribute: Attribute) -> set[int]:
    columns = {column["name"]: column for column in section_of(spec).get("columns", [])}
    names = set(columns.get(attribute.name, {}).get("dimensions", [_label_name(spec, attribute)]))
    return {v.dimension for v in spec.vectors if v.name in names}


def _label_name(spec: CollectionSpec, attribute: Attribute) -> str:
    """The name under which a column was carried."""
    columns = section_of(spec).get("columns", [])
    names = {column["name"]: column.get("as", column["name"]) for column in columns}
    name: str = names.get(attribute.name, attribute.name)
    return name


def _label_metric(table: Table, name: str) -> Metric | None:
    declared = table.label.spec.vectors if table.label else ()
    return next((v.metric for v in declared if v.name == name), None)


def _has_text_index(collection: Collection) -> bool:
    """True if the engine searches texts of a table by their words."""
    vectors = {a.number for a in collection.table.attributes if a.kind == "tsvector"}
    text = collection.mapping.column("text") is not None
    return text and any(
        i.method in ("gin", "gist") and (set(i.keys) & vectors or "to_tsvector(" in i.expression)
        for i in collection.table.indexes
    )
