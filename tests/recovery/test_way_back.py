"""A collection that goes through other engines has its vector indexes again when it is back."""

from dataclasses import replace

import pytest

from dr_pipelines.blobs.memory import MemoryBlobStore
from dr_pipelines.model.collection import CollectionSpec, Vector, VectorIndex
from dr_pipelines.model.compatibility import CompatibilityReport, Outcome
from dr_pipelines.model.recovery import Plan
from dr_pipelines.planning.way_back import VECTOR_INDEXES, kept_for_return, taken_up
from dr_pipelines.protocols import VectorStore
from dr_pipelines.recovery.run import recover
from dr_pipelines.testing.memory_witness import MemoryWitness
from dr_pipelines.testing.world import DIMENSION, Process, World
from tests.campaigns.engine_story import SPEC, history
from tests.engines import OpenStore

GRAPH = VectorIndex(kind="hnsw", parameters={"m": 7, "ef_construction": 40, "ef_search": 77})
LISTS = VectorIndex(kind="ivf_pq", parameters={"lists": 1, "sub_vectors": 2, "bits": 4})
PART = "vectors.embedding.index"


def indexed(index: VectorIndex | None) -> CollectionSpec:
    return SPEC.model_copy(update={"vectors": (Vector(dimension=DIMENSION, index=index),)})


def served_from(store: VectorStore, index: VectorIndex) -> Process:
    ids = iter(f"{n:032x}" for n in range(100_000))
    world = World(history(), MemoryBlobStore(), store, MemoryWitness(), lambda: next(ids))
    process = world.process()
    process = replace(process, lineage=replace(process.lineage, spec=indexed(index)))
    assert process.ingest().unapplied is None
    return process


def moved(process: Process, store: VectorStore) -> tuple[Process, Plan]:
    """The collection after a backup, a restore into another store and a switch to it."""
    point = process.point(f"log:{process.backup().number}")
    request = process.request(f"log:{point.number}", switch=True, accept_loss=True)
    resources = replace(process.resources(), store=store, store_name=store.engine)
    done = recover(request.model_copy(update={"store": store.engine}), resources)
    assert done.missing == ()
    return replace(process, store=store), done.plan


def said_of_indexes(plan: Plan) -> dict[str, Outcome]:
    return {note.part: note.outcome for note in plan.notes if note.part.startswith(PART)}


@pytest.mark.parametrize(
    ("first", "index", "others"),
    [
        ("pgvector", GRAPH, ("lancedb", "memory", "duckdb")),
        ("lancedb", LISTS, ("pgvector", "duckdb", "memory")),
        ("memory", GRAPH, ("lancedb", "pgvector", "duckdb")),
    ],
)
def test_indexes_are_there_again_after_four_hops(
    first: str, index: VectorIndex, others: tuple[str, ...], open_store: OpenStore
) -> None:
    process = served_from(open_store(first), index)
    before = process.store.describe("notes").vectors
    for engine in others:
        process, plan = moved(process, open_store(engine))
        assert said_of_indexes(plan)[PART] is Outcome.APPROXIMATED
    process, plan = moved(process, open_store(first))
    assert said_of_indexes(plan) == {PART: Outcome.CARRIED}
    assert process.store.describe("notes").vectors == before
    assert before[0].index is not None
    assert before[0].index.parameters.items() >= index.parameters.items()


def test_an_index_is_kept_only_where_another_one_or_none_takes_its_place() -> None:
    spec, bare = indexed(GRAPH), indexed(None)
    assert kept_for_return(
        CompatibilityReport(spec), spec, origin="a", engine="b"
    ) == CompatibilityReport(spec)
    assert kept_for_return(
        CompatibilityReport(bare), spec, origin="", engine="b"
    ) == CompatibilityReport(bare)
    assert kept_for_return(
        CompatibilityReport(bare), spec, origin="b", engine="b"
    ) == CompatibilityReport(bare)
    noted = kept_for_return(CompatibilityReport(bare), spec, origin="a", engine="b").spec
    assert noted.engine == {"a": {VECTOR_INDEXES: {"embedding": GRAPH.model_dump(mode="json")}}}
    assert noted.vectors == bare.vectors
    assert taken_up(noted, engine="b") == noted
    assert taken_up(noted, engine="a") == spec


@pytest.mark.parametrize("noted", ["no mapping", {"embedding": 7}, {"gone": {"kind": "hnsw"}}])
def test_what_is_no_index_is_not_taken_for_one(noted: object) -> None:
    section = {"a": {VECTOR_INDEXES: noted, "storage": {"fill": 70}}}
    spec = indexed(GRAPH).model_copy(update={"engine": section})
    taken = taken_up(spec, engine="a")
    assert taken.vectors == spec.vectors
    assert taken.engine == {"a": {"storage": {"fill": 70}}}
    assert kept_for_return(CompatibilityReport(taken), spec, origin="a", engine="a").notes == ()
