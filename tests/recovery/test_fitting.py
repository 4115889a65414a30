"""Changes of a collection in another engine are reported before a restore and compared after it."""

from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa
import pytest

from dr_pipelines.backup.result import Terms
from dr_pipelines.backup.snapshot import backup
from dr_pipelines.blobs.memory import MemoryBlobStore
from dr_pipelines.errors import AlreadyExists, Damaged, Refused
from dr_pipelines.live.live import Live
from dr_pipelines.model.collection import (
    CollectionSpec,
    Metric,
    Vector,
    VectorIndex,
    VectorKind,
)
from dr_pipelines.model.compatibility import CompatibilityReport, Outcome
from dr_pipelines.model.parts import PartFinding
from dr_pipelines.model.record import store_schema
from dr_pipelines.model.recovery import Phase, Plan, Recovery, Request
from dr_pipelines.model.recovery_point import (
    Made,
    Timeline,
    Writer,
)
from dr_pipelines.planning.estimate import estimated
from dr_pipelines.planning.parts import compare_parts
from dr_pipelines.recovery.plan import plan_recovery
from dr_pipelines.recovery.resources import Resources
from dr_pipelines.recovery.run import recover, run_recovery
from dr_pipelines.repository.history import History
from dr_pipelines.repository.repository import Repository
from dr_pipelines.stores.shared.fitting import BOOKKEEPING, RULES, Native, fit_exact, fit_to
from dr_pipelines.stores.shared.layout import Layout, Role, laid_out
from dr_pipelines.testing.memory_store import MemoryVectorStore
from dr_pipelines.testing.memory_witness import MemoryWitness
from dr_pipelines.testing.world import OneAtATime, TickingClock

HNSW = VectorIndex(kind="hnsw", parameters={"m": 24, "ef_construction": 99})
SPEC = CollectionSpec(
    name="items@1",
    vectors=(
        Vector(dimension=2, index=HNSW),
        Vector(name="second", dimension=2, metric=Metric.L1, index=HNSW),
        Vector(name="third", dimension=9, kind=VectorKind.SPARSE),
    ),
    shards=3,
    replicas=2,
    engine={"elsewhere": {"policies": ["only mine"], "storage": {"fill": 70}, "grants": []}},
)
NATIVE = Native(
    engine="here",
    metrics=frozenset([Metric.COSINE, Metric.L1]),
    indexes={"ivf_flat": frozenset(["lists"]), "hnsw": frozenset(["m"])},
    default_index="ivf_flat",
)


class Forgetful(MemoryVectorStore):
    """Loses the parameters of indexes."""

    def describe(self, name: str) -> CollectionSpec:
        spec = super().describe(name)
        vectors = tuple(
            v.model_copy(update={"index": v.index and VectorIndex(kind=v.index.kind)})
            for v in spec.vectors
        )
        return spec.model_copy(update={"vectors": vectors})


def outcomes(fit: CompatibilityReport) -> dict[str, Outcome]:
    return {note.part: note.outcome for note in fit.notes}


def test_every_part_that_is_not_the_same_is_named() -> None:
    fit = fit_to(SPEC, replace(NATIVE, vectors=1))
    assert outcomes(fit) == {
        "vectors.embedding.index.ef_construction": Outcome.APPROXIMATED,
        "vectors.second": Outcome.APPROXIMATED,
        "vectors.second.index": Outcome.APPROXIMATED,
        "vectors.third": Outcome.LOST,
        "shards": Outcome.APPROXIMATED,
        "replicas": Outcome.LOST,
        "engine.elsewhere.policies": Outcome.LOST,
        "engine.elsewhere.storage": Outcome.APPROXIMATED,
    }
    assert [v.index for v in fit.spec.vectors] == [
        VectorIndex(kind="hnsw", parameters={"m": 24}),
        None,
        None,
    ]
    assert fit.spec.same_contract(SPEC)
    assert fit.spec.engine == SPEC.engine


def test_the_same_engine_changes_nothing() -> None:
    plain = CollectionSpec(
        name="items",
        vectors=(Vector(dimension=2, index=VectorIndex(kind="hnsw", parameters={"m": 5})),),
        engine={"here": {"policies": ["p"]}},
    )
    assert fit_to(plain, NATIVE) == CompatibilityReport(plain)


def test_an_index_of_another_kind_becomes_the_usual_one() -> None:
    vector = Vector(dimension=2, index=VectorIndex(kind="diskann", parameters={"lists": 9}))
    fit = fit_to(CollectionSpec(name="items", vectors=(vector,)), NATIVE)
    assert fit.spec.vectors[0].index == VectorIndex(kind="ivf_flat", parameters={"lists": 9})
    assert outcomes(fit) == {"vectors.embedding.index": Outcome.APPROXIMATED}


