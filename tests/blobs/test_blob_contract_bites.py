"""Each broken store fails the suite, and at the test that is about its fault."""

import pytest

from dr_pipelines.blobs.memory import MemoryBlobStore
from dr_pipelines.testing.blob_contract import BlobStoreContract
from dr_pipelines.testing.suites import failing
from tests.blobs import broken_adapters as broken

CAUGHT_BY: dict[type[MemoryBlobStore], str] = {
    broken.LastWriterWins: "test_a_second_create_conflicts_and_changes_nothing",
    broken.ChecksThenActs: "test_of_concurrent_creates_one_wins",
    broken.ConflictsButOverwrites: "test_a_second_create_conflicts_and_changes_nothing",
    broken.AcceptsTheSameBytesAgain: "test_a_second_create_conflicts_and_changes_nothing",
    broken.OverwritesWhatIsEmpty: "test_an_empty_object_is_not_created_again",
    broken.SkipsEmptyObjects: "test_an_empty_object_is_an_object",
    broken.KeepsTheCallersBuffer: "test_a_memoryview_is_stored_as_it_is_now",
    broken.TruncatesLargeObjects: "test_a_large_object_is_read_back_whole",
    broken.IncludesTheLastByte: "test_a_range_is_start_to_before_stop",
    broken.FailsPastTheEnd: "test_a_range_past_the_end_gives_what_is_there",
    broken.ReadsMissingAsEmpty: "test_a_missing_object_is_not_found",
    broken.SaysMissingIsZeroBytes: "test_a_missing_object_is_not_found",
    broken.RoundsSizesUp: "test_what_was_created_is_read_back",
    broken.ListsOnePage: "test_a_listing_is_complete_however_long",
    broken.ListsInAnyOrder: "test_keys_ascend_bytewise",
    broken.ListsAsADirectoryWalk: "test_keys_ascend_bytewise",
    broken.ListsWholeDirectoriesOnly: "test_a_prefix_is_text_not_a_directory",
    broken.KeepsWhatIsDeleted: "test_a_deleted_object_is_gone_and_its_neighbours_stay",
    broken.DeletesWhatIsMissing: "test_a_missing_object_is_not_found",
    broken.DeletesByPrefix: "test_a_deleted_object_is_gone_and_its_neighbours_stay",
    broken.FoldsCase: "test_odd_keys_are_kept_apart_and_listed",
    broken.AcceptsAnyKey: "test_a_key_that_could_escape_is_refused_by_every_call",
}


def test_every_broken_store_is_listed() -> None:
    stores = {
        store
        for store in vars(broken).values()
        if isinstance(store, type) and issubclass(store, MemoryBlobStore)
    }
    assert stores - {MemoryBlobStore} == set(CAUGHT_BY)


def test_a_good_store_fails_nowhere() -> None:
    assert failing(BlobStoreContract, blobs=MemoryBlobStore) == set()


@pytest.mark.parametrize("store", CAUGHT_BY, ids=lambda store: store.__name__)
def test_a_broken_store_fails_where_it_breaks_its_promise(store: type[MemoryBlobStore]) -> None:
    assert CAUGHT_BY[store] in failing(BlobStoreContract, blobs=store)
