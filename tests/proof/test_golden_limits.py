"""A golden query is judged by its own number of records, whatever others of its set ask for."""

from collections.abc import Sequence

from dr_pipelines.contents.documents import DocumentRow
from dr_pipelines.model.collection import CollectionSpec, Vector
from dr_pipelines.model.golden import GoldenQuery, GoldenSet
from dr_pipelines.model.query import Hit, Query
from dr_pipelines.proof.golden import check_golden

SPEC = CollectionSpec(name="c", vectors=(Vector(dimension=2),))


class Listed:
    """Answers with records of one document each, as many as are asked for."""

    spec = SPEC

    def __init__(self) -> None:
        self.limits = list[int]()

    def hits(self, queries: Sequence[tuple[Query, int]]) -> list[list[Hit]]:
        self.limits += [limit for _, limit in queries]
        return [[Hit(f"{n}", f"d{n // 2}", -n) for n in range(limit)] for _, limit in queries]

    def vector(self, record: str) -> None:
        return None

    def documents(self, names: Sequence[str]) -> list[DocumentRow]:
        return [DocumentRow(name, None, 1, "") for name in names]


def query(name: str, limit: int) -> GoldenQuery:
    return GoldenQuery(id=name, text="x", mode="keyword", limit=limit, must=("d0",))


def test_each_query_is_answered_by_as_many_records_as_it_needs() -> None:
    answers = Listed()
    golden = GoldenSet(v=1, queries=(query("few", 2), query("many", 20)))
    report = check_golden(golden, answers, vectors={})
    assert answers.limits == [10, 100]
    assert [len(answered.documents) for answered in report.answered] == [2, 20]
    assert report.answered[0].documents == ("d0", "d1")
    assert not report.failed
