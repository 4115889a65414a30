"""How a specification fits an engine: what it has of its own, and what becomes of the rest."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from dr_pipelines.model.collection import (
    CollectionSpec,
    Metric,
    Vector,
    VectorIndex,
    VectorKind,
    VectorType,
)
from dr_pipelines.model.compatibility import CompatibilityReport, Note, Outcome
from dr_pipelines.planning.parts import (
    NOTES,
    UNREPORTED,
    compare_parts,
    namespace,
)
from dr_pipelines.planning.way_back import VECTOR_INDEXES
from dr_pipelines.protocols import VectorStore
from dr_pipelines.stores.shared.layout import COLUMN_ROLES, LAYOUT

RULES = frozenset(
    [
        "constraints",
        "defaults",
        "foreign_keys",
        "functions",
        "generated",
        "grants",
        "identity",
        "limits",
        "partitions",
        "policies",
        "privilege_groups",
        "properties",
        "roles",
        "rules",
        "triggers",
    ]
)
"""Parts of an engine's section that decide what is let in, kept or shown: in another engine they
are lost. Other parts (`indexes`, `layout`, `optimizers`, `quantization`, `storage` …) say how the
engine does its work, and another one does it by its own defaults."""


METADATA = {
    ("chroma", "functions"): "clients here embed by themselves; the function's name is kept",
    (
        "chroma",
        "properties",
    ): "the collection's own metadata is kept, and clients here do not see it",
    ("lancedb", "comments"): "the table's own metadata is kept, and clients here do not see it",
    ("lancedb", "properties"): "the schema's own metadata is kept, and clients here do not see it",
    (
        "qdrant",
        "properties",
    ): "the collection's own metadata is kept, and clients here do not see it",
}
"""What users wrote on a collection and the engine itself does not act on: nothing of it is lost,
for it is in the recovery point and in the label."""


BOOKKEEPING = frozenset([*NOTES, VECTOR_INDEXES, LAYOUT, COLUMN_ROLES, "index_names", "key"])
"""What an adapter notes for itself, of which nobody misses anything in another engine: in whose
layout records are, which column is which, what an index is called."""


@dataclass(frozen=True, slots=True)
class Native:
    """Abilities of an engine to search, keep and build.

    `indexes` are kinds of vector index with their parameters; one of another kind becomes
    `default_index` (None: no index). At most `vectors` dense vectors of a collection are searched
    by the engine (None: any number).
    """

    engine: str
    metrics: frozenset[Metric]
    dtypes: frozenset[VectorType] = frozenset([VectorType.FLOAT32])
    kinds: frozenset[VectorKind] = frozenset([VectorKind.DENSE])
    indexes: Mapping[str, frozenset[str]] = field(default_factory=dict)
    default_index: str | None = None
    vectors: int | None = None
    shards: bool = False
    replicas: bool = False


def comes_back(spec: CollectionSpec, store: VectorStore) -> tuple[Note, ...]:
    """Notes of the store's own `fit` on the description of a collection that it holds, which are
    not in force already: parts that would be made otherwise, and parts of its own section that are
    not made, or run code.

    That a collection has no index here, or that policies of another engine are not in force, was
    so when it was backed up: it comes back as it was. So were parts that the engine does not
    report: they are in the label alone.
    """
    fit, engine = store.fit(spec), namespace(store.engine)
    compared = compare_parts(spec, fit.spec, engine=engine)
    changed = [finding.part for finding in compared if not finding.unreported]
    silent = spec.engine.get(engine, {}).get(UNREPORTED, [])
    return tuple(
        note
        for note in fit.notes
        if any(_related(note.part, part) for part in changed)
        or (
            note.outcome is not Outcome.APPROXIMATED
            and note.part.startswith(f"engine.{engine}.")
            and not any(_related(note.part, part) for part in silent)
        )
    )


def _related(part: str, other: str) -> bool:
    return f"{part}.".startswith(f"{other}.") or f"{other}.".startswith(f"{part}.")


def fit_exact(spec: CollectionSpec, *, engine: str) -> CompatibilityReport:
    """For a store without indexes: it keeps everything that is said of them, for a way back, and
    its own section as it is."""
    notes = [
        Note(
            f"vectors.{vector.name}.index",
            Outcome.APPROXIMATED,
            f"every search is exact here: nothing is missed, and without {vector.index.kind} it "
            "takes longer",
        )
        for vector in spec.vectors
        if vector.index is not None
    ]
    notes += [_unsearched(vector) for vector in spec.vectors if vector.kind is not VectorKind.DENSE]
    return CompatibilityReport(
        spec, (*notes, *_spread_notes(spec), *_section_notes(spec, engine=engine))
    )


def fit_to(spec: CollectionSpec, native: Native) -> CompatibilityReport:
    """For an engine with these abilities. Columns are always carried; what the engine cannot search
    by itself is kept beside what it can."""
    notes, vectors = list[Note](), list[Vector]()
    for place, vector in enumerate(spec.vectors):
        notes += _vector_notes(vector, place, native)
        index, note = _fitted_index(vector, place, native)
        notes += note
        vectors.append(vector.model_copy(update={"index": index}))
    if not native.shards or not native.replicas:
        notes += _spread_notes(spec, shards=native.shards, replicas=native.replicas)
    notes += _section_notes(spec, engine=native.engine)
    return CompatibilityReport(spec.model_copy(update={"vectors": tuple(vectors)}), tuple(notes))


def _vector_notes(vector: Vector, place: int, native: Native) -> Iterator[Note]:
    part = f"vectors.{vector.name}"
    if vector.kind not in native.kinds:
        yield _unsearched(vector)
    elif native.vectors is not None and place >= native.vectors:
        message = (
            f"the engine searches {native.vectors} vector a record; this one is kept beside it"
        )
        yield Note(part, Outcome.APPROXIMATED, message)
    elif vector.metric not in native.metrics:
        message = f"the engine does not compare by {vector.metric}: such searches read every record"
        yield Note(f"{part}.metric", Outcome.APPROXIMATED, message)
    if vector.dtype not in native.dtypes:
        message = f"kept as float32, which has every value of {vector.dtype}: it takes more space"
        yield Note(f"{part}.dtype", Outcome.APPROXIMATED, message)


def _unsearched(vector: Vector) -> Note:
    message = f"{vector.kind} vectors are kept, but nothing searches them here"
    return Note(f"vectors.{vector.name}", Outcome.LOST, message)


def _fitted_index(
    vector: Vector, place: int, native: Native
) -> tuple[VectorIndex | None, list[Note]]:
    index, part = vector.index, f"vectors.{vector.name}.index"
    if index is None:
        return None, []
    searched = (
        vector.kind in native.kinds
        and vector.metric in native.metrics
        and (native.vectors is None or place < native.vectors)
    )
    if not searched:
        return None, [
            Note(part, Outcome.APPROXIMATED, "no index: searches by it read every record")
        ]
    usual = native.default_index if vector.kind is not VectorKind.SPARSE else None
    kind = index.kind if index.kind in native.indexes else usual
    if kind is None:
        return None, [Note(part, Outcome.APPROXIMATED, f"no {index.kind} here: searches are exact")]
    words = native.indexes.get(kind, frozenset())
    parameters = {key: value for key, value in index.parameters.items() if key in words}
    notes = []
    if kind != index.kind:
        message = f"{index.kind} becomes {kind}: recall and latency differ"
        notes.append(Note(part, Outcome.APPROXIMATED, message))
    notes += [
        Note(f"{part}.{key}", Outcome.APPROXIMATED, "not a parameter here: recall may differ")
        for key in index.parameters
        if key not in words
    ]
    return VectorIndex(kind=kind, parameters=parameters), notes


def _spread_notes(
    spec: CollectionSpec, *, shards: bool = False, replicas: bool = False
) -> Iterator[Note]:
    if not shards and spec.shards not in (None, 1):
        yield Note("shards", Outcome.APPROXIMATED, f"one place instead of {spec.shards} shards")
    if not replicas and spec.replicas not in (None, 1):
        message = f"no copies of its own instead of {spec.replicas}: a lost node is an outage"
        yield Note("replicas", Outcome.LOST, message)


def _section_notes(spec: CollectionSpec, *, engine: str) -> Iterator[Note]:
    for name, section in sorted(spec.engine.items()):
        if name == engine:
            continue
        for key, value in sorted(section.items()):
            if key in BOOKKEEPING or value in (None, [], {}):
                continue
            part = f"engine.{name}.{key}"
            if (name, key) in METADATA:
                yield Note(part, Outcome.APPROXIMATED, METADATA[name, key])
            elif key == "owner":
                yield Note(part, Outcome.APPROXIMATED, "it belongs to who restores it")
            elif key in RULES:
                message = f"not in force here: what {name} enforced by its {key} nobody enforces"
                yield Note(part, Outcome.LOST, message)
            else:
                yield Note(part, Outcome.APPROXIMATED, "the defaults of this engine apply")
