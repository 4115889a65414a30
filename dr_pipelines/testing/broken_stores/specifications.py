"""Stores that describe another collection than they were given, or fit one wrongly."""

from dataclasses import replace
from typing import Any

from dr_pipelines.model.collection import CollectionSpec, VectorIndex
from dr_pipelines.model.compatibility import CompatibilityReport
from dr_pipelines.planning.parts import UNREPORTED, compare_parts
from dr_pipelines.testing.memory_store import MemoryVectorStore

NOTHING: dict[str, Any] = {
    "vectors": (),
    "fields": (),
    "keyword_index": None,
    "shards": None,
    "replicas": None,
    "engine": {},
}
"""Every part is missing from a specification that is changed to this."""


class ForgetsTheOrigin(MemoryVectorStore):
    """Where the collection came from is not kept."""

    def describe(self, name: str) -> CollectionSpec:
        return super().describe(name).model_copy(update={"origin": None})


class DropsSectionsOfOthers(MemoryVectorStore):
    """Of the sections of engines only its own is kept."""

    def describe(self, name: str) -> CollectionSpec:
        spec = super().describe(name)
        own = {key: section for key, section in spec.engine.items() if key == "memory"}
        return spec.model_copy(update={"engine": own})


class LosesTheParametersOfIndexes(MemoryVectorStore):
    """Of an index only its kind is kept."""

    def describe(self, name: str) -> CollectionSpec:
        spec = super().describe(name)
        bare = tuple(
            vector.model_copy(
                update={"index": vector.index and VectorIndex(kind=vector.index.kind)}
            )
            for vector in spec.vectors
        )
        return spec.model_copy(update={"vectors": bare})


class EchoesWhatItWasAskedFor(MemoryVectorStore):
    """Every part is described as it was asked for, and none as it is in force."""

    def describe(self, name: str) -> CollectionSpec:
        spec = super().describe(name)
        compared = compare_parts(spec, spec.model_copy(update=NOTHING), engine="memory")
        section = {
            **spec.engine.get("memory", {}),
            UNREPORTED: [finding.part for finding in compared],
        }
        return spec.model_copy(update={"engine": {**spec.engine, "memory": section}})


class LosesAPartOfItsSection(MemoryVectorStore):
    """The first entry of its own section is not kept."""

    def describe(self, name: str) -> CollectionSpec:
        spec = super().describe(name)
        section = dict(list(spec.engine.get("memory", {}).items())[1:])
        return spec.model_copy(update={"engine": {**spec.engine, "memory": section}})


class ForgetsReplicas(MemoryVectorStore):
    """The number of replicas is not kept."""

    def describe(self, name: str) -> CollectionSpec:
        return super().describe(name).model_copy(update={"replicas": None})


class DescribesWhatChangesByItself(MemoryVectorStore):
    """Every description is another one, and so what is made of it."""

    _described = 0

    def describe(self, name: str) -> CollectionSpec:
        self._described += 1
        spec = super().describe(name)
        section = {**spec.engine.get("memory", {}), "described": self._described}
        return spec.model_copy(update={"engine": {**spec.engine, "memory": section}})


class DescribesItsSize(MemoryVectorStore):
    """A description holds the number of records, and so changes with them."""

    def describe(self, name: str) -> CollectionSpec:
        spec = super().describe(name)
        section = {**spec.engine.get("memory", {}), "rows": self.status(name).records}
        return spec.model_copy(update={"engine": {**spec.engine, "memory": section}})


class SaysThatEverythingFits(MemoryVectorStore):
    """Policies of another engine would not be in force, and nobody is told."""

    def fit(self, spec: CollectionSpec) -> CompatibilityReport:
        return CompatibilityReport(spec)


class FitsByLosingAVector(MemoryVectorStore):
    """Of the vectors of a collection only the first is kept."""

    def fit(self, spec: CollectionSpec) -> CompatibilityReport:
        fit = super().fit(spec)
        return replace(fit, spec=fit.spec.model_copy(update={"vectors": fit.spec.vectors[:1]}))


BROKEN: dict[type[MemoryVectorStore], str] = {
    ForgetsTheOrigin: "test_a_specification_is_kept_whole",
    DropsSectionsOfOthers: "test_sections_of_other_engines_are_kept",
    LosesTheParametersOfIndexes: "test_every_part_of_a_configuration_reads_back",
    EchoesWhatItWasAskedFor: "test_parts_that_are_not_reported_are_those_declared",
    LosesAPartOfItsSection: "test_every_part_of_a_configuration_reads_back",
    ForgetsReplicas: "test_every_part_of_a_configuration_reads_back",
    DescribesWhatChangesByItself: "test_a_description_makes_a_collection_of_that_description",
    DescribesItsSize: "test_a_description_does_not_change_with_the_records",
    SaysThatEverythingFits: "test_a_collection_of_another_engine_is_fitted",
    FitsByLosingAVector: "test_a_collection_of_another_engine_is_fitted",
}
"""Each broken store and the test of the contract that catches it."""
