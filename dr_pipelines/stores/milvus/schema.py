"""A collection of Milvus as a specification.

The section `milvus` has, beside `layout` and `column_roles`: `indexes` (of scalar columns, and in
the native layout all), `properties`, and from servers `consistency`, `grants` and `roles`; in the
native layout also `columns`, `comments`, `dynamic`, `functions` and `partitions`. What the engine
does not report is taken from the label and listed in `unreported`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.collection import (
    PHYSICAL_NAME,
    CollectionSpec,
    Vector,
    VectorKind,
    VectorType,
)
from dr_pipelines.planning.parts import UNREPORTED
from dr_pipelines.stores.milvus import index as indexes
from dr_pipelines.stores.milvus import records as managed
from dr_pipelines.stores.milvus.column import T
from dr_pipelines.stores.milvus.foreign import ForeignLayout, mapped, searches_text
from dr_pipelines.stores.milvus.layout import RecordLayout
from dr_pipelines.stores.milvus.live import INSERT_IDS, Live
from dr_pipelines.stores.milvus.names import from_native
from dr_pipelines.stores.milvus.records import ManagedLayout
from dr_pipelines.stores.shared.layout import Layout, Role, laid_out, layout_of

ENGINE = "milvus"
OF_ACCESS = ("grants", "privilege_groups", "roles")
SERVER_ONLY = ("comments", "consistency", *OF_ACCESS, "resource_groups")
"""Keys of the section that milvus-lite forgets or does not have."""


def layout(live: Live, spec: CollectionSpec) -> RecordLayout:
    """How the collection's records lie."""
    if layout_of(spec.engine.get(ENGINE, {})) is Layout.FOREIGN:
        return ForeignLayout(live, spec)
    return ManagedLayout(spec)


def described(
    live: Live,
    *,
    aliases: tuple[str, ...],
    replicas: int | None,
    access: dict[str, Any] | None,
    groups: dict[str, Any] | None,
    is_lite: bool,
) -> CollectionSpec:
    """The specification; `replicas`, `access` and `groups` (resource groups) are None where the
    engine does not say.

    Raises:
        InvalidRequest: the collection's name cannot be a name here.
    """
    label = live.label.spec if live.label else None
    name = from_native(live.native)
    if not PHYSICAL_NAME.fullmatch(name):
        raise InvalidRequest(
            f"collection {live.native!r}: its name is none that can be kept; rename it"
        )
    labelled = label.engine.get(ENGINE, {}) if label else {}
    is_managed = label is not None and layout_of(labelled) is Layout.MANAGED
    section = _section(live, is_managed=is_managed) | (access or {})
    section |= {"resource_groups": groups} if groups else {}
    if is_lite:  # it answers with a default, whatever was asked for
        section = {key: value for key, value in section.items() if key not in SERVER_ONLY}
    silent = _silent(labelled, is_lite=is_lite, access=access, groups=groups)
    section |= {key: labelled[key] for key in silent}
    unreported = [f"engine.{ENGINE}.{key}" for key in silent]
    if replicas is None and label and label.replicas is not None:
        replicas = label.replicas
        unreported.append("replicas")
    if label is not None and is_managed:
        vectors, fields, keywords = _live_vectors(live, label), label.fields, label.keyword_index
        unreported += _unreported_of(label)
    else:
        mapping = mapped(live)
        vectors, fields, keywords = mapping.vectors, mapping.fields, searches_text(live)
        unreported += _unreported_parameters(vectors)
    if unreported:
        section[UNREPORTED] = sorted(unreported)
    return CollectionSpec(
        name=name,
        vectors=vectors,
        fields=fields,
        keyword_index=keywords,
        shards=live.shards or None,
        replicas=replicas,
        aliases=aliases,
        engine={**(label.engine if label else {}), ENGINE: section},
        origin=label.origin if label else None,
    )


def _section(live: Live, *, is_managed: bool) -> dict[str, Any]:
    vectors = {column.name for column in live.columns if "dim" in column.params}
    vectors |= {column.name for column in live.columns if column.type == T.SparseFloatVector}
    properties = {k: v for k, v in live.properties.items() if k != INSERT_IDS}
    section: dict[str, Any] = {
        **_layout(live, is_managed=is_managed),
        "indexes": [i for i in live.indexes if not is_managed or i["field"] not in vectors],
        "properties": properties,
        "consistency": live.consistency,
    }
    if not is_managed:
        ours = {column.name: name for name, column in mapped(live).columns.items()}
        section["columns"] = [
            column.to_json() | {"column": ours.get(column.name)} for column in live.columns
        ]
        section["dynamic"] = live.dynamic
        section["functions"] = list(live.functions)
        section["partitions"] = _partitions(live)
        section["comments"] = _comments(live)
    return {key: value for key, value in section.items() if value or key == "indexes"}


def _layout(live: Live, *, is_managed: bool) -> dict[str, Any]:
    if is_managed:
        return laid_out(Layout.MANAGED)
    text = mapped(live).columns.get("text")
    return laid_out(
        Layout.FOREIGN, {Role.ID: live.key.name, Role.TEXT: text.name if text else None}
    )


def _partitions(live: Live) -> dict[str, Any]:
    if live.key_partitions:
        return {"of_key": live.key_partitions}
    return {"names": list(live.partitions)} if live.partitions else {}


def _comments(live: Live) -> dict[str, Any]:
    columns = {column.name: column.comment for column in live.columns if column.comment}
    comments = {"collection": live.comment, "columns": columns}
    return {key: value for key, value in comments.items() if value}


def _silent(
    section: Mapping[str, Any],
    *,
    is_lite: bool,
    access: dict[str, Any] | None,
    groups: dict[str, Any] | None,
) -> list[str]:
    """Keys that were asked for and about which the engine says nothing."""
    silent = list(SERVER_ONLY) if is_lite else []
    if not is_lite and access is None:
        silent = [*OF_ACCESS]
    if not is_lite and groups is None:
        silent.append("resource_groups")
    return [key for key in silent if section.get(key)]


def _live_vectors(live: Live, label: CollectionSpec) -> tuple[Vector, ...]:
    """The label's vectors with the index and metric that the engine has now."""
    return tuple(_live_vector(live, vector, label) for vector in label.vectors)


def _live_vector(live: Live, vector: Vector, label: CollectionSpec) -> Vector:
    if vector.kind is VectorKind.MULTI:
        return vector.model_copy(update={"index": None})
    index = live.index_of(ManagedLayout(label).column_of(vector.name))
    changes: dict[str, Any] = {"index": indexes.to_vector(index, vector.index)}
    if managed.searched(vector):
        changes["metric"] = indexes.metric_of(index, vector.dtype, vector.kind)
    else:
        changes["index"] = None
    return vector.model_copy(update=changes)


def _unreported_of(label: CollectionSpec) -> Iterator[str]:
    for vector in label.vectors:
        if vector.dtype is not VectorType.FLOAT32:
            yield f"vectors.{vector.name}.dtype"
        if not managed.searched(vector):
            yield f"vectors.{vector.name}.metric"
    yield from _unreported_parameters(label.vectors)


def _unreported_parameters(vectors: tuple[Vector, ...]) -> Iterator[str]:
    for vector in vectors:
        for key in vector.index.parameters if vector.index else ():
            if key in indexes.QUERY_WORDS:
                yield f"vectors.{vector.name}.index.{key}"
