"""Manifests with pages, and every way to name a recovery point."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest

from dr_pipelines.errors import Damaged, InvalidRequest, NotFound
from dr_pipelines.model.base import canonical_json
from dr_pipelines.model.recovery_point import (
    Body,
    Manifest,
    ObjectRef,
    Partition,
    RecoveryPoint,
    SegmentRef,
    SourcePosition,
)
from dr_pipelines.repository.history import History
from dr_pipelines.repository.log import Draft
from dr_pipelines.repository.manifests import (
    read_manifest,
    write_manifest,
)
from dr_pipelines.repository.points import points, resolve
from dr_pipelines.repository.repository import Repository
from dr_pipelines.repository.segments import write_segment
from dr_pipelines.testing.blob_faults import flip_bit, remove
from tests.repository.builders import (
    NOON,
    REFUSED,
    SPEC,
    Version,
    index_of,
    manifest,
    repository,
    rows_of,
)

# Manifests


def refs(count: int) -> tuple[SegmentRef, ...]:
    index = ObjectRef(key="books/segments/w/0.index.parquet", sha256="0" * 64, size_bytes=1)
    return tuple(
        SegmentRef(
            key=f"books/segments/w/{n}.parquet",
            sha256=f"{n:064x}",
            size_bytes=n,
            index=index,
            kind="ingest",
            entry=n,
            rows=2,
            records=1,
            first_document="a",
            last_document="b",
            until=SourcePosition(epoch=1, position=n) if n % 7 == 0 else None,
        )
        for n in range(count)
    )


def test_a_manifest_of_another_collection_is_refused() -> None:
    home = repository()
    ref = write_manifest(home, manifest(collection="films"))
    with pytest.raises(Damaged, match=rf"{ref.key}: belongs to 'films', not 'books'"):
        read_manifest(home, ref, collection="books")


@pytest.mark.parametrize("value", [{}, [], "x", {"v": 1}, {"collection": "books"}])
def test_what_is_no_manifest_is_damaged(value: object) -> None:
    home = repository()
    ref = home.put("books/manifests/w/m.json", canonical_json(value))
    with pytest.raises(Damaged, match=r"books/manifests/w/m\.json: not a manifest"):
        read_manifest(home, ref, collection="books")


# Recovery points

MINUTE = timedelta(minutes=1)


def part(after: int, through: int) -> Partition:
    return Partition(epoch=1, after=after, through=through, anchor="x", anchored=through)


def covered(*position_ranges: tuple[int, int]) -> dict[str, Partition]:
    return {
        f"2026-01-{n:02d}": part(*position_range)
        for n, position_range in enumerate(position_ranges, start=1)
    }


def commit(home: Repository, state: Manifest) -> Manifest:
    home.log("books").append(
        "evidence",
        lambda head: Draft(1, Body(manifest=write_manifest(home, state), detail=REFUSED)),
    )
    return state


def books(home: Repository) -> History:
    return History(home, "books")


def segment(home: Repository, versions: Sequence[Version], *, entry: int = 1) -> SegmentRef:
    return write_segment(home, "books", rows_of(versions), spec=SPEC, kind="ingest", entry=entry)


def named(point: RecoveryPoint) -> tuple[int, int | None]:
    return point.number, point.until.position if point.until else None


def test_nothing_is_found_in_an_empty_log() -> None:
    for at in ("latest", "log:1", "seq:1", "2026-01-01"):
        with pytest.raises(NotFound, match=r"nothing is backed up yet\. Run: dr ingest books"):
            resolve(books(repository()), at)
    assert list(points(books(repository()))) == []


@pytest.mark.parametrize(
    "at", ["", "Latest", "log:", "log:-1", "log:1.5", "seq:x", "seq:" + "1" * 19, "log:١x", "noon"]
)
def test_a_word_that_names_no_point_is_answered_with_those_that_do(at: str) -> None:
    home = repository()
    commit(home, manifest())
    with pytest.raises(InvalidRequest, match=r"names no recovery point: expected latest, log:N, s"):
        resolve(books(home), at)


def test_points_are_named_by_their_log_number() -> None:
    home = repository()
    written = [commit(home, manifest(engine=f"test {n}")) for n in range(3)]
    assert [point.manifest for point in points(books(home))] == written
    for number in (1, 2, 3):
        point = resolve(books(home), f"log:{number}")
        assert point == books(home).point(number) == list(points(books(home)))[number - 1]
        assert (point.number, point.manifest, point.until) == (number, written[number - 1], None)
        assert point.id == f"{number}-{point.sha256[:8]}"
    assert resolve(books(home), "latest") == resolve(books(home), "log:3")
    for number in (0, 4):
        with pytest.raises(NotFound, match=f"books: the log holds entries 1 to 3, not {number}"):
            resolve(books(home), f"log:{number}")


def test_a_position_is_answered_by_the_newest_point_that_reached_it_without_a_gap() -> None:
    home = repository()
    commit(home, manifest(partitions=covered((0, 5))))
    commit(home, manifest(partitions=covered((0, 5), (7, 9))))  # 6 and 7 are missing
    assert resolve(books(home), "latest").manifest.coverage.frontier == 5
    assert named(resolve(books(home), "seq:5")) == (2, 5)
    for position in (6, 8, 10):
        with pytest.raises(
            NotFound, match=rf"position {position} is not covered: .* up to position 5$"
        ):
            resolve(books(home), f"seq:{position}")
    commit(home, manifest(partitions=covered((0, 5), (7, 9), (5, 7))))
    assert [named(resolve(books(home), f"seq:{n}")) for n in (0, 6, 9)] == [
        (3, 0),
        (3, 6),
        (3, 9),
    ]
    point = resolve(books(home), "seq:8")
    assert point.until == SourcePosition(epoch=1, position=8)
    assert point.id == f"3-{point.sha256[:8]}.8"


@pytest.mark.parametrize(
    ("position_ranges", "frontier"),
    [
        ([], 0),
        ([(1, 5)], 0),
        ([(0, 5)], 5),
        ([(3, 9), (0, 5)], 9),
        ([(0, 9), (2, 5)], 9),
        ([(0, 5), (6, 9)], 5),
        ([(5, 9), (0, 5), (9, 9), (9, 12)], 12),
    ],
)
def test_the_frontier_ends_at_the_first_gap(
    position_ranges: list[tuple[int, int]], frontier: int
) -> None:
    assert manifest(partitions=covered(*position_ranges)).coverage.frontier == frontier


def test_a_point_that_has_not_kept_older_versions_does_not_answer_for_them() -> None:
    home = repository()
    commit(home, manifest(partitions=covered((0, 9))))
    commit(home, manifest(partitions=covered((0, 9)), since=6))
    commit(home, manifest(partitions=covered((0, 3))))  # restored to an earlier position
    answers = [named(resolve(books(home), f"seq:{n}")) for n in (3, 4, 5, 6, 9)]
    assert answers == [(3, 3), (1, 4), (1, 5), (2, 6), (2, 9)]


def test_positions_of_an_earlier_epoch_are_not_mistaken_for_those_of_this_one() -> None:
    home = repository()
    commit(home, manifest(partitions=covered((0, 9))))
    commit(home, manifest(partitions=covered((0, 4)), epoch=2, epoch_name="second"))
    assert resolve(books(home), "seq:4").until == SourcePosition(epoch=2, position=4)
    with pytest.raises(NotFound, match="position 5 is not covered"):
        resolve(books(home), "seq:5")


def versions_at(*minutes: int | None, first: int = 1) -> list[Version]:
    """A version at each position, at so many minutes past noon; None: nothing kept of it."""
    return [
        Version(f"d{n}", n, updated_at=NOON + m * MINUTE)
        for n, m in enumerate(minutes, start=first)
        if m is not None
    ]


def at(home: Repository, minutes: float) -> tuple[int, int | None]:
    return named(resolve(books(home), (NOON + minutes * MINUTE).isoformat()))


def test_a_time_is_the_last_position_before_the_sources_clock_passed_it() -> None:
    """The clock is the running maximum: position 3 was said at 20, when 30 had been said."""
    home = repository()
    two = (segment(home, versions_at(10, 30, 20)), segment(home, versions_at(30, 40, first=4)))
    commit(home, manifest(segments=two, partitions=covered((0, 5))))
    with pytest.raises(
        NotFound, match=r"books: the source says nothing at or before 2026-01-01T12"
    ):
        at(home, 9)
    times = [10, 15, 20, 25, 29.9, 30, 39, 40, 1000]
    assert [at(home, m)[1] for m in times] == [1, 1, 1, 1, 1, 4, 4, 5, 5]
    assert named(resolve(books(home), "2026-01-02")) == (1, 5)
    assert named(resolve(books(home), "2026-01-01T12:10:00Z")) == (1, 1)
    assert named(resolve(books(home), "2026-01-01T12:10:00")) == (1, 1)  # UTC
    assert named(resolve(books(home), "2026-01-01T14:10:00+02:00")) == (1, 1)


def test_only_what_the_source_said_in_this_epoch_moves_its_clock() -> None:
    home = repository()
    late = NOON + 99 * MINUTE
    others = [
        Version("edited", 1, edit=1, updated_at=NOON - MINUTE),
        Version("store", 0, updated_at=NOON - MINUTE),
        Version("before", 7, epoch=0, updated_at=NOON - MINUTE),
        Version("late edit", 1, edit=1, updated_at=late),
    ]
    one = (segment(home, [*versions_at(10, 20), *others]),)
    commit(home, manifest(segments=one, partitions=covered((0, 2))))
    with pytest.raises(NotFound, match="the source says nothing at or before"):
        at(home, 5)
    assert at(home, 15) == (1, 1)
    assert at(home, 50) == (1, 2)


def test_a_time_behind_a_gap_is_not_answered() -> None:
    home = repository()
    two = (segment(home, versions_at(1, 2)), segment(home, versions_at(8, 9, first=8)))
    commit(home, manifest(segments=two, partitions=covered((0, 2), (7, 9))))
    with pytest.raises(NotFound, match="position 8 is not covered"):
        at(home, 8)


def test_versions_that_were_not_kept_still_move_the_sources_clock() -> None:
    """A recovery that embedded everything again keeps only the newest version of each document."""
    home = repository()
    first = versions_at(10, 30, 20, 20)
    commit(home, manifest(segments=(segment(home, first),), partitions=covered((0, 4))))
    ref = segment(home, versions_at(None, None, 20, 20), entry=1)
    replayed = manifest(segments=(ref,), since=4, partitions=covered((0, 4)))
    commit(home, replayed)
    more = (ref, segment(home, versions_at(40, first=5), entry=3))
    commit(home, manifest(segments=more, since=4, partitions=covered((0, 5))))
    assert [at(home, m) for m in (10, 25, 30, 40)] == [(1, 1), (1, 1), (3, 4), (3, 5)]


@pytest.mark.usefixtures("every_index")
def test_a_time_needs_an_intact_index_and_names_the_damaged_one() -> None:
    home = repository()
    ref = segment(home, versions_at(1, 2))
    commit(home, manifest(segments=(ref,), partitions=covered((0, 2))))
    flip_bit(home.blobs, index_of(ref).key, offset=100)
    with pytest.raises(Damaged, match=rf"{index_of(ref).key} has been altered"):
        at(home, 1)
    assert named(resolve(books(home), "seq:1")) == (1, 1)


def test_in_the_logs_clock_a_time_is_the_newest_entry_at_or_before_it() -> None:
    home = repository()
    for _ in range(3):
        commit(home, manifest())
    entries = [entry for entry, _ in home.log("books").entries()]
    second = timedelta(seconds=1)

    def number_at(time: datetime) -> int:
        return resolve(books(home), time.isoformat(), clock="log").number

    assert [number_at(entry.at) for entry in entries] == [1, 2, 3]
    assert [number_at(entry.at + second / 2) for entry in entries] == [1, 2, 3]
    with pytest.raises(NotFound, match=f"the first entry is of {entries[0].at.isoformat()[:19]}"):
        number_at(entries[0].at - second / 2)
    with pytest.raises(NotFound, match=r"nothing is backed up yet"):
        resolve(books(repository()), "2026-01-01", clock="log")


def test_an_older_point_is_found_where_the_newest_manifest_is_lost() -> None:
    home = repository()
    older, _ = (commit(home, manifest(engine=engine)) for engine in ("test 1", "test 2"))
    (entry, _), (last, _) = home.log("books").entries()
    remove(home.blobs, last.body.manifest.key)
    for at in ("log:1", entry.at.isoformat()):
        assert resolve(books(home), at, clock="log").manifest == older
    with pytest.raises(Damaged, match="is missing from"):
        resolve(books(home), "latest")
