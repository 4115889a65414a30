"""The forecast for a collection of any engine in Qdrant, and for the variants that lack
something."""

from collections.abc import Iterator

from dr_pipelines.model.collection import CollectionSpec, Vector, VectorKind
from dr_pipelines.model.compatibility import CompatibilityReport, Note, Outcome
from dr_pipelines.stores.qdrant import schema, sections
from dr_pipelines.stores.qdrant.variant import Variant
from dr_pipelines.stores.shared.fitting import RULES, Native, fit_to


def fit(spec: CollectionSpec, variant: Variant) -> CompatibilityReport:
    """Columns are always carried; the rest by what the variant has in force."""
    plain = spec.model_copy(update={"vectors": tuple(_without_index(v) for v in spec.vectors)})
    native = Native(
        engine=sections.ENGINE,
        metrics=frozenset(schema.DISTANCES),
        dtypes=frozenset(schema.DATATYPES),
        kinds=frozenset(VectorKind),
        indexes={schema.HNSW: frozenset(schema.NAMES)},
        default_index=schema.HNSW,
        shards="shard_number" not in variant.silent,
        replicas="replication_factor" not in variant.silent,
    )
    fitted = fit_to(plain, native)
    return CompatibilityReport(
        fitted.spec, (*_sparse_notes(spec), *fitted.notes, *_lacking(spec, variant))
    )


def _without_index(vector: Vector) -> Vector:
    sparse = vector.kind is VectorKind.SPARSE
    return vector.model_copy(update={"index": None}) if sparse else vector


def _sparse_notes(spec: CollectionSpec) -> Iterator[Note]:
    for vector in spec.vectors:
        if vector.kind is VectorKind.SPARSE and vector.index is not None:
            message = "sparse vectors have Qdrant's own inverted index, which misses nothing"
            yield Note(f"vectors.{vector.name}.index", Outcome.APPROXIMATED, message)


def _lacking(spec: CollectionSpec, variant: Variant) -> Iterator[Note]:
    """Parts of another Qdrant that this one keeps and does not apply."""
    section = schema.section_of(spec)
    config = sections.unpacked(section)
    paths = [
        path for path in variant.silent if sections.value_at(config, path) not in (None, {}, [])
    ]
    for part in sorted({sections.part_of(path) for path in paths}):
        outcome = Outcome.LOST if part.rpartition(".")[2] in RULES else Outcome.APPROXIMATED
        yield Note(
            part, outcome, f"kept for a way back; not in force, or in part, in {variant.variant}"
        )


def rounding(spec: CollectionSpec) -> tuple[Note, ...]:
    """A note for each vector that the engine keeps in a form that it rounds to whenever it is
    written: what is read is not what was given, and what is given is not what will be read."""
    vectors = spec.engine.get("qdrant", {}).get("storage", {}).get("vectors", {})
    datatypes = {name: str(entry.get("datatype", "")) for name, entry in vectors.items()}
    return tuple(
        Note(
            f"vectors.{name}",
            Outcome.REFUSED,
            f"kept as {datatype}, which Qdrant rounds to at every write: a restore into Qdrant is "
            "not proven equal. Restore into another engine, or keep them as float32",
        )
        for name, datatype in sorted(datatypes.items())
        if datatype.startswith("turbo")
    )
