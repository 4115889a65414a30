"""The plan for an incident: which point and route, and what is promised."""

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dr_pipelines.model.incident import (
    Candidate,
    CollectionFact,
    DocumentFact,
    Incident,
    IncidentKind,
    ModelFact,
    SavedFacts,
    SourceFact,
    StorePlace,
    Trouble,
)
from dr_pipelines.model.recovery_plan import CollectionPlan
from dr_pipelines.planning.plan_page import page
from dr_pipelines.planning.recovery_plan import plan_incident
from tests.planning.plan_samples import (
    MAKER,
    NOON,
    collection,
    measured,
    restore_facts,
    saved,
    state,
)

SINCE = NOON - timedelta(hours=50, minutes=30)
"""Between log:49 and log:50."""


def only(facts: SavedFacts) -> CollectionPlan:
    (plan,) = plan_incident(facts).collections
    return plan


def at(number: int, fact: CollectionFact) -> CollectionFact:
    """With what a restore of a point depends on."""
    candidate = Candidate(number=number, store="local", direct=restore_facts(fact.name, number))
    return fact.model_copy(update={"candidates": (candidate,)})


@settings(max_examples=20, deadline=None)
@given(
    kind=st.sampled_from(["collection", "store", "wrong-embeddings", "repository-site"]),
    seconds=st.floats(0.1, 1_000),
    measurements=st.integers(0, 6),
    order=st.permutations(["c0", "c1", "c2"]),
)
def test_equal_facts_give_equal_bytes(
    kind: IncidentKind, seconds: float, measurements: int, order: list[str]
) -> None:
    incident = Incident(kind=kind)
    facts = [
        collection(name, points=12, seconds=seconds, measurements=measurements) for name in order
    ]
    first = saved(*facts, incident=incident)
    again = SavedFacts.model_validate_json(first.canonical())
    plan = plan_incident(first)
    assert plan.canonical() == plan_incident(again).canonical()
    assert page(plan) == page(plan_incident(again))
    assert [c.collection for c in plan.collections] == ["c0", "c1", "c2"], "not as they came"
    assert json.loads(plan.canonical())["facts"] == first.fingerprint


@pytest.mark.parametrize(
    ("incident", "number", "excluded"),
    [
        (Incident(kind="collection"), 99, []),
        (Incident(kind="store", store="local"), 99, []),
        (Incident(kind="corruption-since", since=SINCE), 49, [(50, 99)]),
        (Incident(kind="bad-batch", collections=("c0",), entries=(70, 60)), 59, [(60, 99)]),
        (Incident(kind="wrong-schema", since=SINCE), 49, [(50, 99)]),
        (Incident(kind="documents", collections=("c0",), documents=("a",)), 30, [(31, 99)]),
    ],
    ids=lambda value: value.kind if isinstance(value, Incident) else None,
)
def test_the_newest_point_that_the_incident_has_not_reached(
    incident: Incident, number: int, excluded: list[tuple[int, int]]
) -> None:
    fact = at(number, collection()).model_copy(
        update={"documents": (DocumentFact(id="a", number=30),)}
    )
    plan = only(saved(fact, incident=incident))
    assert plan.point is not None
    assert plan.point.number == number
    assert [(e.first, e.last) for e in plan.excluded] == excluded
    assert all(e.reason for e in plan.excluded)
    assert plan.request is not None
    assert (plan.request.at, plan.request.switch) == (
        f"log:{number}",
        incident.kind != "documents",
    )


def test_without_a_time_a_wrong_schema_ends_where_it_began() -> None:
    fact = at(40, collection())
    states = tuple(
        state(n, spec="spec" if n <= 40 else "other") for n in range(1, len(fact.states) + 1)
    )
    fact = fact.model_copy(update={"states": states})
    plan = only(saved(fact, incident=Incident(kind="wrong-schema")))
    assert plan.point is not None
    assert plan.point.number == 40


NO_MODEL = ModelFact(name="m", problem="the model is not on this machine")


