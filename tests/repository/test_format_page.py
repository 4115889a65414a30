"""docs/format.md is whole: it names every field that is stored."""

import re
from collections.abc import Iterator
from typing import get_args

import pytest
from pydantic import BaseModel

from dr_pipelines.model.canaries import Canaries
from dr_pipelines.model.collection import FieldType, VectorKind, VectorType
from dr_pipelines.model.details import DETAILS, EVIDENCE
from dr_pipelines.model.record import CHANGE_SCHEMA, Presence, chunk_schema, segment_schema
from dr_pipelines.model.recovery_point import (
    KNOWN_ENCODINGS,
    KeptVersion,
    LogEntry,
    Manifest,
    SegmentKind,
    SegmentRef,
)
from dr_pipelines.model.reserved import RESERVED, RESERVED_EVIDENCE
from dr_pipelines.repository.repository import Identity
from tests.named import ROOT
from tests.repository.builders import SPEC

PAGE = (ROOT / "docs" / "format.md").read_text(encoding="utf-8")
WORDS = {
    word
    for span in re.findall(r"`([^`]+)`|```\n(.*?)```", PAGE, re.DOTALL)
    for part in span
    for word in re.findall(r"[\w-]+(?:\+\w+)?", part)
}
"""In code."""
DETAIL_TYPES = {
    kind: model
    for models in (DETAILS, EVIDENCE, RESERVED, RESERVED_EVIDENCE)
    for kind, model in models.items()
}
ROOTS: tuple[type[BaseModel], ...] = (
    *(Identity, LogEntry, Manifest, SegmentRef, Canaries, KeptVersion),
    *DETAIL_TYPES.values(),
)


def fields(model: type[BaseModel]) -> Iterator[str]:
    schema = model.model_json_schema()
    for part in (schema, *schema.get("$defs", {}).values()):
        yield from part.get("properties", ())


@pytest.mark.parametrize("model", ROOTS, ids=lambda model: model.__name__)
def test_every_field_is_on_the_page(model: type[BaseModel]) -> None:
    assert set(fields(model)) - WORDS == set()


def test_every_word_with_a_meaning_is_on_the_page() -> None:
    kinds = {*DETAIL_TYPES, *get_args(SegmentKind), *KNOWN_ENCODINGS, *VectorKind, *VectorType}
    assert kinds - WORDS <= {"float32"}
    assert {Presence.PRESENT, Presence.DELETED, Presence.ABSENT} <= WORDS
    assert {name for kind in FieldType for name in re.findall(r"\w+", kind)} <= WORDS


def test_every_column_is_on_the_page_in_its_order() -> None:
    declared = {field.name for field in (*SPEC.fields, *SPEC.vectors)}  # type: ignore[attr-defined]
    columns = [name for name in segment_schema(SPEC).names if name not in declared]
    table = PAGE[PAGE.index("Columns, in this order:") :]
    places = [re.search(rf"\b{name}\b", table) for name in columns]
    assert None not in places
    starts = [place.start() for place in places if place]
    assert starts == sorted(starts)
    assert {*chunk_schema(SPEC).names, *CHANGE_SCHEMA.names} - declared <= WORDS