def test_an_exact_store_keeps_what_is_said_of_indexes() -> None:
    fit = fit_exact(SPEC, engine="memory")
    assert fit.spec == SPEC
    assert outcomes(fit)["vectors.embedding.index"] is Outcome.APPROXIMATED


ROLES_OF_ENGINES = [
    ("pgvector", [{"name": "r"}]),
    ("milvus", {"r": ["alice"]}),
]


@pytest.mark.parametrize(("engine", "roles"), ROLES_OF_ENGINES)
def test_roles_that_decide_who_sees_what_are_lost_in_another_engine(
    engine: str, roles: object
) -> None:
    spec = CollectionSpec(name="items", vectors=SPEC.vectors[:1], engine={engine: {"roles": roles}})
    exact, fitted = fit_exact(spec, engine="memory"), fit_to(spec, replace(NATIVE, shards=True))
    for fit in (exact, fitted):
        assert outcomes(fit)[f"engine.{engine}.roles"] is Outcome.LOST


def test_no_rule_passes_for_a_note_of_the_adapter_for_itself() -> None:
    assert RULES.isdisjoint(BOOKKEEPING)


def test_roles_of_columns_are_missed_by_nobody_in_another_engine() -> None:
    section = laid_out(Layout.FOREIGN, {Role.ID: "key", Role.TEXT: "body"})
    plain = CollectionSpec(name="items", vectors=(Vector(dimension=2),))
    spec = plain.model_copy(update={"engine": {"lancedb": section}})
    assert fit_exact(spec, engine="memory").notes == ()


def test_parts_are_compared_one_by_one() -> None:
    vectors = (SPEC.vectors[0].model_copy(update={"index": None}), *SPEC.vectors[1:])
    here = {"here": {"limits": {"rows": 5}, "indexes": ["a"]}}
    reported = {"here": {"limits": {"rows": 6}, "unreported": ["vectors.second.index.m"]}}
    expected = SPEC.model_copy(update={"engine": here})
    other = SPEC.model_copy(update={"engine": reported, "vectors": vectors, "shards": None})
    listed = compare_parts(expected, other, engine="here")
    assert {(f.part, f.unreported) for f in listed} == {
        ("vectors.embedding.index", False),
        ("vectors.embedding.index.m", False),
        ("vectors.embedding.index.ef_construction", False),
        ("shards", False),
        ("engine.here.limits.rows", False),
        ("engine.here.indexes", False),
        ("vectors.second.index.m", True),
    }
    assert compare_parts(expected, expected, engine="here") == ()
    consequences = {finding.part: finding.consequence for finding in listed}
    assert consequences["engine.here.limits.rows"].endswith(": 5 → 6")
    named = {"here": {"indexes": [{"name": "a", "on": "x"}, {"name": "b", "on": "y"}]}}
    without = {"here": {"indexes": named["here"]["indexes"][:1]}}
    both = (SPEC.model_copy(update={"engine": section}) for section in (named, without))
    (gone,) = compare_parts(*both, engine="here")
    assert (gone.part, gone.found) == ("engine.here.indexes.b", None)
    assert gone.consequence == "filters may scan instead of using an index"


def test_what_an_adapter_notes_for_itself_is_no_part_that_anyone_misses() -> None:
    own = {
        "unreported": ["engine.elsewhere.storage"],
        "layout": "native",
        "index_names": {"vectors.embedding.index": "mine"},
        "storage": {"fill": 70},
    }
    spec = CollectionSpec(name="i", vectors=(Vector(dimension=2),), engine={"elsewhere": own})
    assert [note.part for note in fit_exact(spec, engine="memory").notes] == [
        "engine.elsewhere.storage"
    ]


def test_a_part_that_is_not_reported_is_shown_as_what_was_asked_for() -> None:
    """By the names of what is in it, and not at all where nothing was asked for."""
    section = {"tags": {"gold": 3, "silver": 5}}
    unseen = ["engine.here.tags", "engine.here.indexes", "vectors.second.index.m"]
    expected = SPEC.model_copy(update={"engine": {"here": section}})
    reported = SPEC.model_copy(update={"engine": {"here": {**section, "unreported": unseen}}})
    listed = compare_parts(expected, reported, engine="here")
    assert {finding.part: finding.expected for finding in listed} == {
        "engine.here.tags": {"gold": 3, "silver": 5},
        "vectors.second.index.m": 24,
    }


