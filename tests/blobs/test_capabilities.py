"""A probe finds out what a store does, and a log is kept only where creates are exclusive."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dr_pipelines.blobs.capabilities import Capabilities, probe
from dr_pipelines.blobs.local import LocalBlobStore
from dr_pipelines.blobs.memory import MemoryBlobStore
from dr_pipelines.errors import (
    InvalidRequest,
    NotFound,
    OutcomeUnknown,
    Refused,
)
from dr_pipelines.protocols import BlobStore
from dr_pipelines.testing.blob_faults import LostAnswers
from tests.blobs import broken_adapters as broken
from tests.repository.builders import repository

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ALL = Capabilities(
    probed_at=NOW,
    racers=16,
    winners=1,
    exclusive_create=True,
    read_after_write=True,
    range_reads=True,
    sizes=True,
    lists_after_write=True,
    deletes=True,
)


class ReadsLate(MemoryBlobStore):
    """Everything is there a moment later."""

    def _object(self, key: str) -> bytes:
        raise NotFound(key)

    def delete(self, key: str) -> None:
        self._objects.pop(key, None)


class OverwritesAndReadsLate(broken.LastWriterWins):
    """As radosgw where versions are kept: between two of them there may be none."""

    def create(self, key: str, data: bytes) -> None:  # type: ignore[override]
        super().create(key, data)
        if "/race-" in key:
            raise OutcomeUnknown(f"{key}: could not be read back") from NotFound(key)


class ListsLate(MemoryBlobStore):
    def keys(self, prefix: str) -> Iterator[str]:
        return iter(sorted(super().keys(prefix))[:-1])


class ForbidsDeletions(MemoryBlobStore):
    def delete(self, key: str) -> None:
        raise InvalidRequest("access denied")


def test_a_directory_and_memory_do_everything_and_keep_nothing_of_it(tmp_path: Path) -> None:
    stores: list[BlobStore] = [MemoryBlobStore(), LocalBlobStore(tmp_path)]
    for blobs in stores:
        assert probe(blobs, prefix="probe", now=NOW) == ALL
        assert list(blobs.keys("")) == []


@pytest.mark.parametrize(
    ("store", "differs"),
    [
        (broken.LastWriterWins, {"exclusive_create": False, "winners": 16}),
        (OverwritesAndReadsLate, {"exclusive_create": False, "winners": 16}),
        (broken.IncludesTheLastByte, {"range_reads": False}),
        (broken.RoundsSizesUp, {}),  # 4,096 bytes are a whole number of its blocks
        (broken.SaysMissingIsZeroBytes, {"deletes": False}),
        (ListsLate, {"lists_after_write": False}),
        (ForbidsDeletions, {"deletes": False}),
    ],
)
def test_a_probe_finds_what_a_store_lacks(
    store: type[MemoryBlobStore], differs: dict[str, Any]
) -> None:
    assert probe(store(), prefix="probe", now=NOW) == ALL.model_copy(update=differs)


@pytest.mark.parametrize(
    "store", [broken.LastWriterWins, broken.ChecksThenActs, broken.ConflictsButOverwrites]
)
def test_a_store_whose_creates_are_not_exclusive_is_refused(store: type[MemoryBlobStore]) -> None:
    measured = probe(store(), prefix="probe", now=NOW)
    with pytest.raises(Refused, match="memory:: an object that exists can be created again"):
        repository(store(), capabilities=measured.model_dump(mode="json"))


def test_a_store_that_reads_late_is_found_out() -> None:
    measured = probe(ReadsLate(), prefix="probe", now=NOW)
    assert measured == ALL.model_copy(
        update={
            "read_after_write": False,
            "range_reads": False,
            "sizes": False,
            "exclusive_create": False,
        }
    )


def test_an_exclusive_store_is_accepted() -> None:
    measured = ALL.model_dump(mode="json")
    assert repository(capabilities=measured).identity.capabilities == measured


def test_a_probe_whose_answers_are_lost_says_nothing() -> None:
    blobs = MemoryBlobStore()
    with pytest.raises(OutcomeUnknown):
        probe(LostAnswers(blobs), prefix="probe", now=NOW)
    assert list(blobs.keys("")) == []