@pytest.mark.parametrize("files", [False, True], ids=["load", "native"])
@pytest.mark.parametrize(
    ("since", "at", "model", "number", "route"),
    [
        (None, "latest", None, 99, "replay"),
        (SINCE, "latest", None, 99, "replay"),
        (SINCE, "latest", NO_MODEL, 49, "kept"),
        (None, "latest", NO_MODEL, 99, None),
        (SINCE, "log:30", None, 30, "kept"),
    ],
)
def test_wrong_vectors_are_never_served(
    since: Any, at: str, model: ModelFact | None, number: int, route: str | None, files: bool
) -> None:
    """Kept vectors and files come from a point before the damage alone."""
    fact = collection()
    direct = restore_facts("c0", number, files=files)
    candidate = Candidate(
        number=number,
        store="local",
        direct=direct,
        remade=None if model else direct.model_copy(update={"maker": MAKER, "files": False}),
    )
    fact = fact.model_copy(
        update={
            "candidates": (candidate,),
            "targets": {at: candidate},
            "model": model or fact.model,
        }
    )
    plan = only(saved(fact, incident=Incident(kind="wrong-embeddings", since=since, at=at)))
    direct_route = "native" if files else "load"
    assert plan.point is not None
    assert (plan.point.number, plan.route) == (
        number,
        direct_route if route == "kept" else route,
    )
    feasible = {r.route: r.feasible for r in plan.routes}
    assert (feasible["load"], feasible["native"] and not files) == (route == "kept", False)


@pytest.mark.parametrize("entries", [(9_999,), (0,), (60, 100), (2, 51)])
def test_an_entry_that_brought_nothing_is_no_bad_batch(entries: tuple[int, ...]) -> None:
    fact = collection()
    points = tuple(
        p.model_copy(update={"state": 49, "kind": "evidence"}) if p.number == 51 else p
        for p in fact.points
    )
    fact = fact.model_copy(update={"points": points})
    incident = Incident(kind="bad-batch", collections=("c0",), entries=entries)
    assert_nothing_is_planned(saved(fact, incident=incident), f"log:{entries[-1]} ")


def assert_nothing_is_planned(facts: SavedFacts, reason: str) -> None:
    plan = only(facts)
    assert (plan.point, plan.route, plan.request, plan.commands) == (None, None, None, ())
    assert reason in plan.no_point
    assert plan.loss.seconds is None
    assert [o.outlook for o in plan.objectives] == ["not met", "not met"]


@pytest.mark.parametrize(
    "incident",
    [
        Incident(kind="bad-batch", collections=("c0",), entries=(60,), at="log:70"),
        Incident(kind="corruption-since", collections=("c0",), since=SINCE, at="log:70"),
        Incident(kind="wrong-schema", collections=("c0",), since=SINCE, at="log:70"),
        Incident(kind="wrong-schema", collections=("c0",), at="log:70"),
        Incident(kind="documents", collections=("c0",), documents=("a",), at="log:70"),
    ],
    ids=lambda incident: incident.kind,
)
def test_a_named_point_that_the_incident_spoiled_is_refused(incident: Incident) -> None:
    fact = at(70, collection())
    update = {
        "targets": {"log:70": fact.candidates[0]},
        "documents": (DocumentFact(id="a", number=30),),
    }
    facts = saved(fact.model_copy(update=update), incident=incident)
    assert_nothing_is_planned(facts, "log:70 is log:70: it ")


def test_documents_that_were_gone_before_the_others_are_named() -> None:
    documents = (
        DocumentFact(id="a", number=3),
        DocumentFact(id="b", number=9),
        DocumentFact(id="c"),
    )
    fact = at(9, collection()).model_copy(update={"documents": documents})
    incident = Incident(kind="documents", collections=("c0",), documents=("a", "b", "c"))
    plan = only(saved(fact, incident=incident))
    assert plan.point is not None
    assert plan.point.number == 9
    first = plan.point.reasons[0]
    assert first.startswith("log:9 is the newest that has b; a is not in it: it was last in log:3")
    assert first.endswith("c is in no point: check the id")


def test_documents_in_no_point_are_no_reason_to_begin_anew() -> None:
    fact = collection().model_copy(update={"documents": (DocumentFact(id="nosuch"),)})
    incident = Incident(kind="documents", collections=("c0",), documents=("nosuch",))
    assert_nothing_is_planned(saved(fact, incident=incident), "check the ids (nosuch)")


def test_a_source_that_cannot_be_embedded_now_makes_up_for_nothing() -> None:
    plan = only(saved(collection().model_copy(update={"model": NO_MODEL})))
    assert plan.loss.seconds == 3_600.0
    assert "cannot read the source again now: the model is not on this machine" in plan.loss.reason


