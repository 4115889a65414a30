"""Indexes of a table: what Lance reports of them, and how they are built."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.model.collection import Metric, VectorIndex
from dr_pipelines.protocols import Progress
from dr_pipelines.stores.lancedb import vectors
from dr_pipelines.stores.lancedb.filters import name as column_sql
from dr_pipelines.stores.lancedb.records import Entry

COMMON = frozenset(["lists", "target_partition_size", "sample_rate", "max_iterations"])
GRAPH = frozenset(["m", "ef_construction", "max_level"])
PRODUCT = frozenset(["sub_vectors", "bits", "pq_sample_rate"])
VECTOR_INDEXES = {
    "ivf_flat": COMMON,
    "ivf_sq": COMMON,
    "ivf_pq": COMMON | PRODUCT,
    "ivf_rq": COMMON | {"bits"},
    "ivf_hnsw_flat": COMMON | GRAPH,
    "ivf_hnsw_sq": COMMON | GRAPH,
    "ivf_hnsw_pq": COMMON | GRAPH | PRODUCT,
}
"""Kinds of vector index, and the parameters that Lance both takes and reports."""
ARGUMENTS = {
    "lists": "num_partitions",
    "sub_vectors": "num_sub_vectors",
    "bits": "num_bits",
    "max_iterations": "max_iters",
}
"""What Lance calls a parameter, where it has another name for it."""
SCALAR = {"LabelList": "LABEL_LIST"}
"""Lance's words for types, where they are not those that it takes."""
TEXT = "INVERTED"
TEXT_KEYS = frozenset(
    [
        "base_tokenizer",
        "language",
        "with_position",
        "max_token_length",
        "lower_case",
        "stem",
        "remove_stop_words",
        "custom_stop_words",
        "ascii_folding",
        "min_ngram_length",
        "max_ngram_length",
        "prefix_only",
        "block_size",
        "document_granularity",
    ]
)
PQ_SAMPLES = "pq_sample_rate"
"""Reported where it is not the `sample_rate`: LanceDB's client trains codes with 256, whatever the
partitions are trained with, and Lance itself with the same."""
MOST_SEGMENTS = 8
"""Of a vector index: one that has as many is trained again instead of getting another."""


@dataclass(frozen=True, slots=True)
class LiveIndex:
    """An index as Lance reports it. `trained` is False where there were too few vectors for one:
    such an index is a note of its kind and parameters, and searches read every vector."""

    name: str
    type: str
    column: str
    trained: bool
    metric: Metric | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_vector(self) -> bool:
        return self.type.lower() in VECTOR_INDEXES

    def entry(self) -> Entry:
        """Its entry in the engine's section."""
        entry: Entry = {"name": self.name, "type": self.type, "columns": [self.column]}
        return entry | {"parameters": dict(self.parameters)} if self.parameters else entry

    def vector_index(self) -> VectorIndex:
        return VectorIndex(kind=self.type.lower(), parameters=dict(self.parameters))


def live_indexes(dataset: Any) -> list[LiveIndex]:
    """Those of a dataset, in order of names."""
    indexes = [_live(dataset, d) for d in dataset.describe_indices() if not d.name.startswith("__")]
    return sorted(indexes, key=lambda index: index.name)


def text_columns(dataset: Any) -> list[str]:
    """Columns that have a full-text index; reads no index."""
    described = [d for d in dataset.describe_indices() if d.index_type == "Inverted"]
    return [d.field_names[0] for d in described]


def build(dataset: Any, index: LiveIndex) -> None:
    """Make an index, in place of one of the same name. Where too few vectors are there to train it,
    Lance notes what it is to be."""
    if not index.is_vector:
        _build_scalar(dataset, index)
        return
    parameters = dict(index.parameters)
    if "pq" in index.type.lower():
        parameters.setdefault("sub_vectors", _sub_vectors(_dimension(dataset, index.column)))
    enough = vector_count(dataset, index.column) >= least_vectors(index.type, parameters)
    metric = vectors.DISTANCES[index.metric or Metric.L2]
    if PQ_SAMPLES in parameters and enough:
        _build_by_client(dataset, index, metric, parameters)
        return
    parameters.pop(PQ_SAMPLES, None)
    dataset.create_index(
        index.column,
        index.type,
        name=index.name,
        metric=metric,
        replace=True,
        train=enough,
        **{ARGUMENTS.get(key, key): value for key, value in parameters.items()},
    )


def build_all(dataset: Any, indexes: Sequence[LiveIndex], progress: Progress | None) -> None:
    """Build what is missing or other than wanted, and bring the rest up to the newest rows."""
    live = {index.name: index for index in live_indexes(dataset)}
    for done, index in enumerate(indexes):
        if progress is not None:
            progress(done, len(indexes))
        if needs_building(dataset, index, live.get(index.name)):
            build(dataset, index)
        else:
            _follow(dataset, index)
    if progress is not None:
        progress(len(indexes), len(indexes))


def needs_building(dataset: Any, index: LiveIndex, live: LiveIndex | None) -> bool:
    """True if an index is missing, differs from the specified one, or could be trained now."""
    if live is None or (live.type, live.column) != (index.type, index.column):
        return True
    if live.metric is not index.metric:
        return True
    if not index.is_vector:
        return any(live.parameters.get(k) != v for k, v in index.parameters.items())
    enough = vector_count(dataset, index.column) >= least_vectors(index.type, live.parameters)
    if not live.trained:
        return enough
    differing = [k for k, v in index.parameters.items() if live.parameters.get(k) != v]
    return enough and bool(differing)


