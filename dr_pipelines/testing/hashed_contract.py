"""The contract that every engine must meet whose files prove the records in them.

class TestMyHashedFiles(HashedFilesContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> VectorStore:
        return MyStore(tmp_path)

    def files(self, store: VectorStore) -> HashedFiles: ...

    def data_files(self, store: VectorStore, name: str) -> list[Path]: ...

    def others(self, store: VectorStore) -> list[str]: ...

    def reinterpret(self, store: VectorStore, name: str) -> None: ...

A backup that accepts hashed files believes equal digests: whatever these do not cover is damage
that nobody finds. The tests write with the store and read with its own scan.
"""

# ruff: noqa: S101 - a suite is made of assertions

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from dr_pipelines.errors import DrError, NotFound
from dr_pipelines.model.record import store_schema
from dr_pipelines.protocols import HashedFiles, HashedPiece, VectorStore
from dr_pipelines.testing.store_samples import SPEC, contents, document, record, table

NAME = SPEC.name
Facts = dict[str, dict[int, dict[str, Any]]]
"""For the digest of each piece the records at its places."""
ROWS = [*document("a", chunks=3), *document("b", chunks=2), *document("c", chunks=4)]
EDITED = [record("b", 0, text="edited", embedding=[0.5, 0.5, 0.25]), record("b", 1)]


def read(piece: HashedPiece) -> list[dict[str, Any]]:
    """The live records of a piece, in its order."""
    rows: list[dict[str, Any]] = pa.Table.from_batches(piece.read(), store_schema(SPEC)).to_pylist()
    return rows


def looked_at(files: HashedFiles, name: str = NAME) -> list[HashedPiece]:
    """Every piece of a collection of which the files say all."""
    pieces = files.pieces(name)
    assert pieces is not None, f"the files of {name!r} do not say all of it"
    return list(pieces)


def by_digest(pieces: list[HashedPiece]) -> Facts:
    """The records that digests stand for; a digest of two pieces fails."""
    facts: Facts = {}
    for piece in pieces:
        assert piece.digest not in facts, "two pieces have one digest"
        facts[piece.digest] = dict(zip(piece.live.to_pylist(), read(piece), strict=True))
    return facts


def require_agreement(before: Facts, after: Facts) -> None:
    """Raise `AssertionError` where one digest stands for two records at one place."""
    for digest in before.keys() & after.keys():
        for place in before[digest].keys() & after[digest].keys():
            assert before[digest][place] == after[digest][place], (
                f"digest {digest} stands for two records at place {place}"
            )


