"""A specification is kept, described as it is in force, and fitted to another engine."""

# ruff: noqa: S101 - a suite is made of assertions

from collections.abc import Mapping
from typing import ClassVar

from dr_pipelines.model.collection import CollectionSpec, Vector, VectorIndex
from dr_pipelines.model.compatibility import Outcome
from dr_pipelines.model.parts import PartFinding
from dr_pipelines.planning.parts import compare_parts
from dr_pipelines.protocols import VectorStore
from dr_pipelines.testing.store_promises.given import NAME, filled
from dr_pipelines.testing.store_samples import (
    SPEC,
    document,
    opened,
    record,
    table,
)


class Specifications:
    """The promises of `create`, `describe` and `fit`."""

    engine: ClassVar[str]
    tuned: ClassVar[tuple[CollectionSpec, ...]]
    unreported: ClassVar[Mapping[str, frozenset[str]]]

    def test_a_specification_is_kept_whole(self, store: VectorStore) -> None:
        plain = CollectionSpec(
            name="plain", vectors=(Vector(name="v", dimension=1),), keyword_index=False
        )
        store.create(SPEC)
        store.create(plain)
        assert store.collections() == [NAME, "plain"]
        for spec in (SPEC, plain):
            reported = store.describe(spec.name)
            assert reported.same_contract(spec)
            assert (reported.name, reported.origin) == (spec.name, spec.origin)
            assert self._missing(spec, reported) == []

    def test_every_part_of_a_configuration_reads_back(self, store: VectorStore) -> None:
        assert self.tuned, "declare specifications with other values than the defaults"
        for spec in self.tuned:
            store.create(spec)
            store.build_index(spec.name)
            opened(store, spec.name)
            reported = store.describe(spec.name)
            assert reported.same_contract(spec)
            assert self._missing(spec, reported) == []

    def test_parts_that_are_not_reported_are_those_declared(self, store: VectorStore) -> None:
        for spec in (SPEC, *self.tuned):
            store.create(spec)
            store.build_index(spec.name)
            compared = compare_parts(spec, store.describe(spec.name), engine=self.engine)
            silent = {finding.part for finding in compared if finding.unreported}
            assert silent == self.unreported.get(spec.name, frozenset()), spec.name
        assert {*self.unreported} <= {SPEC.name, *(spec.name for spec in self.tuned)}

    def test_a_description_makes_a_collection_of_that_description(self, store: VectorStore) -> None:
        for number, spec in enumerate((SPEC, *self.tuned)):
            store.create(spec)
            store.build_index(spec.name)
            opened(store, spec.name)
            described = store.describe(spec.name)
            copy = described.physical(f"copy-{number}", origin="copy")
            store.create(copy)
            store.build_index(copy.name)
            opened(store, copy.name)
            again = store.describe(copy.name)
            assert again == copy
            assert self._missing(described, again) == []

    def test_a_description_does_not_change_with_the_records(self, store: VectorStore) -> None:
        filled(store, record("a"))
        store.build_index(NAME)
        before = store.describe(NAME)
        store.write(NAME, table(*document("b", chunks=3)), replaces=["a"])
        store.build_index(NAME)
        assert store.describe(NAME) == before

    def test_sections_of_other_engines_are_kept(self, store: VectorStore) -> None:
        section = {"policies": [{"name": "p", "using": "tenant = 'é'"}], "limits": {"rows": 7}}
        spec = SPEC.model_copy(update={"engine": {"elsewhere": section}})
        store.create(spec)
        store.build_index(NAME)
        assert store.describe(NAME).engine["elsewhere"] == section

    def test_a_collection_of_another_engine_is_fitted(self, store: VectorStore) -> None:
        index = VectorIndex(kind="ivf_unheard_of", parameters={"lists": 7})
        first = SPEC.vectors[0].model_copy(update={"index": index})
        section = {"policies": ["p"], "roles": [{"name": "r"}], "optimizers": {"threads": 2}}
        spec = SPEC.model_copy(
            update={"vectors": (first, *SPEC.vectors[1:]), "engine": {"elsewhere": section}}
        )
        fitted = store.fit(spec)
        outcomes = {note.part: note.outcome for note in fitted.notes}
        assert outcomes["engine.elsewhere.policies"] is Outcome.LOST
        assert outcomes["engine.elsewhere.roles"] is Outcome.LOST
        assert outcomes["engine.elsewhere.optimizers"] is Outcome.APPROXIMATED
        assert outcomes[f"vectors.{first.name}.index"] is Outcome.APPROXIMATED
        lost = ["engine.elsewhere.policies", "engine.elsewhere.roles"]
        assert [note.part for note in fitted.lost] == lost
        assert fitted.spec.same_contract(spec)
        assert store.collections() == []
        store.create(fitted.spec)
        store.build_index(NAME)
        assert self._missing(fitted.spec, store.describe(NAME)) == []
        assert store.fit(store.describe(NAME)).spec.same_contract(spec)

    def _missing(self, expected: CollectionSpec, reported: CollectionSpec) -> list[PartFinding]:
        """Parts that differ from the specification; unreported parts are another test's."""
        compared = compare_parts(expected, reported, engine=self.engine)
        return [finding for finding in compared if not finding.unreported]