def adopted(store: MemoryVectorStore, *, documents: Sequence[str] = ("a",)) -> Repository:
    """A repository that has backed up a collection that something else made."""
    schema = store_schema(SPEC)
    row = {"chunk_index": 0, "embedding": [1.0, 0.0]}
    rows = [row | {"id": name, "document_id": name} for name in documents]
    store.create(SPEC)
    store.promote("items@1", alias="items")
    store.write("items@1", pa.Table.from_pylist(rows, schema=schema))
    ids = iter(f"{n:032x}" for n in range(1000))
    repository = Repository.create(
        MemoryBlobStore(),
        capabilities={"exclusive_create": True},
        witness=MemoryWitness(),
        writer=Writer(id=next(ids), host="here", version="0"),
        clock=TickingClock(),
        new_id=lambda: next(ids),
    )
    lease = OneAtATime()
    terms = Terms(adopt=Timeline(id=1, physical="items@1", store="first"))
    backup(History(repository, "items"), live=Live(store, lease, "items"), terms=terms)
    return repository


def into(store: MemoryVectorStore, repository: Repository, name: str) -> Resources:
    return Resources(repository, store, name, OneAtATime())


def restored(
    repository: Repository, store: MemoryVectorStore, *, accept_loss: bool
) -> tuple[Plan, Recovery | None]:
    """The newest point brought into another store, if its plan has no refusals."""
    request = Request(collection="items", store="second", accept_loss=accept_loss)
    resources = into(store, repository, "second")
    plan = plan_recovery(request, resources)
    return plan, None if plan.refusals else run_recovery(plan, resources)


def switched(repository: Repository, store: MemoryVectorStore) -> Recovery:
    """The newest point, served from the store that it was in."""
    return recover(SWITCHING, into(store, repository, "first"))


SWITCHING = Request(collection="items", store="first", switch=True, accept_loss=True)


def test_what_would_be_lost_is_said_and_refused_until_it_is_accepted() -> None:
    repository, other = adopted(MemoryVectorStore()), MemoryVectorStore()
    plan, done = restored(repository, other, accept_loss=False)
    assert done is None
    with pytest.raises(Refused, match=r"engine.elsewhere.policies.*--accept-loss"):
        run_recovery(plan, into(other, repository, "second"))
    assert [note.part for note in plan.losses] == ["replicas", "engine.elsewhere.policies"]
    assert other.collections() == []
    _, done = restored(repository, other, accept_loss=True)
    assert done is not None
    assert (done.bit_identical, done.findings) == (True, ())
    assert other.describe(done.plan.physical).engine == SPEC.engine


def test_a_part_that_a_store_forgot_is_a_finding() -> None:
    repository = adopted(MemoryVectorStore())
    _, done = restored(repository, Forgetful(), accept_loss=True)
    assert done is not None
    assert done.missing == tuple(
        PartFinding(
            f"vectors.{vector}.index.{key}",
            value,
            None,
            "recall may fall, latency may change",
        )
        for vector in ("embedding", "second")
        for key, value in sorted(HNSW.parameters.items())
    )


def test_a_snapshot_records_what_was_reconfigured_and_where_else_it_is_served() -> None:
    store = MemoryVectorStore()
    repository = adopted(store)
    store.promote("items@1", alias="shop")
    changed = SPEC.vectors[0].model_copy(
        update={"index": VectorIndex(kind="hnsw", parameters={"m": 48, "ef_construction": 99})}
    )
    spec = SPEC.model_copy(update={"vectors": (changed, *SPEC.vectors[1:])})
    label = store.tables["items@1"].label.model_copy(update={"spec": spec})
    store.tables["items@1"] = replace(store.tables["items@1"], label=label)
    snapshot = backup(History(repository, "items"), live=Live(store, OneAtATime(), "items"))
    assert [(f.part, f.expected, f.found) for f in snapshot.reconfigured] == [
        ("vectors.embedding.index.m", 24, 48)
    ]
    recorded = History(repository, "items").latest().manifest.spec
    assert (recorded.vectors[0].index, recorded.aliases) == (changed.index, ("shop",))
    physical = switched(repository, store).plan.physical
    assert store.aliases() == {"items": physical, "shop": physical}


def test_a_collection_that_is_served_by_its_own_name_is_not_switched_away_from() -> None:
    store = MemoryVectorStore()
    repository = adopted(store)
    other = MemoryVectorStore()
    other.create(SPEC.physical("items"))
    request = SWITCHING.model_copy(update={"store": "second"})
    with pytest.raises(Refused, match="a collection itself in store 'second'"):
        recover(request, into(other, repository, "second"))
    assert other.collections() == ["items"]


def test_an_estimate_goes_by_the_last_recovery_into_such_an_engine() -> None:
    store = MemoryVectorStore()
    repository = adopted(store)
    request = SWITCHING.model_copy(
        update={"at": f"log:{History(repository, 'items').latest().number}"}
    )
    resources = into(store, repository, "first")

    def plan() -> Plan:
        return plan_recovery(request, resources)

    first = plan()
    assert first.estimate == ()
    done = run_recovery(first, resources)
    measured = {phase.name: phase.seconds for phase in done.phases[:-2]}  # before the switch
    assert {phase.name: phase.seconds for phase in plan().estimate} == measured


