"""The contract's samples have every type of field, so that each engine is held to each."""

import pytest

from dr_pipelines.model.collection import Field, FieldType
from dr_pipelines.model.query import Contains, Equals, Filter, In, Range
from dr_pipelines.testing.store_promises.filters import MEANT
from dr_pipelines.testing.store_samples import EXTREMES, SPEC, record


def _of_type(kind: FieldType) -> list[Field]:
    return [field for field in SPEC.fields if field.type is kind]


def _names(filter: Filter) -> set[str]:
    return {filter.field} if isinstance(filter, Equals | In | Range | Contains) else set()


@pytest.mark.parametrize("kind", FieldType)
def test_a_field_of_every_type_is_written_with_its_extremes(kind: FieldType) -> None:
    fields = _of_type(kind)
    assert fields != []
    for field in fields:
        usual = record()[field.name]
        assert usual is not None
        assert any(row[field.name] not in (usual, None) for row in EXTREMES), field.name


@pytest.mark.parametrize("kind", FieldType)
def test_a_field_of_every_type_is_filtered(kind: FieldType) -> None:
    names = {field.name for field in _of_type(kind) if field.filterable}
    assert names & set().union(*(_names(comparison) for comparison, _ in MEANT))