def _follow(dataset: Any, index: LiveIndex) -> None:
    """Let an index have the rows that were written after it was built.

    A vector index gets them as a segment beside its others, of the same trained model: merging
    would also join partitions, so that an index of 5 lists comes back as one of 1.
    """
    described = next(d for d in dataset.describe_indices() if d.name == index.name)
    covered = {fragment for segment in described.segments for fragment in segment.fragment_ids}
    if covered >= {fragment.fragment_id for fragment in dataset.get_fragments()}:
        return
    if index.is_vector and len(described.segments) >= MOST_SEGMENTS:
        build(dataset, index)
    elif index.is_vector and described.num_rows_indexed:
        dataset.optimize.optimize_indices(index_names=[index.name], num_indices_to_merge=0)
    elif not index.is_vector:
        dataset.optimize.optimize_indices(index_names=[index.name])


def least_vectors(type: str, parameters: Mapping[str, Any]) -> int:
    """Vectors that are needed to train an index with these parameters: one for each centroid."""
    codes = 2 ** int(parameters.get("bits", 8)) if "PQ" in type else 1
    return max(1, int(parameters.get("lists", 1)), codes)


def vector_count(dataset: Any, column: str) -> int:
    """Vectors that are there to train with: of a row, any number where it has several."""
    named = column_sql(column)
    if pa.types.is_fixed_size_list(dataset.schema.field(column).type):
        return int(dataset.count_rows(f"{named} IS NOT NULL"))
    counts = dataset.to_table(columns={"count": f"array_length({named})"}).column("count")
    return int(pc.sum(counts).as_py() or 0)


def _live(dataset: Any, described: Any) -> LiveIndex:
    kind = SCALAR.get(described.index_type, described.index_type.upper())
    column, details = described.field_names[0], described.details
    rows = described.num_rows_indexed
    if kind.lower() in VECTOR_INDEXES:
        lists = _partitions(dataset, described.name) if rows else None
        parameters = _vector_parameters(details, lists)
        metric = Metric(str(details["metric_type"]).lower())
        return LiveIndex(described.name, kind, column, lists is not None, metric, parameters)
    if kind != TEXT:
        return LiveIndex(described.name, kind, column, trained=True)
    own = _own_parameters(dataset, described.name) if rows else {}
    parts = {**described.details, **own}
    params = {key: parts[key] for key in sorted(TEXT_KEYS & set(parts))}
    return LiveIndex(described.name, kind, column, bool(own), parameters=params)


def _partitions(dataset: Any, name: str) -> int | None:
    from lance.dataset import VectorIndexReader

    try:
        return int(VectorIndexReader(dataset, name).num_partitions())
    except ValueError:  # "is not vector index": what Lance says of one that is not trained
        return None


def _vector_parameters(details: Mapping[str, Any], lists: int | None) -> dict[str, Any]:
    graph, hints = details.get("hnsw", {}), details.get("runtime_hints", {})
    compression = details.get("compression", {})
    parameters = {
        "lists": lists,
        "target_partition_size": details.get("target_partition_size"),
        "m": graph.get("max_connections"),
        "ef_construction": graph.get("construction_ef"),
        "max_level": graph.get("max_level"),
        "sub_vectors": compression.get("num_sub_vectors"),
        "bits": compression.get("num_bits") if compression.get("type") != "sq" else None,
        "sample_rate": _number(hints.get("lance.ivf.sample_rate")),
        "max_iterations": _number(hints.get("lance.ivf.max_iters")),
    }
    pq_samples = _number(hints.get("lance.pq.sample_rate"))
    parameters |= {PQ_SAMPLES: pq_samples} if pq_samples != parameters["sample_rate"] else {}
    return {key: value for key, value in parameters.items() if value is not None}


def _own_parameters(dataset: Any, name: str) -> dict[str, Any]:
    """The parameters that a full-text index reports itself: those of the manifest, and stop
    words."""
    segments = dataset.stats.index_stats(name).get("indices", [])
    return dict(segments[0].get("params", {})) if segments else {}


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)


def _build_by_client(
    dataset: Any, index: LiveIndex, metric: str, parameters: Mapping[str, Any]
) -> None:
    """As LanceDB's client does; its parameters are those of its own configuration objects."""
    import lancedb
    from lancedb.index import HnswPq, IvfPq

    directory, _, table = dataset.uri.rpartition("/")
    names = ARGUMENTS | {"max_iterations": "max_iterations"}
    options = {k: v for k, v in parameters.items() if k not in (PQ_SAMPLES, "max_level")}
    config = (IvfPq if index.type == "IVF_PQ" else HnswPq)(
        distance_type=metric, **{names.get(key, key): value for key, value in options.items()}
    )
    connection = lancedb.connect(directory, storage_options=dataset.initial_storage_options)
    opened = connection.open_table(table.removesuffix(".lance"))
    opened.create_index(index.column, config=config, name=index.name, replace=True)
    dataset.checkout_latest()


def _build_scalar(dataset: Any, index: LiveIndex) -> None:
    from lance.indices import IndexConfig
    from lance.query import DocumentGranularity

    parameters: dict[str, Any] = dict(index.parameters)
    if "document_granularity" in parameters:
        parameters["document_granularity"] = DocumentGranularity(parameters["document_granularity"])
    # an index that only LanceDB's own client names
    kind = IndexConfig("fm", {}) if index.type == "FM" else index.type
    dataset.create_scalar_index(index.column, kind, name=index.name, replace=True, **parameters)


def _dimension(dataset: Any, column: str) -> int:
    kind = dataset.schema.field(column).type
    dense = kind if pa.types.is_fixed_size_list(kind) else kind.value_type
    return int(dense.list_size)


def _sub_vectors(dimension: int) -> int:
    """LanceDB's own rule: of 16 components, else of 8, else a single one."""
    of = next((size for size in (16, 8) if dimension % size == 0), dimension)
    return dimension // of
