"""From a specification to a configuration of Qdrant, and back from what the engine reports."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from dr_pipelines.errors import Damaged
from dr_pipelines.model.collection import (
    UNBOUNDED,
    CollectionSpec,
    FieldType,
    Metric,
    Vector,
    VectorIndex,
    VectorKind,
    VectorType,
)
from dr_pipelines.planning.parts import UNREPORTED
from dr_pipelines.stores.qdrant import sections
from dr_pipelines.stores.qdrant.columns import Foreign, foreign_columns
from dr_pipelines.stores.qdrant.sections import ENGINE
from dr_pipelines.stores.qdrant.variant import Json, State, Variant
from dr_pipelines.stores.shared.label import Label, decoded
from dr_pipelines.stores.shared.layout import (
    COLUMN_ROLES,
    LAYOUT,
    Layout,
    Role,
    column_roles_of,
    laid_out,
    layout_of,
)

DISTANCES = {
    Metric.COSINE: "Cosine",
    Metric.DOT: "Dot",
    Metric.L2: "Euclid",
    Metric.L1: "Manhattan",
}
METRICS = {distance: metric for metric, distance in DISTANCES.items()}
DATATYPES = {
    VectorType.FLOAT32: None,
    VectorType.FLOAT16: "float16",
    VectorType.UINT8: "uint8",
}
"""None: what the engine keeps unless it is told otherwise."""
TYPES = {"float32": VectorType.FLOAT32} | {d: t for t, d in DATATYPES.items() if d}
HNSW = "hnsw"
NAMES = {"m": "m", "ef_construction": "ef_construct"}
"""Parameter of a vector index → what Qdrant calls it."""
INDEX_TYPES = {
    FieldType.STRING: "keyword",
    FieldType.INTEGER: "integer",
    FieldType.NUMBER: "float",
    FieldType.BOOLEAN: "bool",
    FieldType.TIMESTAMP: "datetime",
    FieldType.STRINGS: "keyword",
}
TEXT_INDEX = {"type": "text", "tokenizer": "word", "lowercase": True, "scoring": {"type": "bm25"}}


def label_of(text: str | None, name: str) -> Label | None:
    """The label of a collection; None where it has none."""
    return None if text is None else decoded(text, of=repr(name))


def section_of(spec: CollectionSpec) -> Json:
    return spec.engine.get(ENGINE, {})


def is_foreign(spec: CollectionSpec) -> bool:
    """True if points have the ids and payloads that another program gave them."""
    return layout_of(section_of(spec)) is Layout.FOREIGN


def native_name(spec: CollectionSpec, column: str) -> str:
    """Qdrant's name for a vector, or for a key of the payload."""
    return str(section_of(spec).get("columns", {}).get(column, column))


def asked_config(spec: CollectionSpec) -> Json:
    """The configuration of a new collection."""
    section = section_of(spec)
    config = sections.unpacked(section)
    shared = config.get("hnsw_config", {})
    config["vectors"] = {
        native_name(spec, v.name): _dense(
            v, sections.of_vector(section, native_name(spec, v.name)), shared
        )
        for v in spec.vectors
        if v.kind is not VectorKind.SPARSE
    }
    existing = config.get("sparse_vectors", {})
    sparse = [native_name(spec, v.name) for v in spec.vectors if v.kind is VectorKind.SPARSE]
    config["sparse_vectors"] = {name: existing.get(name, {}) for name in sparse}
    for key, word in sections.SPREAD.items():
        if getattr(spec, word) is not None:
            config[key] = getattr(spec, word)
    config["payload_schema"] = dict(_payload_indexes(spec)) | config.get("payload_schema", {})
    return config


def built_indexes(spec: CollectionSpec, variant: Variant) -> Json:
    """All payload indexes that `build_index` makes sure of."""
    schema: Json = dict(asked_config(spec)["payload_schema"])
    if variant.ranks_texts and spec.keyword_index and not is_foreign(spec):
        schema.setdefault("text", TEXT_INDEX)
    return schema


def ranked_key(spec: CollectionSpec, variant: Variant) -> str | None:
    """The key of the payload by whose texts the engine ranks, if there is one."""
    key = column_roles_of(section_of(spec)).get(Role.TEXT) if is_foreign(spec) else "text"
    index = section_of(spec).get("indexes", {}).get("payload", {}).get(key, {})
    return str(key) if variant.ranks_texts and index.get("scoring") else None


def may_filter(config: Json, key: str) -> bool:
    """True if strict mode allows a search for the points that have the key."""
    limits = config.get("strict_mode_config", {})
    strict = limits.get("enabled") and limits.get("unindexed_filtering_retrieve") is False
    return not strict or key in config.get("payload_schema", {})


def described(
    name: str,
    state: State,
    *,
    silent: frozenset[str],
    aliases: Sequence[str],
    sample: Callable[[str], Any],
) -> CollectionSpec:
    """The specification of a collection as the engine reports it. `silent` are the paths that it
    does not report; `sample` gives the first value of a key of the payload."""
    label = label_of(state.label, name)
    if label is None:
        foreign = foreign_columns(name, state.config, sample)
        return _spec(name, state.config, foreign, aliases)
    if not label.indexed:  # strict mode comes in force with the indexes
        silent |= {"strict_mode_config"}
    config, unreported = _overlaid(state.config, asked_config(label.spec), silent)
    unreported |= set(_unreported_vectors(label.spec))
    spec = label.spec
    vectors = [
        _vector(config, native_name(spec, v.name), column=v.name, labelled=v) for v in spec.vectors
    ]
    described_vectors = tuple(v for v in vectors if v is not None)
    if not described_vectors:
        raise Damaged(f"{name!r} has none of its vectors; restore it from a recovery point")
    section = sections.packed(config, _other_datatypes(config))
    for key in (LAYOUT, COLUMN_ROLES, "columns"):
        if key in section_of(spec):
            section[key] = section_of(spec)[key]
    if unreported:
        section[UNREPORTED] = sorted(unreported)
    return spec.model_copy(
        update={
            "name": name,
            "vectors": described_vectors,
            "aliases": tuple(sorted(aliases)),
            "shards": config.get("shard_number"),
            "replicas": config.get("replication_factor"),
            "engine": spec.engine | ({ENGINE: section} if section else {}),
        }
    )


