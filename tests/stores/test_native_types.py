"""Types that another engine has in another form are named before anything is written there."""

from dr_pipelines.model.collection import (
    CollectionSpec,
    Field,
    FieldType,
    Vector,
)
from dr_pipelines.model.compatibility import Outcome
from dr_pipelines.stores.engines import notes_on_values
from dr_pipelines.testing.memory_store import MemoryVectorStore
from tests.recovery.test_fitting import adopted, restored

TYPES = {
    "price": "numeric(10,2)",
    "day": "date",
    "scores": "integer[]",
    "plain": "character varying(20)",
    "tags": "text[]",
    "at": "timestamp(3) with time zone",
    "half": "halfvec(2)[]",
    "small": "numeric(3,-2)",
}
SPEC = CollectionSpec(
    name="docs",
    vectors=(Vector(dimension=2),),
    fields=tuple(Field(name=f"{name}_", type=FieldType.STRING) for name in TYPES),
    engine={
        "pgvector": {
            "layout": "table",
            "columns": [
                {"name": "key", "type": "uuid"},
                *({"name": n, "type": t, "as": f"{n}_"} for n, t in TYPES.items()),
            ],
            "constraints": [{"name": "docs_pkey", "definition": 'PRIMARY KEY ("key")'}],
        }
    },
)


def keyed(definition: str) -> CollectionSpec:
    section = SPEC.engine["pgvector"] | {"constraints": [{"name": "k", "definition": definition}]}
    return SPEC.model_copy(update={"engine": {"pgvector": section}, "fields": ()})


def test_types_that_become_texts_are_named() -> None:
    notes = {note.part: note.consequence for note in notes_on_values(SPEC, into="lancedb")}
    assert notes == {
        "fields.price_": "numeric(10,2) in pgvector: a text here, compared and ordered as one",
        "fields.day_": "date in pgvector: a text here, compared and ordered as one",
        "fields.scores_": "integer[] in pgvector: a text here, compared and ordered as one",
        "fields.half_": "halfvec(2)[] in pgvector: a text here, compared and ordered as one",
        "fields.small_": "numeric(3,-2) in pgvector: a text here, compared and ordered as one",
        "ids": "uuid in pgvector: texts here, in bytewise order",
    }
    assert {note.outcome for note in notes_on_values(SPEC, into="lancedb")} == {
        Outcome.APPROXIMATED
    }


def test_its_own_engine_has_them_as_they_were() -> None:
    assert list(notes_on_values(SPEC, into="pgvector")) == []


def test_keys_say_what_ids_were() -> None:
    several = list(notes_on_values(keyed("PRIMARY KEY (price, day)"), into="duckdb"))
    assert [note.consequence for note in several] == [
        "a key of several columns in pgvector: texts here, in bytewise order"
    ]
    for definition in ("PRIMARY KEY (plain) INCLUDE (day)", "UNIQUE (day)"):
        assert list(notes_on_values(keyed(definition), into="duckdb")) == []


def test_qdrant_gives_points_ids_of_its_own() -> None:
    plain = SPEC.model_copy(update={"engine": {}})
    assert [note.part for note in notes_on_values(plain, into="qdrant")] == ["ids"]
    native = plain.model_copy(update={"engine": {"qdrant": {"layout": "foreign"}}})
    assert list(notes_on_values(native, into="qdrant")) == []
    assert list(notes_on_values(native, into="chroma")) == []


class Pointed(MemoryVectorStore):
    """Calls itself what it is not."""

    engine = "qdrant 1.0"


def test_a_plan_for_another_engine_says_it() -> None:
    plan, _ = restored(adopted(MemoryVectorStore()), Pointed(), accept_loss=True)
    assert "ids" in {note.part for note in plan.notes if note.outcome is Outcome.APPROXIMATED}
