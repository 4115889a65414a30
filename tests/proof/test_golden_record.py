"""Golden queries that are proposed cover what a collection holds, and hold where it answers."""

import numpy as np
import pyarrow as pa
import pytest

from dr_pipelines.contents.answers import StoreAnswers
from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.collection import CollectionSpec, Field, FieldType, Vector
from dr_pipelines.model.golden import GoldenQuery
from dr_pipelines.model.record import store_schema
from dr_pipelines.proof import golden_drafts, golden_record
from dr_pipelines.proof.golden import check_golden
from dr_pipelines.proof.golden_record import Proposal, propose
from dr_pipelines.proof.golden_sample import medoids, sampled
from dr_pipelines.testing.memory_store import MemoryVectorStore

SPEC = CollectionSpec(
    name="c",
    vectors=(Vector(dimension=4),),
    fields=(
        Field(name="tenant", type=FieldType.STRING, role="tenant"),
        Field(name="groups", type=FieldType.STRINGS, role="principals"),
        Field(name="team", type=FieldType.STRING),
        Field(name="rank", type=FieldType.NUMBER),
        Field(name="note", type=FieldType.STRING, filterable=False),
    ),
)
ROWS = 90
TENANTS = ("north", "south", "west")
WORDS = ("heron", "otter", "adder")


def rows() -> pa.Table:
    """Three tenants, each about a place of its own in space."""
    random = np.random.default_rng(7)
    which = np.arange(ROWS) % 3
    vectors = np.eye(4, dtype=np.float32)[which] + random.normal(0, 0.02, (ROWS, 4))
    names = [f"d{n:02d}" for n in range(ROWS)]
    values = {
        "id": [f"{name}#000000" for name in names],
        "document_id": names,
        "chunk_index": [0] * ROWS,
        "text": [f"a {WORDS[n % 3]} number{n:02d}" for n in range(ROWS)],
        "embedding": vectors.astype(np.float32).tolist(),
        "tenant": [TENANTS[n] for n in which],
        "groups": [["all", TENANTS[n]] for n in which],
        "team": [f"team{n % 7}" for n in range(ROWS)],
        "rank": [float(n) for n in range(ROWS)],
        "note": ["x"] * ROWS,
    }
    schema = store_schema(SPEC)
    for name in schema.names:
        values.setdefault(name, [None] * ROWS)
    return pa.table({name: values[name] for name in schema.names}, schema=schema)


def answers(table: pa.Table) -> StoreAnswers:
    store = MemoryVectorStore()
    store.create(SPEC)
    store.write("c", table)
    store.build_index("c")
    return StoreAnswers.of(store, "c")


@pytest.fixture(scope="module")
def whole() -> StoreAnswers:
    return answers(rows())


@pytest.fixture(scope="module")
def proposal(whole: StoreAnswers) -> Proposal:
    return propose(whole, clusters=6)


def by_id(proposal: Proposal, start: str) -> list[GoldenQuery]:
    return [query for query in proposal.golden.queries if query.id.startswith(start)]


def test_clusters_tenants_principals_and_values_are_covered_and_counted(proposal: Proposal) -> None:
    covered = {c.name: (c.queries, c.seen) for c in proposal.covered}
    assert covered == {
        "clusters": (6, 6),
        "words": (6, 6),
        "tenant": (3, 3),
        "principals": (4, 4),
        "team": (5, 7),
        "rank": (1, ROWS),
    }
    assert {query.tenant for query in by_id(proposal, "tenant-")} == set(TENANTS)
    assert {query.principal for query in by_id(proposal, "principals-")} == {"all", *TENANTS}
    assert not by_id(proposal, "note")
    assert proposal.sampled == ROWS


def test_every_proposed_query_holds_where_it_was_proposed(proposal: Proposal) -> None:
    assert proposal.report.failed == ()
    assert proposal.report.changed == proposal.report.gone == ()


def test_what_lies_nearest_outside_a_tenant_must_not_come(proposal: Proposal) -> None:
    table = rows()
    of = dict(zip(table["document_id"].to_pylist(), table["tenant"].to_pylist(), strict=True))
    for query in by_id(proposal, "tenant-"):
        assert query.must_not
        assert {of[name] for name in query.must_not}.isdisjoint({query.tenant})
        assert {of[j.document] for j in query.relevant} == {query.tenant}


