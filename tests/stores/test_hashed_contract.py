"""Every engine with files that prove what is in them meets the contract; each broken one fails it
at the test that is about its fault."""

import hashlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from dr_pipelines.errors import NotFound
from dr_pipelines.protocols import HashedFiles, HashedPiece, VectorStore
from dr_pipelines.stores.engines import engines
from dr_pipelines.testing.hashed_contract import HashedFilesContract
from dr_pipelines.testing.suites import failing
from tests.stores.lancedb_hashed import LanceHashedFilesContract, lance_store


class TestLanceDB(LanceHashedFilesContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> VectorStore:
        return lance_store(tmp_path)


def test_every_engine_that_hashes_files_is_run() -> None:
    assert [name for name, engine in engines().items() if engine.hashed_files] == ["lancedb"]


Pieces = Iterator[HashedPiece]


class Broken:
    """The files of a store, as one of the faults below gives them."""

    def __init__(self, files: HashedFiles) -> None:
        self.files = files
        self.first: dict[str, list[HashedPiece]] = {}

    def pieces(self, name: str) -> Pieces | None:
        pieces = self.files.pieces(name)
        return None if pieces is None else self.broken_pieces(name, pieces)

    def broken_pieces(self, name: str, pieces: Pieces) -> Pieces:
        return pieces


class OneDigest(Broken):
    def broken_pieces(self, name: str, pieces: Pieces) -> Pieces:
        return (replace(piece, digest="0" * 64) for piece in pieces)


class NewDigests(Broken):
    numbers = itertools.count()

    def broken_pieces(self, name: str, pieces: Pieces) -> Pieces:
        return (replace(piece, digest=f"{next(self.numbers):064x}") for piece in pieces)


class DigestOfPlaces(Broken):
    """By the number of rows, and whatever they are."""

    def broken_pieces(self, name: str, pieces: Pieces) -> Pieces:
        for number, piece in enumerate(pieces):
            digest = hashlib.sha256(f"{number} {len(piece.live)}".encode()).hexdigest()
            yield replace(piece, digest=digest)


class RemembersDigests(Broken):
    """Those of the first look stand for files of the same size."""

    def broken_pieces(self, name: str, pieces: Pieces) -> Pieces:
        listed = list(pieces)
        first = self.first.setdefault(name, listed)
        if len(first) == len(listed):
            listed = [replace(p, digest=f.digest) for p, f in zip(listed, first, strict=True)]
        yield from listed


class SameVersionForEver(Broken):
    def broken_pieces(self, name: str, pieces: Pieces) -> Pieces:
        return iter(self.first.setdefault(name, list(pieces)))


class WithoutLast(Broken):
    def broken_pieces(self, name: str, pieces: Pieces) -> Pieces:
        return iter(list(pieces)[:-1])


class LastTwice(Broken):
    def broken_pieces(self, name: str, pieces: Pieces) -> Pieces:
        listed = list(pieces)
        return iter([*listed, replace(listed[-1], digest="1" * 64)])


class NeverEmpty(Broken):
    def broken_pieces(self, name: str, pieces: Pieces) -> Pieces:
        nothing = HashedPiece("2" * 64, pa.array([0], pa.uint32()), lambda: iter(()))
        return iter(list(pieces) or [nothing])


class CountsDeleted(Broken):
    def broken_pieces(self, name: str, pieces: Pieces) -> Pieces:
        for piece in pieces:
            last = piece.live[-1].as_py() if len(piece.live) else -1
            yield replace(piece, live=pa.array(range(last + 1), pa.uint32()))


class PlacesAnew(Broken):
    """Of the live records, numbered from 0."""

    def broken_pieces(self, name: str, pieces: Pieces) -> Pieces:
        for piece in pieces:
            yield replace(piece, live=pa.array(range(len(piece.live)), pa.uint32()))


class LongPlaces(Broken):
    def broken_pieces(self, name: str, pieces: Pieces) -> Pieces:
        return (replace(piece, live=piece.live.cast(pa.int64())) for piece in pieces)


class Backwards(Broken):
    """Records come last to first; places do not."""

    def broken_pieces(self, name: str, pieces: Pieces) -> Pieces:
        for piece in pieces:
            yield replace(piece, read=lambda piece=piece: _reversed(piece))  # type: ignore[misc]


def _reversed(piece: HashedPiece) -> Iterator[pa.RecordBatch]:
    for batch in reversed(list(piece.read())):
        yield batch.take(pa.array(range(batch.num_rows - 1, -1, -1)))


class FewColumns(Broken):
    def broken_pieces(self, name: str, pieces: Pieces) -> Pieces:
        for piece in pieces:
            yield replace(piece, read=_few(piece.read))


def _few(read: Callable[[], Iterator[pa.RecordBatch]]) -> Callable[[], Iterator[pa.RecordBatch]]:
    return lambda: (batch.select(batch.schema.names[:-1]) for batch in read())


class ReadOnce(Broken):
    def broken_pieces(self, name: str, pieces: Pieces) -> Pieces:
        for piece in pieces:
            batches = piece.read()
            yield replace(piece, read=lambda batches=batches: batches)  # type: ignore[misc]


class NeverNone(Broken):
    def pieces(self, name: str) -> Pieces | None:
        return self.files.pieces(name) or iter(())


class NothingMissing(Broken):
    def pieces(self, name: str) -> Pieces | None:
        try:
            return self.files.pieces(name)
        except NotFound:
            return iter(())


BROKEN: list[tuple[type[Broken], str]] = [
    (OneDigest, "test_files_that_stay_have_the_digests_that_they_had"),
    (NewDigests, "test_files_that_stay_have_the_digests_that_they_had"),
    (DigestOfPlaces, "test_a_digest_stands_for_the_same_records_whatever_was_written"),
    (DigestOfPlaces, "test_another_meaning_of_the_same_bytes_is_another_digest"),
    (RemembersDigests, "test_every_bit_of_every_file_is_in_the_digests"),
    (SameVersionForEver, "test_the_newest_version_is_looked_at"),
    (WithoutLast, "test_all_records_are_in_the_pieces_once"),
    (LastTwice, "test_all_records_are_in_the_pieces_once"),
    (CountsDeleted, "test_places_of_live_records_ascend"),
    (PlacesAnew, "test_a_record_keeps_its_place_when_another_is_deleted"),
    (LongPlaces, "test_places_of_live_records_ascend"),
    (Backwards, "test_a_record_keeps_its_place_when_another_is_deleted"),
    (FewColumns, "test_records_are_in_the_schema_of_the_store"),
    (ReadOnce, "test_a_piece_is_read_again_and_gives_the_same"),
    (NeverNone, "test_files_that_do_not_say_all_are_no_pieces"),
    (NothingMissing, "test_a_collection_that_is_not_there_is_an_error"),
    (NeverEmpty, "test_a_collection_without_records_has_none_in_its_pieces"),
]


def suite_of(broken: type[Broken]) -> type[HashedFilesContract]:
    class Suite(LanceHashedFilesContract):
        def files(self, store: VectorStore) -> HashedFiles:
            return broken(super().files(store))

    return Suite


@pytest.mark.parametrize(("broken", "test"), BROKEN)
def test_a_broken_adapter_fails_where_its_fault_is(
    broken: type[Broken], test: str, tmp_path: Path
) -> None:
    numbers = itertools.count()
    fixtures: dict[str, Callable[[], Any]] = {
        "store": lambda: lance_store(tmp_path / str(next(numbers)))
    }
    assert failing(LanceHashedFilesContract, only=test, **fixtures) == set()
    assert failing(suite_of(broken), only=test, **fixtures) == {test}


def test_every_test_of_the_suite_has_a_broken_adapter() -> None:
    tests = {name for name in dir(HashedFilesContract) if name.startswith("test_")}
    assert {test for _, test in BROKEN} == tests
