"""Chroma's description of a collection as a specification, and the definition to create one.

A collection that this adapter made carries a label in its metadata: the specification that it was
made from, and whether its index was declared built. What Chroma reports goes before the label.

The section `chroma` of a specification:

| key | what |
|---|---|
| `layout` | `managed` (see `records`), or `foreign`: records as clients wrote them (see `foreign`) |
| `namespace` | tenant and database |
| `configuration` | of the index, beside its usual parameters: `num_threads`, `batch_size`, `sync_threshold`, `resize_factor` |
| `functions` | `embedding`: name and configuration of the embedding function, as data: nothing runs it |
| `indexes` | of metadata and documents: the schema without what is said elsewhere |
| `properties` | the collection's metadata, without the label |
"""  # noqa: E501 - rows of a table

import json
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.collection import (
    CollectionSpec,
    Metric,
    Vector,
    VectorIndex,
    VectorKind,
    VectorType,
)
from dr_pipelines.planning.parts import UNREPORTED
from dr_pipelines.stores.chroma.address import Namespace
from dr_pipelines.stores.chroma.names import to_physical
from dr_pipelines.stores.chroma.records import is_dense
from dr_pipelines.stores.chroma.session import Definition, Model
from dr_pipelines.stores.chroma.vectors import METRICS, SPACES
from dr_pipelines.stores.shared.label import Label, decoded, encoded
from dr_pipelines.stores.shared.layout import Layout, laid_out, layout_of

ENGINE = "chroma"
LABEL = "dr:label"
VECTOR_NAME = "embedding"
UNKNOWN_DIMENSION = 1
"""Of a collection that never had a record: Chroma learns it from the first."""

PARAMETERS = {
    "m": "max_neighbors",
    "ef_construction": "ef_construction",
    "ef_search": "ef_search",
}
CONFIGURED = ("num_threads", "batch_size", "sync_threshold", "resize_factor")
SAID_ELSEWHERE = ("space", "hnsw", "spann", "embedding_function")


def label_of(model: Model) -> Label | None:
    """The label of a collection, if this adapter made it."""
    text = (model.metadata or {}).get(LABEL)
    return None if text is None else decoded(str(text), of=f"{model.name!r} (metadata {LABEL!r})")


def labelled(metadata: Mapping[str, Any] | None, label: Label) -> dict[str, Any]:
    """A collection's metadata with a label."""
    return {**(metadata or {}), LABEL: encoded(label)}


def is_foreign(spec: CollectionSpec) -> bool:
    """True if records are stored as clients write them, provided that this keeps every column."""
    foreign = layout_of(spec.engine.get(ENGINE, {})) is Layout.FOREIGN
    vector = spec.vectors[0]
    plain = vector.kind is VectorKind.DENSE and vector.dtype is VectorType.FLOAT32
    bare = len(spec.vectors) == 1 and not spec.fields and plain and vector.metric in SPACES
    return foreign and bare


def space_of(spec: CollectionSpec) -> str:
    """Chroma's space for the first vector; one that Chroma does not compare by keeps its bits in
    the space of plain distances."""
    return SPACES.get(spec.vectors[0].metric, SPACES[Metric.L2]) if is_dense(spec) else "l2"


def is_searched(spec: CollectionSpec, vector: Vector) -> bool:
    """True if Chroma's index can search this vector."""
    return vector == spec.vectors[0] and is_dense(spec) and vector.metric in SPACES


def described(model: Model, namespace: Namespace) -> CollectionSpec:
    """The specification of a collection as it is now."""
    label = label_of(model)
    base = label.spec if label else _derived(model)
    vectors, silent = _vectors(base, model)
    silent += [f"fields.{field.name}" for field in base.fields]
    silent += ["keyword_index"]
    silent += [part for part in ("shards", "replicas") if getattr(base, part) is not None]
    section = laid_out(Layout.FOREIGN if is_foreign(base) else Layout.MANAGED)
    section |= _section(model, namespace) | {UNREPORTED: silent}
    return base.model_copy(
        update={
            "name": to_physical(model.name),
            "vectors": vectors,
            "engine": {**base.engine, ENGINE: section},
        }
    )


def definition_of(spec: CollectionSpec) -> Definition:
    """The definition to create a collection with.

    Raises:
        InvalidRequest: it asks for an index that Chroma builds in its cloud only.
    """
    section = spec.engine.get(ENGINE, {})
    index = spec.vectors[0].index if is_searched(spec, spec.vectors[0]) else None
    if index is not None and index.kind == "spann":
        raise InvalidRequest(
            f"collection {spec.name!r}: Chroma ignores an index of kind spann without saying so, "
            "except in its cloud; ask for hnsw (`fit` does)"
        )
    parameters = index.parameters if index is not None and index.kind == "hnsw" else {}
    hnsw = {PARAMETERS[key]: value for key, value in parameters.items() if key in PARAMETERS}
    hnsw |= {k: v for k, v in section.get("configuration", {}).items() if k in CONFIGURED}
    space, function = space_of(spec), section.get("functions", {}).get("embedding")
    metadata = labelled(section.get("properties"), Label(spec=spec))
    indexes = section.get("indexes")
    if indexes in (None, DEFAULT_INDEXES):
        # also because a schema that is the default in all but its embedding function loses that
        configuration = {"hnsw": {"space": space, **hnsw}, "embedding_function": function}
        return Definition(configuration, None, metadata)
    return Definition(None, _schema(indexes, space, hnsw, function), metadata)


