"""A real Chroma server keeps the contract: a part of it in each run, the whole in a long one."""

import uuid
from pathlib import Path

import pytest

from dr_pipelines.protocols import VectorStore
from dr_pipelines.stores.chroma import open_store
from dr_pipelines.testing.store_contract import VectorStoreContract
from tests.servers.chroma import ChromaServer
from tests.stores.test_chroma_store import TUNED, UNREPORTED

PART = frozenset(
    f"test_{name}"
    for name in (
        "a_description_does_not_change_with_the_records",
        "a_description_makes_a_collection_of_that_description",
        "a_filter_means_the_same_to_the_engine",
        "a_change_token_is_equal_while_nothing_changes",
        "a_name_is_an_alias_or_a_collection",
        "a_new_store_is_empty",
        "a_reader_never_sees_an_alias_absent_or_half_switched",
        "a_scan_of_documents_gives_only_theirs",
        "a_scan_of_many_ranges_is_complete_and_ordered",
        "a_scan_under_a_writer_gives_whole_records",
        "a_specification_is_kept_whole",
        "a_write_replaces_by_id_and_leaves_the_rest",
        "an_alias_reads_like_its_collection",
        "another_specification_under_a_taken_name_is_refused",
        "every_part_of_a_configuration_reads_back",
        "every_value_comes_back_as_it_was",
        "parts_that_are_not_reported_are_those_declared",
        "other_records_of_replaced_documents_are_gone",
        "sparse_and_several_vectors_come_back",
        "the_engine_follows_later_writes",
        "the_next_process_finds_everything",
        "vectors_come_back_bit_for_bit",
        "what_does_not_exist_is_not_found_by_any_call",
    )
)
"""What the wire, another process or another clock could spoil; the rest is the embedded store's."""


class _Server(VectorStoreContract):
    engine = "chroma"
    scans_one_moment = False
    tuned = (TUNED,)
    unreported = UNREPORTED
    many = 500

    @pytest.fixture
    def store(self, chroma_server: ChromaServer) -> VectorStore:
        self._url = f"{chroma_server.url}?database=d{uuid.uuid4().hex}"
        return open_store(self._url, base=Path())

    def reopened(self, store: VectorStore) -> VectorStore:
        return open_store(self._url, base=Path())


@pytest.mark.long
class TestChromaServerInFull(_Server):
    many = 3000


class TestChromaServer(_Server):
    pass


for _name in {name for name in dir(VectorStoreContract) if name.startswith("test_")} - PART:
    setattr(TestChromaServer, _name, None)  # pytest does not collect it


def test_the_part_of_the_contract_exists() -> None:
    assert set(dir(VectorStoreContract)) >= PART