class HashedFilesContract:
    """Equal digests mean equal records at equal places, and all records are in the pieces."""

    @pytest.fixture
    def store(self) -> VectorStore:
        """An empty store whose files can be hashed."""
        raise NotImplementedError("override the `store` fixture")

    def files(self, store: VectorStore) -> HashedFiles:
        """The files of the store, as if another process opened them."""
        raise NotImplementedError("override `files`")

    def data_files(self, store: VectorStore, name: str) -> list[Path]:
        """The files in which the newest version of a collection has its records."""
        raise NotImplementedError("override `data_files`")

    def others(self, store: VectorStore) -> list[str]:
        """Collections that are made by this call and of which the files do not say all, one for
        each reason; an empty list where there can be none."""
        raise NotImplementedError("override `others`")

    def reinterpret(self, store: VectorStore, name: str) -> None:
        """Exchange the columns `text` and `uri` of a collection without touching its data files,
        as the engine's own client may. Do nothing where no engine's call does that."""
        raise NotImplementedError("override `reinterpret`")

    def filled(self, store: VectorStore) -> HashedFiles:
        """The files of a collection that has more than one of them."""
        store.create(SPEC)
        for name in ("a", "b", "c"):
            store.write(NAME, table(*(row for row in ROWS if row["document_id"] == name)))
        return self.files(store)

    def remove(self, store: VectorStore, *documents: str) -> None:
        """Remove whole documents."""
        store.write(NAME, table().slice(0, 0), replaces=documents)

    def test_all_records_are_in_the_pieces_once(self, store: VectorStore) -> None:
        files = self.filled(store)
        store.write(NAME, table(*EDITED), replaces=["b"])
        self.remove(store, "a")
        batches = [batch for piece in looked_at(files) for batch in piece.read()]
        ids = [key for batch in batches for key in batch.column("id").to_pylist()]
        scanned = contents(store)
        assert sorted(ids) == [row["id"] for row in scanned]
        in_pieces = pa.Table.from_batches(batches, store_schema(SPEC)).sort_by("id")
        whole = pa.Table.from_batches(store.scan(NAME), store_schema(SPEC))
        assert in_pieces.equals(whole)

    def test_places_of_live_records_ascend(self, store: VectorStore) -> None:
        store.create(SPEC)
        store.write(NAME, table(*ROWS))
        self.remove(store, "b")
        for piece in looked_at(self.files(store)):
            assert piece.live.type == pa.uint32()
            places = piece.live.to_pylist()
            assert places == sorted(set(places))
            assert len(read(piece)) == len(places)

    def test_records_are_in_the_schema_of_the_store(self, store: VectorStore) -> None:
        for piece in looked_at(self.filled(store)):
            for batch in piece.read():
                assert batch.schema.equals(store_schema(SPEC))

    def test_a_piece_is_read_again_and_gives_the_same(self, store: VectorStore) -> None:
        for piece in looked_at(self.filled(store)):
            assert read(piece) == read(piece) != []

    def test_files_that_stay_have_the_digests_that_they_had(self, store: VectorStore) -> None:
        files = self.filled(store)
        before = by_digest(looked_at(files))
        assert by_digest(looked_at(files)) == by_digest(looked_at(self.files(store))) == before
        store.write(NAME, table(*document("d", chunks=1)))
        after = by_digest(looked_at(files))
        assert before.keys() & after.keys(), "no file was written once"
        require_agreement(before, after)

    def test_a_digest_stands_for_the_same_records_whatever_was_written(
        self, store: VectorStore
    ) -> None:
        files = self.filled(store)
        versions = [by_digest(looked_at(files))]
        again = [record("c", chunk, text="the last ones, as many") for chunk in range(4)]
        store.write(NAME, table(*again), replaces=["c"])
        versions.append(by_digest(looked_at(files)))
        store.write(NAME, table(*EDITED), replaces=["b"])
        versions.append(by_digest(looked_at(files)))
        store.write(NAME, table(record("c", 1, text="edited too")))
        versions.append(by_digest(looked_at(files)))
        store.build_index(NAME)
        versions.append(by_digest(looked_at(files)))
        for number, after in enumerate(versions):
            for before in versions[:number]:
                require_agreement(before, after)

    def test_a_record_keeps_its_place_when_another_is_deleted(self, store: VectorStore) -> None:
        store.create(SPEC)
        store.write(NAME, table(*ROWS))
        files = self.files(store)
        before = by_digest(looked_at(files))
        self.remove(store, "a")
        after = by_digest(looked_at(files))
        require_agreement(before, after)
        gone = [row["id"] for facts in after.values() for row in facts.values()]
        assert not any(key.startswith("a#") for key in gone)

    def test_the_newest_version_is_looked_at(self, store: VectorStore) -> None:
        files = self.filled(store)
        looked_at(files)
        store.write(NAME, table(record("d", 0, text="new")))
        self.remove(store, "a")
        documents = {row["document_id"] for piece in looked_at(files) for row in read(piece)}
        assert documents == {"b", "c", "d"}

    def test_every_bit_of_every_file_is_in_the_digests(self, store: VectorStore) -> None:
        """The change leaves size and times as they were: only reading all of it finds it."""
        files = self.filled(store)
        whole = {piece.digest for piece in looked_at(files)}
        for path in self.data_files(store, NAME):
            data, times = path.read_bytes(), path.stat()
            for place in sorted({0, len(data) // 3, len(data) // 2, len(data) - 1}):
                changed = bytearray(data)
                changed[place] ^= 1
                path.write_bytes(changed)
                os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
                assert self._looks_otherwise(store, files, whole), f"byte {place} of {path.name}"
            path.write_bytes(data)
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        assert {piece.digest for piece in looked_at(files)} == whole

    def _looks_otherwise(self, store: VectorStore, files: HashedFiles, whole: set[str]) -> bool:
        """True if both the files that were open and those that are opened now tell."""
        for each in (files, self.files(store)):
            try:
                digests = {piece.digest for piece in looked_at(each)}
            except DrError:  # it does not even open: that is listed, too
                continue
            if digests == whole:
                return False
        return True

    def test_another_meaning_of_the_same_bytes_is_another_digest(self, store: VectorStore) -> None:
        before = by_digest(looked_at(self.filled(store)))
        self.reinterpret(store, NAME)
        require_agreement(before, by_digest(looked_at(self.files(store))))

    def test_a_collection_without_records_has_none_in_its_pieces(self, store: VectorStore) -> None:
        store.create(SPEC)
        files = self.files(store)
        assert sum(len(piece.live) for piece in looked_at(files)) == 0
        store.write(NAME, table(*ROWS))
        self.remove(store, "a", "b", "c")
        pieces = looked_at(files)
        assert [len(piece.live) for piece in pieces] == [0] * len(pieces)
        assert [row for piece in pieces for row in read(piece)] == []

    def test_files_that_do_not_say_all_are_no_pieces(self, store: VectorStore) -> None:
        for name in self.others(store):
            assert list(store.scan(name, columns=["id"])), f"{name!r} has no record"
            assert self.files(store).pieces(name) is None, name

    def test_a_collection_that_is_not_there_is_an_error(self, store: VectorStore) -> None:
        files = self.filled(store)
        with pytest.raises(NotFound):
            looked_at(files, "nothing@1")