def _spec(name: str, config: Json, foreign: Foreign, aliases: Sequence[str]) -> CollectionSpec:
    """That of a collection which something else made."""
    vectors = [
        _vector(config, native, column=column, labelled=None)
        for column, native in foreign.vectors.items()
    ]
    section = sections.packed(config, _other_datatypes(config))
    section |= laid_out(Layout.FOREIGN, {Role.TEXT: foreign.text})
    if foreign.renamed:
        section["columns"] = foreign.renamed
    return CollectionSpec(
        name=name,
        vectors=tuple(v for v in vectors if v is not None),
        fields=foreign.fields,
        keyword_index=foreign.keyword_index,
        shards=config.get("shard_number"),
        replicas=config.get("replication_factor"),
        aliases=tuple(sorted(aliases)),
        engine={ENGINE: section},
    )


def _dense(vector: Vector, params: Json, shared: Json) -> Json:
    params = dict(params)
    datatype = params.pop("datatype", None) or DATATYPES.get(vector.dtype)
    hnsw = dict(params.pop("hnsw_config", {}))
    parameters = {"m": 0} if vector.index is None else vector.index.parameters
    for parameter, native in NAMES.items():
        value = parameters.get(parameter)
        if value is not None and value != hnsw.get(native, shared.get(native)):
            hnsw[native] = value
    if vector.kind is VectorKind.MULTI:
        params.setdefault("multivector_config", {"comparator": "max_sim"})
    return (
        {"size": vector.dimension, "distance": DISTANCES.get(vector.metric, "Dot")}
        | params
        | ({"datatype": datatype} if datatype else {})
        | ({"hnsw_config": hnsw} if hnsw else {})
    )


def _payload_indexes(spec: CollectionSpec) -> Iterator[tuple[str, Json]]:
    """Those that this package's own layout needs."""
    if is_foreign(spec):
        return
    yield "document_id", {"type": "keyword"}
    for field in spec.fields:
        if field.filterable:
            tenant = {"is_tenant": True} if field.role == "tenant" else {}
            keyword = field.type is FieldType.STRING
            yield field.name, {"type": INDEX_TYPES[field.type]} | (tenant if keyword else {})


def _vector(config: Json, native: str, *, column: str, labelled: Vector | None) -> Vector | None:
    """A vector as it is; None where the collection has none of that name. `labelled` is what our
    label says of it: what Qdrant has no word for is believed while what stands for it is there."""
    if native in config.get("sparse_vectors", {}):
        dimension = UNBOUNDED if labelled is None else labelled.dimension
        metric = Metric.DOT if labelled is None else labelled.metric
        return Vector(name=column, dimension=dimension, metric=metric, kind=VectorKind.SPARSE)
    params = config.get("vectors", {}).get(native)
    if params is None:
        return None
    metric, dtype = METRICS[params["distance"]], TYPES.get(params.get("datatype") or "float32")
    if labelled is not None and DISTANCES.get(labelled.metric, "Dot") == params["distance"]:
        metric = labelled.metric
    if labelled is not None and DATATYPES.get(labelled.dtype) == params.get("datatype"):
        dtype = labelled.dtype
    return Vector(
        name=column,
        dimension=params["size"],
        metric=metric,
        dtype=dtype or VectorType.FLOAT32,
        kind=VectorKind.MULTI if params.get("multivector_config") else VectorKind.DENSE,
        index=_index(config.get("hnsw_config", {}) | params.get("hnsw_config", {})),
    )


def _index(hnsw: Json) -> VectorIndex | None:
    """The index that a vector's and the collection's parameters make together."""
    if hnsw.get("m") == 0:
        return None
    parameters = {ours: hnsw[theirs] for ours, theirs in NAMES.items() if theirs in hnsw}
    return VectorIndex(kind=HNSW, parameters=parameters)


def _other_datatypes(config: Json) -> Json:
    datatypes = {n: p.get("datatype") for n, p in config.get("vectors", {}).items()}
    return {
        name: datatype for name, datatype in datatypes.items() if datatype and datatype not in TYPES
    }


def _overlaid(config: Json, labelled: Json, silent: frozenset[str]) -> tuple[Json, set[str]]:
    """The reported configuration, completed by the specified values where nothing can be
    reported, and the names of those parts."""
    unreported = set()
    for path in sorted(silent):
        value = sections.value_at(labelled, path)
        if value not in (None, {}, []):
            config = sections.with_value(config, path, value)
            unreported.add(sections.part_of(path))
    return config, unreported


def _unreported_vectors(spec: CollectionSpec) -> Iterator[str]:
    for vector in spec.vectors:
        part = f"vectors.{vector.name}"
        if vector.kind is VectorKind.SPARSE:
            if vector.dimension != UNBOUNDED:
                yield part
            if vector.metric is not Metric.DOT:
                yield f"{part}.metric"
            if vector.dtype is not VectorType.FLOAT32:
                yield f"{part}.dtype"
        else:
            if vector.metric not in DISTANCES:
                yield f"{part}.metric"
            if vector.dtype not in DATATYPES:
                yield f"{part}.dtype"
