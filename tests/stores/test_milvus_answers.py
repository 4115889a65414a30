"""Answers that servers give and milvus-lite does not, and collections that go while they are read.

milvus-lite answers; what a server would ask or say otherwise is changed on the way.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pymilvus import DataType, MilvusClient
from pymilvus.grpc_gen import common_pb2, milvus_pb2

from dr_pipelines.errors import (
    Damaged,
    NotFound,
    Refused,
    Unavailable,
)
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.compatibility import Outcome
from dr_pipelines.model.query import Query
from dr_pipelines.model.record import store_schema
from dr_pipelines.planning.parts import compare_parts
from dr_pipelines.protocols import VectorStore
from dr_pipelines.stores.milvus import (
    access,
    building,
    open_store,
    placement,
    reading,
)
from dr_pipelines.stores.milvus.session import Connection
from dr_pipelines.testing.store_samples import (
    SPEC,
    contents,
    expected,
    record,
    table,
    vector,
)
from tests.servers.milvus import MilvusServer
from tests.stores.milvus_samples import OWN

NAME, ALIAS = SPEC.name, "handbook"
OTHER = SPEC.physical("handbook@2")
MOMENT = 77
Answer = Callable[[Any], Any]
Change = Callable[[str, Any, Answer], Any]


@pytest.fixture
def database(milvus_server: MilvusServer) -> str:
    return milvus_server.new_database()


@pytest.fixture
def store(milvus_server: MilvusServer, database: str) -> VectorStore:
    return open_store(milvus_server.url(database), base=Path())


@pytest.fixture
def on_the_way(monkeypatch: pytest.MonkeyPatch) -> Callable[[Change], None]:
    """Have calls pass through a function, which may ask something else or change the answer."""
    real = Connection.call

    def install(change: Change) -> None:
        def call(self: Connection, name: str, request: Any, **options: Any) -> Any:
            return change(name, request, lambda requests: real(self, name, requests, **options))

        monkeypatch.setattr(Connection, "call", call)

    return install


def text_of(request: Any) -> dict[str, str]:
    return {pair.key: pair.value for pair in request.query_params}


# Pages


def test_a_short_page_is_not_the_last(
    store: VectorStore,
    on_the_way: Callable[[Change], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reading, "FIRST_ROWS", 6)
    rows = [record("a", n) for n in range(20)]
    store.create(SPEC)
    store.write(NAME, table(*rows))

    def shortened(name: str, request: Any, answer: Answer) -> Any:
        for pair in request.query_params if name == "Query" else ():
            if pair.key == "limit":
                pair.value = str(max(1, int(pair.value) // 3))
        return answer(request)

    on_the_way(shortened)
    assert contents(store) == expected(*rows)
    hits = store.search(NAME, Query(vector=vector(1, 0, 0), exact=True), limit=99)
    assert len(hits) == len(rows)
    store.write(NAME, table(record("b")), replaces=["a"])
    assert contents(store) == expected(record("b"))


class Server:
    """A server that knows moments, with as many records as it counts, or fewer, or some twice."""

    def __init__(self, *, hides: str = "", twice: str = "") -> None:
        self.hides, self.twice = hides, twice
        self.pages: list[Any] = []
        self.counts: list[Any] = []

    def __call__(self, name: str, request: Any, answer: Answer) -> Any:
        if name != "Query":
            return answer(request)
        response = answer(request)
        if list(request.output_fields) == ["count(*)"]:
            self.counts.append(request)
            if self.twice and (not request.expr or self.twice in request.expr):
                response.fields_data[0].scalars.long_data.data[0] += 1
            return response
        self.pages.append(request)
        response.session_ts = MOMENT
        if self.hides and self.hides in request.expr:
            response.ClearField("fields_data")
        return response


@pytest.fixture
def filled(store: VectorStore, monkeypatch: pytest.MonkeyPatch) -> VectorStore:
    monkeypatch.setattr(reading, "FIRST_ROWS", 2)
    monkeypatch.setattr(reading, "MOST_ROWS", 2)
    store.create(SPEC)
    store.write(NAME, table(*(record("a", n) for n in range(5))))
    monkeypatch.setattr(Connection, "is_lite", False)
    return store


ROWS = expected(*(record("a", n) for n in range(5)))


def test_every_page_and_the_count_are_of_one_moment(
    filled: VectorStore, on_the_way: Callable[[Change], None]
) -> None:
    server = Server()
    on_the_way(server)
    assert contents(filled) == ROWS
    assert [page.guarantee_timestamp for page in server.pages] == [0, *[MOMENT] * 4]
    (counted,) = server.counts
    assert counted.guarantee_timestamp == MOMENT
    assert text_of(counted) == {"iterator": "True"}  # with a limit a server refuses to count


def test_records_that_a_server_counts_and_does_not_return_are_missed(
    filled: VectorStore, on_the_way: Callable[[Change], None]
) -> None:
    on_the_way(Server(hides='id > "a#000001"'))
    with pytest.raises(Damaged, match="counts 5 records and returned 2"):
        contents(filled)


def test_a_key_that_was_inserted_twice_is_one_record(
    filled: VectorStore, on_the_way: Callable[[Change], None]
) -> None:
    server = Server(twice='"a#000003"')
    on_the_way(server)
    assert contents(filled) == ROWS
    assert len(server.counts) > 1


def test_the_smallest_number_is_a_key(
    store: VectorStore,
    milvus_server: MilvusServer,
    database: str,
    on_the_way: Callable[[Change], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    smallest = -(2**63)
    client = milvus_server.client(database)
    _make_numbered(client, [smallest, -1, 2**63 - 1])
    client.close()
    monkeypatch.setattr(reading, "FIRST_ROWS", 1)

    def checked(name: str, request: Any, answer: Answer) -> Any:
        if name in ("Query", "Delete"):
            assert str(smallest) not in request.expr  # servers read a sign, and a number too large
        return answer(request)

    on_the_way(checked)
    ids = [row["id"] for row in contents(store, "numbered", columns=["id"])]
    assert sorted(ids, key=int) == [str(smallest), "-1", str(2**63 - 1)]
    keys = [str(smallest), str(2**63 - 1)]
    (batch,) = store.scan("numbered", documents=keys, columns=["id"])
    assert sorted(batch.column("id").to_pylist(), key=int) == keys
    nothing = store_schema(store.describe("numbered")).empty_table()
    store.write("numbered", nothing, replaces=[str(smallest)])
    assert store.status("numbered").records == 2


def _make_numbered(client: MilvusClient, keys: list[int]) -> None:
    schema = client.create_schema()
    schema.add_field("pk", DataType.INT64, is_primary=True)
    schema.add_field("vec", DataType.FLOAT_VECTOR, dim=2)
    indexes = client.prepare_index_params()
    indexes.add_index("vec", index_type="FLAT", metric_type="L2")
    client.create_collection("numbered", schema=schema, index_params=indexes)
    client.insert("numbered", [{"pk": key, "vec": [0.0, 1.0]} for key in keys])


# Aliases


def _switched(store: VectorStore) -> None:
    store.promote(OTHER.name, alias=ALIAS)
    store.drop(NAME)


READS: dict[str, Callable[[VectorStore], str]] = {
    "describe": lambda store: store.describe(ALIAS).name,
    "status": lambda store: OTHER.name if store.status(ALIAS).records == 2 else NAME,
    "search": lambda store: (
        store.search(ALIAS, Query(vector=vector(1, 0, 0)), limit=1)[0].document_id
    ),
    "near": lambda store: (
        store.search(ALIAS, Query(vector=vector(1, 0, 0), exact=False), limit=1)[0].document_id
    ),
    "scan": lambda store: contents(store, ALIAS)[0]["document_id"],
}


@pytest.fixture
def served(store: VectorStore) -> VectorStore:
    for spec, rows in ((SPEC, [record("old")]), (OTHER, [record("new", n) for n in range(2)])):
        store.create(spec)
        store.write(spec.name, table(*rows))
        store.build_index(spec.name)
    store.promote(NAME, alias=ALIAS)
    return store


@pytest.mark.parametrize(
    ("read", "call"),
    [
        *((read, "DescribeCollection") for read in READS),
        *((read, "Query") for read in ("status", "search", "scan")),
        ("near", "Search"),
    ],
)
def test_a_read_goes_on_with_what_an_alias_was_moved_to(
    served: VectorStore, on_the_way: Callable[[Change], None], read: str, call: str
) -> None:
    done = list[bool]()

    def switching(name: str, request: Any, answer: Answer) -> Any:
        if name == call and not done:  # the alias is resolved by then
            done.append(True)
            _switched(served)
        return answer(request)

    on_the_way(switching)
    assert READS[read](served) in ("new", OTHER.name)
    assert done


def test_a_scan_that_has_not_begun_follows_its_alias(served: VectorStore) -> None:
    batches = served.scan(ALIAS)
    _switched(served)
    assert [row["id"] for batch in batches for row in batch.to_pylist()] == [
        "new#000000",
        "new#000001",
    ]


def test_a_scan_that_has_begun_does_not_change_over(served: VectorStore) -> None:
    rows = [record("old", n) for n in range(5)]
    served.write(NAME, table(*rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "FIRST_ROWS", 1)
        patch.setattr(reading, "MOST_ROWS", 1)
        batches = served.scan(ALIAS)
        next(batches)
        _switched(served)
        with pytest.raises(NotFound):
            list(batches)


# Building


def test_grants_that_were_taken_back_are_not_made_again(
    store: VectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = list[Any]()
    section = {"layout": "managed", "indexes": [], "grants": {"reader": ["Query"]}}
    spec = SPEC.model_copy(update={"engine": {"milvus": section}})
    monkeypatch.setattr(Connection, "is_lite", False)
    monkeypatch.setattr(access, "grant", lambda _, native, granted: made.append(granted))
    store.create(spec)
    assert made
    store.build_index(NAME)
    made.clear()
    store.build_index(NAME)
    store.create(spec)
    assert made == []


class Cluster:
    """The calls of a server with nodes and users; `refuses` are those it does not let one make."""

    def __init__(self, *refuses: str) -> None:
        self.refuses = refuses
        self.groups: dict[str, Any] = {}
        self.privileges: dict[str, list[str]] = {}
        self.granted: dict[str, list[str]] = {}
        self.placed = list[str]()

    def __call__(self, name: str, request: Any, answer: Answer) -> Any:
        if name in self.refuses:
            raise Refused(f"{name} needs a privilege")
        own = getattr(self, f"_{name}", None)
        return answer(request) if own is None else own(request)

    def _LoadCollection(self, request: Any) -> None:
        missing = {*request.resource_groups} - {placement.DEFAULT_GROUP, *self.groups}
        if missing:
            raise Unavailable(f"resource groups {missing} are not there")
        self.placed = [*request.resource_groups] or [placement.DEFAULT_GROUP]

    def _GetLoadState(self, _: Any) -> Any:
        return milvus_pb2.GetLoadStateResponse(state=common_pb2.LoadState.LoadStateLoaded)

    def _GetReplicas(self, _: Any) -> Any:
        replicas = [milvus_pb2.ReplicaInfo(resource_group_name=name) for name in self.placed]
        return milvus_pb2.GetReplicasResponse(replicas=replicas)

    def _ListResourceGroups(self, _: Any) -> Any:
        return milvus_pb2.ListResourceGroupsResponse(resource_groups=[*self.groups])

    def _CreateResourceGroup(self, request: Any) -> None:
        self.groups[request.resource_group] = request.config

    def _DescribeResourceGroup(self, request: Any) -> Any:
        config = self.groups[request.resource_group]
        group = milvus_pb2.ResourceGroup(name=request.resource_group, config=config)
        return milvus_pb2.DescribeResourceGroupResponse(resource_group=group)

    def _ListPrivilegeGroups(self, _: Any) -> Any:
        groups = [
            milvus_pb2.PrivilegeGroupInfo(
                group_name=n, privileges=[{"name": p} for p in privileges]
            )
            for n, privileges in self.privileges.items()
        ]
        return milvus_pb2.ListPrivilegeGroupsResponse(privilege_groups=groups)

    def _CreatePrivilegeGroup(self, request: Any) -> None:
        self.privileges[request.group_name] = []

    def _OperatePrivilegeGroup(self, request: Any) -> None:
        assert request.type == milvus_pb2.OperatePrivilegeGroupType.AddPrivilegesToGroup
        self.privileges[request.group_name] += [p.name for p in request.privileges]

    def _SelectRole(self, _: Any) -> Any:
        results = [milvus_pb2.RoleResult(role={"name": role}) for role in self.granted]
        return milvus_pb2.SelectRoleResponse(results=results)

    def _CreateRole(self, request: Any) -> None:
        self.granted[request.entity.name] = []

    def _OperatePrivilegeV2(self, request: Any) -> None:
        privileges, name = self.granted[request.role.name], request.grantor.privilege.name
        privileges += [] if name in privileges else [name]

    def _SelectGrant(self, request: Any) -> Any:
        entities = [
            milvus_pb2.GrantEntity(grantor={"privilege": {"name": name}})
            for name in self.granted[request.entity.role.name]
        ]
        return milvus_pb2.SelectGrantResponse(entities=entities)


OF_A_CLUSTER: dict[str, Any] = {
    "grants": {"reader": ["Query", "readers"]},
    "roles": {"reader": []},
    "privilege_groups": {"readers": ["Load", "Search"]},
    "resource_groups": {
        "fast": {
            "replicas": 2,
            "config": {
                "requests": {"node_num": 2},
                "limits": {"node_num": 4},
                "transfer_from": [{"resource_group": "slow"}],
                "node_filter": {"node_labels": [{"key": "disk", "value": "ssd"}]},
            },
        },
        placement.DEFAULT_GROUP: {"replicas": 1},
    },
}


def of_a_cluster() -> CollectionSpec:
    section = {"layout": "managed", "indexes": [], **OF_A_CLUSTER}
    return SPEC.model_copy(update={"replicas": 3, "engine": {"milvus": section}})


def missing_of(store: VectorStore, spec: CollectionSpec) -> set[str]:
    return {
        finding.part
        for finding in compare_parts(spec, store.describe(NAME), engine="milvus")
        if "group" in finding.part or "grants" in finding.part
    }


def test_groups_of_nodes_and_of_privileges_are_made_and_read_back(
    store: VectorStore,
    on_the_way: Callable[[Change], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Connection, "is_lite", False)
    cluster = Cluster()
    on_the_way(cluster)
    store.create(of_a_cluster())
    assert cluster.placed == ["fast", "fast", placement.DEFAULT_GROUP]
    spec = store.describe(NAME)
    assert spec.replicas == 3
    assert {key: spec.engine["milvus"][key] for key in OF_A_CLUSTER} == OF_A_CLUSTER
    made = {**cluster.groups}
    store.create(of_a_cluster())
    assert cluster.groups == made
    assert missing_of(store, of_a_cluster()) == set()


@pytest.mark.parametrize(
    ("refuses", "missing"),
    [
        (
            ["CreateResourceGroup"],
            {
                "engine.milvus.resource_groups.fast",
                f"engine.milvus.resource_groups.{placement.DEFAULT_GROUP}",
            },
        ),
        (["CreatePrivilegeGroup"], {"engine.milvus.privilege_groups.readers"}),
        (["GetReplicas"], {"engine.milvus.resource_groups"}),
    ],
)
def test_groups_that_a_server_does_not_let_one_make_are_reported(
    store: VectorStore,
    on_the_way: Callable[[Change], None],
    monkeypatch: pytest.MonkeyPatch,
    refuses: list[str],
    missing: set[str],
) -> None:
    monkeypatch.setattr(Connection, "is_lite", False)
    cluster = Cluster(*refuses)
    on_the_way(cluster)
    store.create(of_a_cluster())
    assert missing_of(store, of_a_cluster()) == missing
    assert cluster.placed


def test_milvus_lite_says_what_becomes_of_groups(store: VectorStore) -> None:
    outcomes = {note.part: note.outcome for note in store.fit(of_a_cluster()).notes}
    assert outcomes["engine.milvus.privilege_groups"] is Outcome.LOST
    assert outcomes["engine.milvus.resource_groups"] is Outcome.APPROXIMATED
    store.create(of_a_cluster())
    section = store.describe(NAME).engine["milvus"]
    assert section["resource_groups"] == OF_A_CLUSTER["resource_groups"]
    assert "engine.milvus.resource_groups" in section["unreported"]


@pytest.mark.parametrize("advances", [False, True])
def test_an_index_that_gets_no_further_is_not_waited_for(
    store: VectorStore,
    on_the_way: Callable[[Change], None],
    monkeypatch: pytest.MonkeyPatch,
    advances: bool,
) -> None:
    monkeypatch.setattr(building, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(building, "STALLED_SECONDS", 0.2)
    store.create(SPEC)
    polls = list[int]()

    def slowly(name: str, request: Any, answer: Answer) -> Any:
        response = answer(request)
        if name == "DescribeIndex":
            polls.append(len(polls))
            for index in response.index_descriptions if len(polls) < 30 else ():
                index.state = common_pb2.IndexState.InProgress
                index.pending_index_rows = index.total_rows = 100
                index.indexed_rows = len(polls) if advances else 7
        return response

    on_the_way(slowly)
    if advances:
        store.build_index(NAME)  # for longer than that
        assert len(polls) >= 30
    else:
        with pytest.raises(Unavailable, match=r"stay at \d+ of \d+ rows"):
            store.build_index(NAME)


def test_a_lifetime_that_starts_anew_is_said(store: VectorStore) -> None:
    outcomes = {note.part: note.outcome for note in store.fit(OWN).notes}
    assert outcomes["engine.milvus.properties.collection.ttl.seconds"] is Outcome.APPROXIMATED
    assert store.fit(OWN).spec == OWN
    assert not [note.part for note in store.fit(SPEC).notes if "properties" in note.part]