def test_the_site_of_the_repository_lost_meets_no_objective() -> None:
    plan = only(saved(collection(), incident=Incident(kind="repository-site")))
    assert (plan.loss.seconds, plan.objectives[0].outlook) == (None, "not met")


def test_a_damaged_point_is_passed_over_by_name() -> None:
    fact = at(98, collection())
    broken = Candidate(number=99, store="local", damage="1 objects are not there: x")
    fact = fact.model_copy(update={"candidates": (broken, *fact.candidates)})
    plan = only(saved(fact))
    assert plan.point is not None
    assert plan.point.number == 98
    assert [(e.first, e.reason) for e in plan.excluded] == [
        (99, "damaged: 1 objects are not there: x")
    ]
    assert plan.point.reasons[0] == "the newest point, but for those that are damaged"


def test_every_point_damaged_is_no_plan() -> None:
    fact = collection(points=1)
    broken = Candidate(number=1, store="local", damage="gone")
    made = plan_incident(saved(fact.model_copy(update={"candidates": (broken,)})))
    (plan,) = made.collections
    assert (plan.point, plan.request, made.feasible) == (None, None, False)
    assert plan.route == "reingest", "the source can still be read"


def test_an_objective_is_promised_only_where_the_upper_bound_is_within_it() -> None:
    fact = collection(seconds=45.0)
    plan = only(saved(fact))
    assert plan.ready is not None
    assert plan.ready.expected < 60 < plan.ready.high, "the case that is to be decided"
    _, rto = plan.objectives
    assert (rto.outlook, bool(rto.would_meet)) == ("not met", True)
    _, rto = only(saved(collection(seconds=10.0))).objectives
    assert rto.outlook == "will be met"


def test_people_need_their_share_of_the_objective() -> None:
    fact = collection(seconds=10.0).model_copy(update={"allowance_seconds": 50.0})
    _, rto = only(saved(fact)).objectives
    assert (rto.outlook, "people need 50 s" in rto.reason) == ("not met", True)


@pytest.mark.parametrize("measurements", range(3))
def test_fewer_than_three_measurements_are_not_measured(measurements: int) -> None:
    plan = only(saved(collection(measurements=measurements)))
    assert (plan.span, plan.ready, plan.measurements) == (None, None, measurements)
    _, rto = plan.objectives
    assert rto.outlook == "not measured"
    assert f"{3 - measurements} more restores" in rto.would_meet


def test_recoveries_of_another_route_engine_or_dimension_are_no_measurements() -> None:
    others = [
        measured("c0", 1_000, 1.0, route="replay"),
        measured("c0", 1_000, 1.0).model_copy(update={"engine": "pgvector"}),
    ]
    wider = measured("c1", 1_000, 1.0).model_copy(update={"dimension": 384})
    fact = collection(measurements=2)
    fact = fact.model_copy(update={"measurements": (*fact.measurements, *others * 3)})
    far = collection("c1").model_copy(update={"measurements": (wider,) * 5})
    made = plan_incident(saved(fact, far))
    assert made.collections[0].measurements == 2


def test_recoveries_of_another_dimension_say_nothing_of_one_that_was_never_recovered() -> None:
    wider = collection("c0", measurements=0).model_copy(update={"dimension": 384})
    made = plan_incident(saved(wider, collection("c1")))
    assert [plan.measurements for plan in made.collections] == [0, 4]


def test_times_of_which_nothing_follows_are_said_to_be_so() -> None:
    empty = tuple(measured("c0", 1_000, 1.0).model_copy(update={"phases": {}}) for _ in range(5))
    _, rto = only(saved(collection().model_copy(update={"measurements": empty}))).objectives
    assert (rto.outlook, rto.would_meet.split()[0]) == ("not measured", "3")
    assert "nothing follows from the times of the 5 recoveries" in rto.reason


def test_each_collection_is_ready_after_those_before_it() -> None:
    first = collection("c1").model_copy(update={"priority": 1})
    made = plan_incident(saved(collection("c0", measurements=0), first))
    one, two = made.collections
    assert (one.collection, two.collection) == ("c1", "c0")
    assert one.ready is not None
    assert two.ready is not None, "measured by those of the other, which are alike"
    assert two.span is not None
    assert two.ready.high == pytest.approx(one.ready.high + two.span.high)


