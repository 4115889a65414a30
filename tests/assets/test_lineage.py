"""The four daily stages, run by Dagster."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import dagster as dg
import pytest

from dr_pipelines.embedders.hashing import HashingEmbedder
from dr_pipelines.ingestion.canaries import QUERIES, TEXTS
from dr_pipelines.model.query import FloatArray
from dr_pipelines.protocols import Progress
from tests.assets.location import Location, failure_of, metadata_of

ALL_DAYS = ("2026-01-05", "2026-01-06", "2026-01-07", "2026-01-08", "2026-01-09")


def test_a_backfill_commits_every_day_and_says_which_were_quiet(location: Location) -> None:
    done = location.ingest()

    assert done.success
    assert metadata_of(done, "collection", "outcome") == dict(
        zip(ALL_DAYS, ("made", "made", "quiet", "made", "made"), strict=True)
    )
    assert metadata_of(done, "documents", "dagster/partition_row_count") == dict(
        zip(ALL_DAYS, (2, 1, 0, 1, 2), strict=True)
    )
    assert metadata_of(done, "collection", "exposure_seconds") == dict.fromkeys(ALL_DAYS, 0.0)
    assert location.log_kinds() == ["ingest"] * 4 + ["applied"]


@pytest.fixture
def beside(ingested_once: Path, tmp_path: Path) -> Location:
    """The same days, ingested without Dagster, in another repository."""
    return Location(shutil.copytree(ingested_once, tmp_path / "beside"))


def test_a_backfill_leaves_what_the_verb_without_dagster_leaves(
    location: Location, beside: Location
) -> None:
    assert location.ingest().success
    assert location.state() == beside.state()


def test_days_in_any_order_lead_to_the_same_state(location: Location, beside: Location) -> None:
    for first, last in (ALL_DAYS[3:], ALL_DAYS[1:2] * 2, ALL_DAYS[:1] * 2):
        assert location.ingest(days=(first, last)).success

    assert location.state() == beside.state()


def test_materializing_again_is_a_replay_through_the_log(location: Location) -> None:
    assert location.ingest().success
    before = location.state()

    again = location.ingest(days=("2026-01-05", "2026-01-06"))

    assert again.success
    assert metadata_of(again, "documents", "outcome") == {
        "2026-01-05": "kept",
        "2026-01-06": "kept",
    }
    assert metadata_of(again, "embeddings", "outcome") == {
        "2026-01-05": "again",
        "2026-01-06": "again",
    }
    assert metadata_of(again, "collection", "outcome") == {
        "2026-01-05": "again",
        "2026-01-06": "again",
    }
    assert location.state() == before
    assert location.log_kinds()[5:] == ["ingest", "ingest", "applied"]


def test_what_dagster_has_not_seen_is_taken_as_the_log_has_it(
    ingested: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = ingested.log_kinds()
    monkeypatch.setattr(HashingEmbedder, "embed", dying(0, []))

    done = ingested.ingest()

    assert done.success
    outcomes = {"2026-01-07": "quiet"}
    expected = {day: outcomes.get(day, "kept") for day in ALL_DAYS}
    assert metadata_of(done, "embeddings", "outcome") == expected
    assert metadata_of(done, "collection", "outcome") == expected
    assert metadata_of(done, "collection", "dagster/partition_row_count")["2026-01-05"] == 3
    assert ingested.log_kinds() == before


def test_a_day_that_goes_on_is_read_where_it_ended(ingested: Location) -> None:
    ingested.say(7, "2026-01-09T10:00:00Z", "e", "said later")

    more = ingested.ingest(days=("2026-01-09", "2026-01-09"))

    assert metadata_of(more, "embeddings", "dagster/partition_row_count") == {"2026-01-09": 2}
    assert metadata_of(more, "collection", "outcome") == {"2026-01-09": "made"}
    assert ingested.state()[2] == 4  # a, c, d, e: one chunk each


def test_a_replay_does_without_the_source(location: Location) -> None:
    assert location.ingest().success
    before = location.state()
    location.feed.rename(location.directory / "elsewhere")

    again = location.ingest("embeddings", "collection", days=("2026-01-05", "2026-01-05"))

    assert metadata_of(again, "collection", "outcome") == {"2026-01-05": "again"}
    assert location.state() == before


@pytest.mark.parametrize(
    ("assets", "message"),
    [
        ("chunks", "the changes of 2026-01-05 are not read yet: materialize `documents`"),
        ("embeddings", "the changes of 2026-01-05 are not read yet: materialize `documents`"),
        ("collection", "the changes of 2026-01-05 are not read yet: materialize `documents`"),
    ],
)
def test_a_stage_whose_input_is_missing_says_what_to_do(
    location: Location, assets: str, message: str
) -> None:
    done = location.ingest(assets)

    assert not done.success
    assert message in failure_of(done)


def test_a_collection_whose_vectors_are_missing_says_what_to_do(location: Location) -> None:
    assert location.ingest("documents", "chunks").success

    done = location.ingest("collection")

    assert "1 of 1 pieces of 2026-01-05 are not embedded yet" in failure_of(done)


def test_a_collection_that_is_whole_is_left_as_it_is(ingested: Location) -> None:
    before = ingested.log_kinds()

    done = ingested.ingest("collection")

    assert set(metadata_of(done, "collection", "outcome").values()) == {"kept", "quiet"}
    assert ingested.log_kinds() == before


class Killed(Exception):
    """Ends a step in the middle of its work."""


def dying(after: int, texts: list[int]) -> Callable[..., FloatArray]:
    """An `embed` that dies after so many calls and notes how many texts it embedded; canaries are
    not counted."""
    embed = HashingEmbedder.embed

    def die(
        self: HashingEmbedder, batch: Sequence[str], *, progress: Progress | None = None
    ) -> FloatArray:
        if batch and set(batch) <= {*TEXTS, *QUERIES}:
            return embed(self, batch, progress=progress)
        if len(texts) == after:
            raise Killed
        texts.append(len(batch))
        return embed(self, batch, progress=progress)

    return die


def test_a_killed_run_is_taken_up_where_it_stopped(
    location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after = list[int](), list[int]()
    with monkeypatch.context() as patch:
        patch.setattr(HashingEmbedder, "embed", dying(2, before))
        assert not location.ingest().success
    monkeypatch.setattr(HashingEmbedder, "embed", dying(99, after))

    done = location.ingest()

    assert done.success
    assert (len(before), len(after)) == (2, 2)  # four days have changes
    assert set(metadata_of(done, "collection", "outcome").values()) == {"made", "quiet"}


def test_days_that_a_killed_run_committed_are_not_committed_twice(
    location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dr_pipelines.ingestion import by_stage

    location.ingest("documents", "chunks", "embeddings")
    append, calls = by_stage.append_days, list[int]()  # type: ignore[attr-defined]

    def die(*args: object, **named: object) -> object:
        if len(calls) == 2:
            raise Killed
        calls.append(1)
        return append(*args, **named)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(by_stage, "append_days", die)
        assert not location.ingest("collection").success

    done = location.ingest("collection")

    assert list(metadata_of(done, "collection", "outcome").values()) == [
        "kept",
        "kept",
        "quiet",
        "made",
        "made",
    ]
    assert location.log_kinds() == ["ingest"] * 4 + ["applied"]


def stale(location: Location) -> set[tuple[str, str]]:
    """Asset and day of everything that Dagster calls stale."""
    from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
    from dagster._core.loader import LoadingContextForTest

    graph = location.definitions.resolve_asset_graph()
    resolver = CachingStaleStatusResolver(
        location.instance, graph, LoadingContextForTest(location.instance)
    )
    return {
        (name, day)
        for name in ("documents", "chunks", "embeddings", "collection")
        for day in ALL_DAYS
        if resolver.get_status(dg.AssetKey(["notes", name]), day) is StaleStatus.STALE
    }


def test_a_changed_policy_makes_stale_what_it_would_make_otherwise(location: Location) -> None:
    location.ingest()
    assert stale(location) == set()

    location.set_policy(dimension=16)
    assert stale(location) == {(n, d) for n in ("embeddings", "collection") for d in ALL_DAYS}

    location.set_policy(size=20)
    chunked = ("chunks", "embeddings", "collection")
    assert stale(location) == {(n, d) for n in chunked for d in ALL_DAYS}


def test_another_model_is_refused_before_anything_is_embedded(
    ingested: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingested.set_policy(dimension=16)
    monkeypatch.setattr(HashingEmbedder, "embed", dying(0, []))

    done = ingested.ingest("embeddings", "collection")

    assert "the policy makes other vectors than the collection holds" in failure_of(done)


def test_a_day_outside_the_source_is_quiet_and_says_so(location: Location) -> None:
    done = location.ingest(days=("2026-01-07", "2026-01-07"))

    assert done.success
    assert metadata_of(done, "collection", "dagster/partition_row_count") == {"2026-01-07": 0}
    assert metadata_of(done, "collection", "outcome") == {"2026-01-07": "quiet"}
    assert location.log_kinds() == []


def test_a_feed_older_than_its_first_day_begins_with_what_stood_then(location: Location) -> None:
    twin = Location(shutil.copytree(location.directory, location.directory.parent / "twin"))
    for place in (location, twin):
        text = place.policies.read_text()
        place.policies.write_text(text.replace("start: 2026-01-05", "start: 2026-01-08"))

    made = location.ingest(days=("2026-01-08", "2026-01-09"))
    twin.ingest_without_dagster()

    assert made.success
    assert metadata_of(made, "documents", "dagster/partition_row_count") == {
        "2026-01-08": 3,  # two that stood, and the day's own
        "2026-01-09": 2,
    }
    assert location.state() == twin.state()


def test_a_value_of_the_wrong_type_stops_no_day_and_both_paths_agree(location: Location) -> None:
    feed = location.feed.read_text().splitlines()
    feed[2] = feed[2].replace('"op"', '"metadata": {"rank": "two"}, "op"')
    feed[4] = feed[4].replace('"op"', '"metadata": {"rank": 5}, "op"')
    location.feed.write_text("\n".join(feed) + "\n")
    text = location.policies.read_text()
    location.policies.write_text(text + "    fields: {rank: {type: integer}}\n")
    twin = Location(shutil.copytree(location.directory, location.directory.parent / "twin"))
    twin.policies.write_text(location.policies.read_text())

    made = location.ingest()
    twin.ingest_without_dagster()

    assert made.success
    assert metadata_of(made, "documents", "quarantined") == {
        "2026-01-05": 1,
        "2026-01-06": 0,
        "2026-01-07": 0,
        "2026-01-08": 0,
        "2026-01-09": 0,
    }
    assert location.state() == twin.state()