def test_a_document_with_a_record_inside_is_not_forbidden_for_another_outside() -> None:
    """Every document has a record in each tenant: nothing may be forbidden to any."""
    table = rows()
    shared = table.set_column(
        table.schema.get_field_index("document_id"),
        table.schema.field("document_id"),
        pa.array([f"d{n // 3:02d}" for n in range(ROWS)]),
    )
    proposed = propose(answers(shared), clusters=3)
    assert [query.must_not for query in by_id(proposed, "tenant-")] == [()] * 6


DAMAGES = {
    "a tenant is lost": lambda t: t.filter(pa.array([n % 3 != 1 for n in range(ROWS)])),
    "vectors are shifted by a row": lambda t: _with(
        t, "embedding", pa.concat_arrays([t["embedding"].combine_chunks()[1:],
                                          t["embedding"].combine_chunks()[:1]])
    ),
    "texts are lost": lambda t: _with(t, "text", pa.nulls(ROWS, pa.string())),
    "a tenant is null": lambda t: _with(
        t, "tenant", pa.array([None if n % 3 == 0 else TENANTS[n % 3] for n in range(ROWS)])
    ),
    "everybody sees everything": lambda t: _with(
        t, "groups", pa.array([["all", *TENANTS]] * ROWS, pa.list_(pa.string()))
    ),
}  # fmt: skip


def _with(table: pa.Table, name: str, column: pa.Array) -> pa.Table:
    at = table.schema.get_field_index(name)
    return table.set_column(
        at, table.schema.field(name), column.cast(table.schema.field(name).type)
    )


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_proposed_set_finds_damage(proposal: Proposal, damage: str) -> None:
    damaged = answers(DAMAGES[damage](rows()))
    golden = proposal.golden
    there = {name for batch in damaged.records(["id"]) for name in batch["id"].to_pylist()}
    queries = [query for query in golden.queries if query.like is None or query.like in there]
    report = check_golden(
        golden.model_copy(update={"queries": tuple(queries)}), damaged, vectors={}
    )
    assert report.failed or len(queries) < len(golden.queries)


def test_what_became_no_query_is_named_with_the_reason() -> None:
    """Ten documents have each word, and a name that no golden file can have."""
    few = rows().slice(0, 30)
    same = _with(few, "text", pa.array(["a heron"] * 30))
    proposed = propose(answers(same), clusters=1)
    assert (
        "word-001",
        "10 documents or more have the word, and engines rank them differently",
    ) in (proposed.left_out)


def test_more_drafts_than_a_file_may_have_are_left_out_by_name(
    whole: StoreAnswers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(golden_record, "MOST_QUERIES", 10)
    proposed = propose(whole, clusters=6)
    assert len(proposed.golden.queries) == 10
    assert {reason for _, reason in proposed.left_out} == {"there are 10 already"}
    assert proposed.left_out[-1][0].startswith("rank-")


def test_of_many_tenants_the_most_frequent_are_asked_and_the_rest_counted(
    whole: StoreAnswers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(golden_drafts, "MOST_SCOPES", 2)
    covered = {c.name: (c.queries, c.seen) for c in propose(whole, clusters=1).covered}
    assert (covered["tenant"], covered["principals"]) == ((2, 3), (2, 4))


def test_nothing_that_can_be_asked_for_is_said() -> None:
    with pytest.raises(InvalidRequest, match="'c' holds nothing that can be asked for"):
        propose(answers(rows().slice(0, 0)), clusters=3)


def test_a_sample_is_bounded_and_of_all_batches() -> None:
    table = rows()
    batches = table.to_batches(max_chunksize=10)
    sample = sampled(batches, table.schema, rows=20)
    again = sampled(batches, table.schema, rows=20)
    numbers = [int(name[1:]) for name in sample["document_id"].to_pylist()]
    assert (len(sample), numbers) == (20, sorted(numbers))
    assert sample.equals(again)
    assert len({n // 10 for n in numbers}) > 4
    assert sampled(batches, table.schema, rows=500).equals(table)


def test_medoids_are_one_of_each_cluster() -> None:
    column = rows()["embedding"].combine_chunks()
    matrix = column.flatten().to_numpy().reshape(ROWS, 4)
    assert {int(row) % 3 for row in medoids(matrix, 3)} == {0, 1, 2}
    assert len(medoids(np.ones((5, 4), np.float32), 3)) == 1
    assert len(medoids(np.empty((0, 4), np.float32), 3)) == 0