def test_a_collection_comes_after_those_it_depends_on_whatever_its_priority() -> None:
    first = collection("c0").model_copy(update={"priority": 1, "depends_on": ("c1", "c9")})
    made = plan_incident(saved(first, collection("c1")))
    assert [plan.collection for plan in made.collections] == ["c1", "c0"]
    assert "it depends on c9, which is not part of this plan" in made.collections[1].remarks


def test_a_store_alone_loses_what_came_after_its_point() -> None:
    fact = collection().model_copy(update={"authority": "store", "source": None, "model": None})
    loss = only(saved(fact)).loss
    assert (loss.seconds, loss.documents) == (3_600.0, None)
    assert only(saved(fact)).objectives[0].outlook == "will be met"
    late = fact.model_copy(update={"rpo_seconds": 60.0})
    rpo, _ = only(saved(late)).objectives
    assert (rpo.outlook, rpo.would_meet) == ("not met", "a backup at least every 60 s")


def test_a_source_that_was_rewritten_is_not_counted_on() -> None:
    gone = SourceFact(same=False, problem="the source ends before position 99")
    plan = only(saved(collection().model_copy(update={"source": gone})))
    assert plan.loss.seconds == 3_600.0
    (reingest,) = [route for route in plan.routes if route.route == "reingest"]
    assert (reingest.feasible, reingest.reason) == (False, "the source ends before position 99")


def test_nothing_can_be_taken_into_a_store_that_is_down() -> None:
    """Reading the source anew needs the store, too."""
    trouble = Trouble(kind="store", place="store local", message="connection refused")
    down = StorePlace(name="local", trouble=trouble)
    made = plan_incident(saved(collection()).model_copy(update={"stores": (down,)}))
    (plan,) = made.collections
    assert (plan.route, plan.request, made.feasible) == (None, None, False)
    assert {route.reason for route in plan.routes} == {"connection refused"}
    assert [(o.kind, o.collection) for o in made.obstacles] == [("store", "c0")]
    assert "--into STORE" in made.obstacles[0].way_out


def test_a_model_behind_http_is_said_not_to_have_been_asked() -> None:
    fact = collection()
    hosted = fact.model_copy(
        update={
            "model": ModelFact(name="m", hosted=True),
            "candidates": tuple(
                c.model_copy(
                    update={"remade": c.direct and c.direct.model_copy(update={"maker": MAKER})}
                )
                for c in fact.candidates
            ),
        }
    )
    (replay,) = [r for r in only(saved(hosted)).routes if r.route == "replay"]
    assert (replay.feasible, "where it was not asked" in replay.reason) == (True, True)


def test_days_after_the_point_come_from_the_source() -> None:
    incident = Incident(kind="bad-batch", collections=("c0",), entries=(60,))
    plan = only(saved(at(59, collection()), incident=incident))
    assert [(p.days, p.route) for p in plan.partitions] == [(59, "load"), (40, "reingest")]


def test_the_site_of_the_repository_lost_is_said_honestly() -> None:
    made = plan_incident(saved(collection(), incident=Incident(kind="repository-site")))
    (plan,) = made.collections
    assert (made.feasible, plan.point, plan.request) == (False, None, None)
    assert plan.route == "reingest"
    assert any("no copy of this repository" in remark for remark in plan.remarks)


def test_the_fastest_route_is_taken_once_all_are_measured() -> None:
    direct = restore_facts("c0", 99, files=True)
    fact = collection().model_copy(
        update={"candidates": (Candidate(number=99, store="local", direct=direct),)}
    )
    assert only(saved(fact)).route == "native", "by its kind"
    slow = tuple(measured("c0", 1_000, 500.0, route="native") for _ in range(3))
    fact = fact.model_copy(update={"measurements": (*fact.measurements, *slow)})
    plan = only(saved(fact))
    assert (plan.route, plan.reason) == (
        "load",
        "the fastest of those that can be taken, as measured",
    )


def test_planning_looks_at_each_point_a_bounded_number_of_times(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Work counted, not time: twice the points are at most twice the work."""
    looks = list[int]()
    original = CollectionFact.candidate

    def counted(self: CollectionFact, number: int, store: str) -> Candidate | None:
        looks.append(number)
        return original(self, number, store)

    monkeypatch.setattr(CollectionFact, "candidate", counted)
    counts = []
    for points in (50, 100):
        looks.clear()
        plan_incident(saved(*(collection(f"c{n}", points=points) for n in range(5))))
        counts.append(len(looks))
    assert counts[1] <= 2 * counts[0]
