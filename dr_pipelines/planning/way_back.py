"""Vector indexes that another engine replaces or drops, kept for a way back to where they were."""

from contextlib import suppress

from pydantic import ValidationError

from dr_pipelines.model.collection import CollectionSpec, VectorIndex
from dr_pipelines.model.compatibility import CompatibilityReport, Note, Outcome

VECTOR_INDEXES = "vector_indexes"
"""Key of an engine's section, in other engines only: the indexes that vectors had there, by name of
the vector."""


def taken_up(spec: CollectionSpec, *, engine: str) -> CollectionSpec:
    """The specification with the indexes that its vectors last had in `engine`, where they were
    kept for it."""
    if VECTOR_INDEXES not in spec.engine.get(engine, {}):
        return spec
    noted = _noted_indexes(spec, engine)
    vectors = tuple(
        v.model_copy(update={"index": noted.get(v.name, v.index)}) for v in spec.vectors
    )
    section = {k: value for k, value in spec.engine[engine].items() if k != VECTOR_INDEXES}
    sections = {name: value for name, value in spec.engine.items() if name != engine}
    sections |= {engine: section} if section else {}
    return spec.model_copy(update={"vectors": vectors, "engine": sections})


def kept_for_return(
    fit: CompatibilityReport, spec: CollectionSpec, *, origin: str, engine: str
) -> CompatibilityReport:
    """The fit for `engine`, with every index of `spec` that it replaces or drops in the section of
    `origin`, and a note for every one that had been kept for `engine`.

    Nothing is kept for the engine itself, whose section is what it has in force.
    """
    fitted = {vector.name: vector.index for vector in fit.spec.vectors}
    replaced = {
        vector.name: vector.index.model_dump(mode="json")
        for vector in spec.vectors
        if vector.index is not None and fitted.get(vector.name) != vector.index
    }
    notes = (*fit.notes, *_returned(fit, spec, engine=engine))
    if not replaced or origin in ("", engine):
        return CompatibilityReport(fit.spec, notes)
    section = fit.spec.engine.get(origin, {}) | {VECTOR_INDEXES: replaced}
    sections = fit.spec.engine | {origin: section}
    return CompatibilityReport(fit.spec.model_copy(update={"engine": sections}), notes)


def _returned(fit: CompatibilityReport, spec: CollectionSpec, *, engine: str) -> list[Note]:
    noted = _noted_indexes(spec, engine)
    return [
        Note(
            f"vectors.{v.name}.index",
            Outcome.CARRIED,
            f"{v.index.kind}, as it last was in {engine}",
        )
        for v in fit.spec.vectors
        if v.index is not None and v.index == noted.get(v.name)
    ]


def _noted_indexes(spec: CollectionSpec, engine: str) -> dict[str, VectorIndex]:
    """By name of the vector. What somebody wrote there that is no index is left out."""
    section = spec.engine.get(engine, {}).get(VECTOR_INDEXES)
    indexes = {}
    for name, index in section.items() if isinstance(section, dict) else ():
        with suppress(ValidationError):
            indexes[name] = VectorIndex.model_validate(index)
    return indexes
