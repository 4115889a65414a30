"""Abilities of Chroma for a collection of any engine."""

from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.compatibility import CompatibilityReport, Note, Outcome
from dr_pipelines.stores.chroma.address import Namespace
from dr_pipelines.stores.chroma.schema import ENGINE
from dr_pipelines.stores.chroma.vectors import SPACES
from dr_pipelines.stores.shared.fitting import Native, fit_to

NATIVE = Native(
    engine=ENGINE,
    metrics=frozenset(SPACES),
    indexes={"hnsw": frozenset(["m", "ef_construction", "ef_search"])},
    default_index="hnsw",
    vectors=1,
)


def fitted(spec: CollectionSpec, here: Namespace) -> CompatibilityReport:
    """The forecast for a collection in a tenant's database."""
    report = fit_to(spec, NATIVE)
    section = report.spec.engine.get(ENGINE, {})
    place = {"tenant": here.tenant, "database": here.database}
    if section.get("namespace") in (None, place):
        return report
    engine = {**report.spec.engine, ENGINE: {**section, "namespace": place}}
    reason = f"clients must name tenant {here.tenant!r} and database {here.database!r}"
    note = Note(f"engine.{ENGINE}.namespace", Outcome.APPROXIMATED, reason)
    moved = report.spec.model_copy(update={"engine": engine})
    return CompatibilityReport(moved, (*report.notes, note))