def _derived(model: Model) -> CollectionSpec:
    """The specification of what something else made: a document for each record."""
    metric = METRICS.get(_index(model)["space"], Metric.L2)
    vector = Vector(name=VECTOR_NAME, dimension=UNKNOWN_DIMENSION, metric=metric)
    return CollectionSpec(
        name=to_physical(model.name), vectors=(vector,), engine={ENGINE: laid_out(Layout.FOREIGN)}
    )


def _vectors(base: CollectionSpec, model: Model) -> tuple[tuple[Vector, ...], list[str]]:
    """The vectors, and which of their parts Chroma does not report."""
    first, *others = base.vectors
    silent = list[str]()
    if is_dense(base) and model.dimension is not None:
        first = first.model_copy(update={"dimension": model.dimension})
    else:
        silent.append(f"vectors.{first.name}")
    if is_searched(base, base.vectors[0]):
        config = _index(model)
        metric = METRICS.get(config["space"], first.metric)
        first = first.model_copy(update={"metric": metric, "index": _vector_index(config)})
    else:
        first = first.model_copy(update={"index": None})
        silent.append(f"vectors.{first.name}.metric")
    if first.dtype is not VectorType.FLOAT32:
        silent.append(f"vectors.{first.name}.dtype")
    for vector in others:
        silent += [f"vectors.{vector.name}{part}" for part in ("", ".metric", ".dtype")]
    return (first, *(v.model_copy(update={"index": None}) for v in others)), silent


def _vector_index(config: Mapping[str, Any]) -> VectorIndex:
    kind = "spann" if config.get("spann") else "hnsw"
    graph = config.get(kind) or {}
    if kind == "spann":
        return VectorIndex(kind=kind, parameters=dict(graph))
    return VectorIndex(
        kind=kind, parameters={ours: graph[theirs] for ours, theirs in PARAMETERS.items()}
    )


def _section(model: Model, namespace: Namespace) -> dict[str, Any]:
    config = _index(model)
    hnsw = config.get("hnsw") or {}
    section: dict[str, Any] = {
        "namespace": {"tenant": namespace.tenant, "database": namespace.database},
        "configuration": {key: hnsw[key] for key in CONFIGURED if key in hnsw},
        "indexes": _indexes(model.serialized_schema),
    }
    function = config.get("embedding_function")
    if function is not None:
        section["functions"] = {"embedding": function}
    properties = {k: v for k, v in (model.metadata or {}).items() if k != LABEL}
    return section | ({"properties": properties} if properties else {})


def _index(model: Model) -> dict[str, Any]:
    try:
        return dict(_vector_config(model.serialized_schema["keys"]["#embedding"]))
    except (KeyError, TypeError) as error:
        raise InvalidRequest(
            f"Chroma reports no schema of {model.name!r}; a server of version 1.5 or later does"
        ) from error


def _vector_config(types: Mapping[str, Any]) -> dict[str, Any]:
    config: dict[str, Any] = types["float_list"]["vector_index"]["config"]
    return config


def _indexes(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A schema without what is said elsewhere, and without the keys that Chroma adds by itself when
    a record has them: those are as the defaults say."""
    plain = json.loads(json.dumps(schema))
    defaults, keys = plain["defaults"], plain["keys"]
    for types in (defaults, keys["#embedding"]):
        for name in SAID_ELSEWHERE:
            _vector_config(types).pop(name, None)
    own = {
        key: types
        for key, types in keys.items()
        if any(defaults.get(name) != indexes for name, indexes in types.items())
    }
    return {**plain, "keys": own}


def _schema(
    indexes: Mapping[str, Any], space: str, hnsw: Mapping[str, Any], function: Any
) -> dict[str, Any]:
    schema: dict[str, Any] = deepcopy(dict(indexes))
    for types in (schema["defaults"], schema["keys"]["#embedding"]):
        index = {"space": space, "hnsw": dict(hnsw)}
        _vector_config(types).update(
            index if function is None else index | {"embedding_function": function}
        )
    return schema


def _inverted(name: str, *, enabled: bool = True) -> dict[str, Any]:
    return {name: {"enabled": enabled, "config": {}}}


DEFAULT_INDEXES: dict[str, Any] = {
    "defaults": {
        "string": {
            **_inverted("fts_index", enabled=False),
            **_inverted("string_inverted_index"),
        },
        "float_list": {"vector_index": {"enabled": False, "config": {}}},
        "sparse_vector": {
            "sparse_vector_index": {
                "enabled": False,
                "config": {"embedding_function": {"type": "unknown"}, "bm25": False},
            }
        },
        "int": _inverted("int_inverted_index"),
        "float": _inverted("float_inverted_index"),
        "bool": _inverted("bool_inverted_index"),
    },
    "keys": {
        "#document": {
            "string": {
                **_inverted("fts_index"),
                **_inverted("string_inverted_index", enabled=False),
            }
        },
        "#embedding": {
            "float_list": {"vector_index": {"enabled": True, "config": {"source_key": "#document"}}}
        },
    },
}
"""What Chroma 1.5.9 indexes unless it is told otherwise."""