def test_what_grows_with_the_records_is_scaled_from_the_newest_alike() -> None:
    made = Made(
        engine="here", route="load", records=10, phases={"schema": 2, "index": 3, "records": 1}
    )
    others = [made.model_copy(update={"engine": "there"}), made.model_copy(update={"records": 0})]
    older = made.model_copy(update={"phases": {"index": 900.0}})
    timelines = [
        Timeline(id=number, physical="p", store="s", made=how)
        for number, how in enumerate((older, made, *others, None))
    ]
    assert estimated(timelines, engine="here", route="load", records=25) == (
        Phase("schema", 2.0),
        Phase("index", 7.5),
        Phase("records", 2.5),
    )
    assert estimated(timelines, engine="here", route="native", records=25) == ()


def test_files_to_lay_out_and_vectors_to_compare_grow_with_the_records() -> None:
    phases = {"files": 4.0, "compare": 6.0, "switch": 1.0}
    made = Made(engine="here", route="native", records=10, phases=phases)
    timelines = [Timeline(id=1, physical="p", store="s", made=made)]
    assert estimated(timelines, engine="here", route="native", records=20) == (
        Phase("files", 8.0),
        Phase("compare", 12.0),
        Phase("switch", 1.0),
    )


def test_a_collection_that_cannot_be_read_does_not_keep_another_from_coming_back() -> None:
    class Torn(MemoryVectorStore):
        def describe(self, name: str) -> CollectionSpec:
            if name == "torn":
                raise Damaged("torn is not whole")
            return super().describe(name)

    repository, other = adopted(MemoryVectorStore()), Torn()
    other.create(SPEC.physical("torn"))
    _, done = restored(repository, other, accept_loss=True)
    assert done is not None
    assert done.bit_identical
    request = Request(collection="items", store="second", into="torn", accept_loss=True)
    with pytest.raises(AlreadyExists, match="torn"):
        recover(request, into(other, repository, "second"))


def test_an_alias_that_is_somebody_elses_by_now_stays() -> None:
    store = MemoryVectorStore()
    repository = adopted(store)
    for alias in ("shop", "taken", "mine"):
        store.promote("items@1", alias=alias)
    backup(History(repository, "items"), live=Live(store, OneAtATime(), "items"))
    store.create(SPEC.physical("other@1"))
    store.promote("other@1", alias="shop")
    store.targets.pop("taken")
    store.create(SPEC.physical("taken"))
    plan = switched(repository, store).plan
    notes = {note.part: note.consequence for note in plan.notes if note.part.startswith("aliases.")}
    assert set(notes) == {"aliases.shop", "aliases.taken"}
    assert "other@1" in notes["aliases.shop"]
    assert store.aliases() == {
        "items": plan.physical,
        "mine": plan.physical,
        "shop": "other@1",
    }


def test_an_alias_that_cannot_move_any_more_does_not_end_a_recovery() -> None:
    store = MemoryVectorStore()
    repository = adopted(store)
    store.promote("items@1", alias="shop")
    backup(History(repository, "items"), live=Live(store, OneAtATime(), "items"))
    resources = into(store, repository, "first")
    plan = plan_recovery(SWITCHING, resources)
    assert plan.spec.aliases == ("shop",)
    store.targets.pop("shop")
    store.create(SPEC.physical("shop"))
    run_recovery(plan, resources)
    assert store.aliases() == {"items": plan.physical}
    assert backup(History(repository, "items"), live=Live(store, OneAtATime(), "items")).equal


@pytest.mark.parametrize(
    ("engine", "key"),
    [
        ("chroma", "functions"),
        ("chroma", "properties"),
        ("lancedb", "comments"),
        ("lancedb", "properties"),
        ("qdrant", "properties"),
    ],
)
def test_what_users_wrote_on_a_collection_is_not_lost(engine: str, key: str) -> None:
    spec = CollectionSpec(
        name="items@1",
        vectors=(Vector(dimension=2),),
        engine={engine: {key: {"purpose": "tests"}}, "milvus": {"properties": {"ttl": "1"}}},
    )
    notes = {note.part: note for note in fit_exact(spec, engine="memory").notes}
    assert notes[f"engine.{engine}.{key}"].outcome is Outcome.APPROXIMATED
    assert "kept" in notes[f"engine.{engine}.{key}"].consequence
    assert "tests" not in notes[f"engine.{engine}.{key}"].consequence
    assert notes["engine.milvus.properties"].outcome is Outcome.LOST
