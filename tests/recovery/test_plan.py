"""A recovery's plan is a value, decided from facts alone: whatever stands in its way is in it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from dr_pipelines.blobs.memory import MemoryBlobStore
from dr_pipelines.chunkers.simple import WholeDocumentChunker
from dr_pipelines.errors import DrError, Refused
from dr_pipelines.model.compatibility import Note, Outcome
from dr_pipelines.model.definitions import Call, Definitions, Statement
from dr_pipelines.model.recovery import Facts, Plan, Request, Route
from dr_pipelines.planning.plan import decide
from dr_pipelines.planning.refusals import require_possible, require_runnable
from dr_pipelines.recovery.plan import gather, plan_recovery
from dr_pipelines.recovery.run import run_recovery
from dr_pipelines.testing.blob_faults import Recording
from dr_pipelines.testing.memory_store import MemoryVectorStore
from dr_pipelines.testing.memory_witness import MemoryWitness
from dr_pipelines.testing.world import COLLECTION, START, STORE_NAME, ListedSource, Process, World

CALL = Call("policy p", "public.f(integer)", "is somebody's")


@pytest.fixture
def blobs() -> Recording:
    return Recording(MemoryBlobStore())


@pytest.fixture
def process(blobs: Recording) -> Process:
    source = ListedSource()
    source.upsert("a", "first of all", at=START, title="A")
    source.upsert("b", "second", at=START)
    ids = iter(f"{n:032x}" for n in range(100_000))
    store = MemoryVectorStore()
    world = World(source, blobs, store, MemoryWitness(), lambda: next(ids))
    process = world.process()
    process.ingest()
    process.backup()
    return process


def facts_of(process: Process, **request: Any) -> Facts:
    return gather(process.request(**request), process.resources())


def without_chunks(facts: Facts) -> Facts:
    point = facts.point.model_copy(update={"chunks": ()})
    return facts.model_copy(update={"point": point})


def with_a_loss(facts: Facts) -> Facts:
    fitted = replace(facts.fitted, notes=(Note("replicas", Outcome.LOST, "one copy"),))
    return facts.model_copy(update={"fitted": fitted})


def with_code(facts: Facts) -> Facts:
    statement = Statement("CREATE POLICY p", "rights", (CALL,))
    definitions = Definitions(facts.fitted.spec, (statement,), (CALL,))
    return facts.model_copy(update={"definitions": definitions})


def taken(name: str) -> Callable[[Facts], Facts]:
    def change(facts: Facts) -> Facts:
        origins = {**facts.store.origins, name: None}
        return facts.model_copy(
            update={"store": facts.store.model_copy(update={"origins": origins})}
        )

    return change


def as_they_are(facts: Facts) -> Facts:
    return facts


REFUSALS: dict[str, tuple[dict[str, Any], Callable[[Facts], Facts], str, str, str]] = {
    "no embedder": (
        {"route": Route.REPLAY},
        lambda facts: facts.model_copy(update={"maker": None}),
        "route",
        "InvalidRequest",
        "needs an embedder",
    ),
    "no chunks": ({"route": Route.REPLAY}, without_chunks, "route", "Refused", "no chunks were"),
    "no files": ({"route": Route.NATIVE}, as_they_are, "route", "Refused", "no files of memory"),
    "an embedder for load": (
        {"embedder": "other"},
        as_they_are,
        "route",
        "InvalidRequest",
        "--embedder is for --route replay",
    ),
    "no name": ({"into": "a b"}, as_they_are, "name", "InvalidRequest", "expected letters"),
    "an alias": ({"into": COLLECTION}, as_they_are, "name", "AlreadyExists", "is an alias"),
    "somebody else's": (
        {"into": "mine"},
        taken("mine"),
        "name",
        "AlreadyExists",
        "built from something else",
    ),
    "a collection itself": (
        {"switch": True},
        taken(COLLECTION),
        "name",
        "Refused",
        "not an alias that could be moved",
    ),
    "a loss": ({}, with_a_loss, "loss", "Refused", "replicas: one copy. --accept-loss"),
    "code": ({}, with_code, "code", "Refused", "public.f(integer)"),
    "other code": (
        {"accept_code": "0" * 64},
        with_code,
        "code",
        "Refused",
        "not what the digest that was given stands for",
    ),
}


@pytest.mark.parametrize("why", REFUSALS)
def test_whatever_stands_in_the_way_is_a_field(process: Process, why: str) -> None:
    request, change, about, error, message = REFUSALS[why]
    plan = decide(process.request(**request), change(facts_of(process, **request)))
    (refusal,) = plan.refusals
    assert (refusal.about, refusal.error) == (about, error)
    assert message in refusal.message
    before = process.store.collections()
    with pytest.raises(DrError) as raised:
        run_recovery(plan, process.resources())
    assert (type(raised.value).__name__, str(raised.value)) == (error, refusal.message)
    assert process.store.collections() == before


def test_the_served_collection_is_a_refusal(process: Process) -> None:
    served = process.store.aliases()[COLLECTION]
    plan = plan_recovery(process.request(into=served), process.resources())
    (refusal,) = plan.refusals
    assert (refusal.about, refusal.error) == ("name", "Refused")
    assert "is being served" in refusal.message


def test_chunks_of_another_chunker_are_a_refusal_before_anything_is_made(process: Process) -> None:
    lineage = replace(process.lineage, chunker=WholeDocumentChunker())
    resources = replace(process.resources(), lineage=lineage)
    plan = plan_recovery(process.request(route=Route.REPLAY), resources)
    (refusal,) = plan.refusals
    assert "another source or chunker" in refusal.message


def test_every_refusal_is_there_at_once(process: Process) -> None:
    request: dict[str, Any] = {"route": Route.NATIVE, "into": COLLECTION}
    facts = with_code(with_a_loss(facts_of(process, **request)))
    plan = decide(process.request(**request), facts)
    assert [refusal.about for refusal in plan.refusals] == ["route", "name", "loss", "code"]


def test_consent_lifts_a_loss_and_code_and_nothing_else(process: Process) -> None:
    facts = with_code(with_a_loss(facts_of(process)))
    refused = decide(process.request(), facts)
    require_possible(refused)
    with pytest.raises(Refused, match="would be lost"):
        require_runnable(refused)
    assert facts.definitions is not None
    consent: dict[str, Any] = {"accept_loss": True, "accept_code": facts.definitions.digest}
    plan = decide(process.request(**consent), facts)
    assert plan.refusals == ()
    assert [note.part for note in plan.losses] == ["replicas"]
    assert plan.definitions is not None
    assert plan.definitions.code == (CALL,)
    impossible = decide(process.request(into="a b", **consent), facts)
    with pytest.raises(DrError, match="expected letters"):
        require_possible(impossible)


@pytest.mark.parametrize("route", ["load", "replay", "native", "auto"])
def test_equal_facts_give_equal_bytes(process: Process, route: str) -> None:
    request = Request.model_validate(process.request().model_dump() | {"route": route})
    facts = gather(request, process.resources())
    saved = Facts.model_validate_json(facts.model_dump_json())
    assert saved == facts
    again = Request.model_validate_json(request.model_dump_json())
    plan = decide(request, with_code(facts))
    assert decide(again, with_code(saved)).model_dump_json() == plan.model_dump_json()
    assert Plan.model_validate_json(plan.model_dump_json()) == plan


def test_the_order_in_which_a_store_lists_things_is_in_no_plan(process: Process) -> None:
    facts = taken("z")(taken("y")(facts_of(process)))
    store = facts.store.model_copy(update={"origins": dict(reversed(facts.store.origins.items()))})
    other = facts.model_copy(update={"store": store})
    request = process.request()
    assert decide(request, other).model_dump_json() == decide(request, facts).model_dump_json()


def test_a_plan_from_a_file_is_carried_out_as_it_was_made(process: Process) -> None:
    plan = plan_recovery(process.request("latest", switch=True), process.resources())
    read = Plan.model_validate_json(plan.model_dump_json())
    process.backup()  # another point is the newest by now
    done = run_recovery(read, process.resources())
    assert (done.plan, done.bit_identical, done.switched) == (plan, True, True)
    assert process.store.aliases()[COLLECTION] == plan.physical


def test_a_plan_is_not_carried_out_with_another_model_or_store(process: Process) -> None:
    plan = plan_recovery(process.request(route=Route.REPLAY), process.resources())
    for lineage in (None, replace(process.lineage, chunker=WholeDocumentChunker())):
        with pytest.raises(Refused, match="Make the plan again"):
            run_recovery(plan, replace(process.resources(), lineage=lineage))
    with pytest.raises(DrError, match=f"for store '{STORE_NAME}', not 'elsewhere'"):
        run_recovery(plan, replace(process.resources(), store_name="elsewhere"))


def test_a_plan_of_a_log_that_was_rewritten_is_not_carried_out(process: Process) -> None:
    plan = plan_recovery(process.request(), process.resources())
    other = plan.model_copy(update={"sha256": "0" * 64})
    with pytest.raises(DrError, match="the log was rewritten"):
        run_recovery(other, process.resources())
    assert process.store.collections() == [process.store.aliases()[COLLECTION]]


def test_the_newest_manifest_is_read_once(process: Process, blobs: Recording) -> None:
    blobs.calls.clear()
    plan_recovery(process.request(at="latest"), process.resources())
    keys = [call.key for call in blobs.calls if call.name == "read"]
    assert sum("/manifests/" in key for key in keys) == 1
