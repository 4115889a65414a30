"""A state that was proven is not folded again: its input has the hashes that it had, or the proof
fails."""

from collections.abc import Callable
from typing import Any

import pytest

from dr_pipelines.blobs.memory import MemoryBlobStore
from dr_pipelines.errors import Damaged
from dr_pipelines.model.recovery_point import ObjectRef, RecoveryPoint
from dr_pipelines.proof import restorable
from dr_pipelines.proof.restorable import check_restorable
from dr_pipelines.proof.verify import require_state
from dr_pipelines.testing.blob_faults import flip_bit, remove, truncate
from dr_pipelines.testing.memory_store import MemoryVectorStore
from dr_pipelines.testing.memory_witness import MemoryWitness
from dr_pipelines.testing.world import START, ListedSource, Process, World

DAYS = 20
"""Enough that segments lie in pages, which are packed."""


@pytest.fixture(scope="module")
def made() -> Process:
    source = ListedSource()
    ids = iter(f"{n:032x}" for n in range(1_000_000))
    blobs = MemoryBlobStore()
    world = World(source, blobs, MemoryVectorStore(), MemoryWitness(), lambda: next(ids))
    process = world.process()
    for number in range(DAYS):
        source.upsert(f"d{number:02d}", f"text {number}", at=START)
        process.ingest()
    process.backup()
    return process


@pytest.fixture
def folds(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A line for each fold."""
    seen = list[str]()

    def counted(*arguments: Any, **more: Any) -> None:
        seen.append("fold")
        require_state(*arguments, **more)

    monkeypatch.setattr(restorable, "require_state", counted)
    return seen


def objects_of(process: Process, point: RecoveryPoint) -> dict[str, ObjectRef]:
    """By what a restore needs them for."""
    groups = list(process.history.segments(point.manifest).groups())
    packed = next(g.page.packed for g in groups if g.page is not None and g.page.packed is not None)
    segment = next(g.segment for g in groups if g.segment is not None)
    return {
        "packed rows": packed,
        "packed vectors": packed.vectors[0],
        "rows": segment,
        "vectors": segment.vectors[0],
    }


def flipped(blobs: MemoryBlobStore, key: str) -> None:
    flip_bit(blobs, key, offset=blobs.size(key) // 2)


def cut(blobs: MemoryBlobStore, key: str) -> None:
    truncate(blobs, key, size=blobs.size(key) - 1)


def test_the_same_state_is_not_folded_again(made: Process, folds: list[str]) -> None:
    point = made.point()
    assert check_restorable(made.history, point).sound
    assert folds == ["fold"]
    again = check_restorable(made.history, point, proven=point.number)
    assert (again.sound, folds) == (True, ["fold"])
    assert again.objects >= len(list(made.history.segments(point.manifest).groups()))


def test_another_state_is_folded(made: Process, folds: list[str]) -> None:
    newest = made.history.head().number
    assert check_restorable(made.history, made.point(), proven=newest - 2).sound
    assert folds == ["fold"]


def test_what_another_version_has_proven_is_folded(
    made: Process, folds: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restorable, "__version__", "another")
    point = made.point()
    assert check_restorable(made.history, point, proven=point.number).sound
    assert folds == ["fold"]


@pytest.mark.parametrize(
    ("which", "damage"),
    [
        ("packed rows", flipped),
        ("packed rows", remove),
        ("packed vectors", cut),
        ("packed vectors", remove),
        ("rows", flipped),
        ("rows", remove),
        ("vectors", cut),
        ("vectors", remove),
    ],
)
def test_damage_since_the_proof_is_a_finding(
    made: Process,
    folds: list[str],
    which: str,
    damage: Callable[[MemoryBlobStore, str], None],
) -> None:
    point, blobs = made.point(), made.repository.blobs
    assert isinstance(blobs, MemoryBlobStore)
    key = objects_of(made, point)[which].key
    data = blobs.read(key)
    damage(blobs, key)
    try:
        result = check_restorable(made.history, point, proven=point.number)
    finally:
        remove(blobs, key) if damage is not remove else None
        blobs.create(key, data)
    assert [finding.key for finding in result.findings] == [key]
    assert folds == []


def test_the_fold_finds_what_hashes_cannot(made: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first proof folds: objects that were written wrong have their hashes."""

    def wrong(*_: Any, **more: Any) -> None:
        raise Damaged("does not add up")

    monkeypatch.setattr(restorable, "require_state", wrong)
    point = made.point()
    assert not check_restorable(made.history, point, proven=point.number - 1).sound
