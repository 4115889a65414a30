"""Which of an engine's files that were kept are taken: the newest of that state that can be read,
whatever lies between."""

import json
from collections.abc import Callable

import pytest

from dr_pipelines.blobs.memory import MemoryBlobStore
from dr_pipelines.model.details import NativeEvidence
from dr_pipelines.model.recovery_point import KeptVersion, Manifest, RecoveryPoint, Sealed
from dr_pipelines.repository.history import History, NextEntry
from dr_pipelines.repository.json_codec import seal_json
from dr_pipelines.repository.native_files import files_kept_before, kept_for
from dr_pipelines.testing.blob_faults import Recording, replace
from tests.repository.builders import REFUSED, manifest, repository


@pytest.fixture
def blobs() -> Recording:
    return Recording(MemoryBlobStore())


@pytest.fixture
def history(blobs: Recording) -> History:
    """Entries 1 and 3 are of one state, 2 and 4 keep its files."""
    history = History(repository(blobs), "books")
    for _ in range(2):
        snapshot = state(history, manifest())
        keep(history, snapshot)
    return history


def state(history: History, value: Manifest) -> int:
    entry = NextEntry(detail=REFUSED, manifest=value)
    return history.append("evidence", lambda _: entry).head.number


def keep(history: History, snapshot: int, *, engine: str = "memory") -> None:
    files = KeptVersion(
        engine=engine, physical="books@1", version=f"of {snapshot}", snapshot=snapshot, files=()
    )
    home = history.repository
    listing = home.put(f"books/evidence/native/{home.new_name('-')}.json", files.canonical())
    detail = NativeEvidence(
        engine=engine,
        physical="books@1",
        version=files.version,
        snapshot=snapshot,
        listing=listing.key,
        files_total=0,
        size_bytes=0,
    )
    history.append("evidence", lambda _: NextEntry(detail=detail, objects=(listing,)))


def without_manifest(history: History, blobs: Recording) -> None:
    blobs.delete(history.log.read(3)[0].body.manifest.key)


def of_a_later_format(history: History, blobs: Recording) -> None:
    key = history.log.key(4)
    value = json.loads(blobs.read(key))
    del value["checksum"]
    replace(blobs, key, seal_json({**value, "v": 2}))


def with_a_sealed_listing(history: History, blobs: Recording) -> None:
    entry = history.log.read(4)[0]
    sealed = Sealed(scheme="later", key="k")
    objects = tuple(ref.model_copy(update={"crypto": sealed}) for ref in entry.body.objects)
    body = entry.body.model_copy(update={"objects": objects})
    value = entry.model_copy(update={"body": body}).model_dump(mode="json")
    replace(blobs, history.log.key(4), seal_json(value))


SPOILED: list[Callable[[History, Recording], None]] = [
    without_manifest,
    of_a_later_format,
    with_a_sealed_listing,
]


@pytest.mark.parametrize("spoil", SPOILED, ids=lambda spoil: spoil.__name__)
def test_files_that_cannot_be_read_are_passed_over_for_older_ones(
    history: History, blobs: Recording, spoil: Callable[[History, Recording], None]
) -> None:
    point = history.point(1)
    state(history, manifest())
    assert files_for(history, point) == retained(history, 4)
    spoil(history, blobs)
    assert files_for(history, point) == retained(history, 2)
    assert files_kept_before(history, "books@1") == ()


def files_for(history: History, point: RecoveryPoint) -> KeptVersion | None:
    chosen = kept_for(history, point, engine="memory")
    return None if chosen is None else chosen[0]


def retained(history: History, number: int) -> KeptVersion:
    listing = history.log.read(number)[0].body.objects[0]
    return KeptVersion.model_validate_json(history.repository.fetch(listing))


def test_listings_of_other_files_are_not_fetched(history: History, blobs: Recording) -> None:
    keep(history, 3, engine="other")
    blobs.calls.clear()
    assert kept_for(history, history.point(1), engine="memory") is not None
    assert files_kept_before(history, "books@2") == ()
    assert sum("/evidence/native/" in call.key for call in blobs.calls) == 1
