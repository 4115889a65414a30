"""The page of campaigns says what their results say."""

from tests import named
from tests.campaigns import evidence, newcomers, situations


def test_the_page_is_that_of_the_results() -> None:
    assert evidence.PAGE.read_text() == evidence.page(evidence.read_results())


def test_every_result_has_its_place() -> None:
    """Each figure of a made-up result is on the page."""
    corpus = {
        "records": 12_345,
        "index": {"kind": "hnsw"},
        "recall_before": 0.9871,
        "recall_after": 0.9872,
        "bit_identical": False,
        "seconds": {"records": 1.25, "index": 3.5, "prove": 0.75},
        "ndcg@10": [0.64501, 0.64502],
    }
    index = {
        "before": 0.8111,
        "after": 0.8122,
        "after_native": 0.8133,
        "unreported": ["a.b.probes"],
    }
    shown = evidence.page(
        {
            "engine-scifact-chroma": corpus,
            "engine-recall-lancedb-ivf_pq": index,
            "engine-kills-qdrant": {"kills": 71},
            "engine-sigkill-qdrant": {"killed": {"backup": 7, "restore": 5}},
            "engine-full-disk-qdrant": {"failed": 73},
            "kills": {"seed": 5, "kills": 3_000, "outcomes": {"a": 1, "b": 2}},
        }
    )
    for figure in ("12,345", "0.9871 → 0.9872", "0.64501 → 0.64502", "1.25 | 3.50 | 0.75"):
        assert figure in shown
    assert "within the store's tolerance" in shown
    assert "| lancedb | ivf_pq | 0.8111 | 0.8122 | 0.8133 | probes |" in shown
    assert "| qdrant | 71 | 7 × backup, 5 × restore | 73 |" in shown
    assert "[kills](results/kills.json): kills 3,000; outcomes: 2 kinds" in shown


def test_every_way_of_a_new_user_names_its_test() -> None:
    for way in newcomers.WAYS:
        assert way.tests
        assert named.missing(way.tests) == []
        assert way.now == (2, 0)


def test_every_situation_names_tests_that_exist() -> None:
    rows = (*situations.RESTORED, *situations.ELSEWHERE)
    assert len(rows) == 27
    for row in rows:
        assert row.tests
        assert named.missing(row.tests) == []
    nowhere = ["tests/ingestion/test_canaries.py::test_nothing", "tests/no.py::test_a"]
    assert named.missing(nowhere) == nowhere
