"""Situations from public reports that the first release did not pass: what happens now, and where
that is tested. They are part of docs/campaigns.md."""

from collections.abc import Iterator
from dataclasses import dataclass

BLOBS = "tests/stores/test_lancedb_blobs.py::"
FEED = "tests/ingestion/test_jsonl_source.py::"
FOREIGN = "tests/stores/test_pgvector_foreign.py::"
GIT = "tests/ingestion/test_git_source.py::"
LENGTHS = "tests/stores/test_qdrant_lengths.py::"
NAMES = "tests/cli/test_stored_names.py::"
S3 = "tests/blobs/test_s3_blobs.py::"
SHAPES = "tests/stores/test_pgvector_shapes.py::"
TABLES = "tests/stores/test_lancedb_tables.py::"
UNREAD = "tests/cli/test_unread.py::"
WHOLE = "tests/ingestion/test_whole_texts.py::"

TITLE = """\
## Situations from public reports

Shapes of data and situations as somebody had them, with project and number of the report where
there is one, built small. None of them passed in the first release; each stands for its kind. The
tests run in `make test`.

### Backed up, lost, restored into the same engine

Where nothing else is said, the first release called the backup "proven equal"."""
OTHERS = "### Sources, storage, models, orchestration"


@dataclass(frozen=True)
class Situation:
    """`reports` name project and number; `tests` are `path::name`."""

    shape: str
    reports: str
    before: str
    now: str
    tests: tuple[str, ...]


RESTORED = (
    Situation(
        "LanceDB: a column of blobs (8.4 MB of images)",
        "lancedb 3744, lance 7955",
        "only descriptors were kept, 12.9 kB; the native route left the files of blobs out and "
        "said “equal bit for bit”",
        "the bytes are records and come back as blobs, by load and from native files; a blob "
        "that lies elsewhere is refused at backup, by record, column and address",
        (
            "tests/cli/test_blobs.py::test_a_table_with_blobs_comes_back_with_every_byte",
            f"{BLOBS}test_files_of_blobs_are_among_those_of_a_version",
            f"{BLOBS}test_a_blob_that_lies_elsewhere_is_refused_by_name_and_never_opened",
        ),
    ),
    Situation(
        "PostgreSQL: tables that inherit (`INHERITS`), 1,000 rows through the parent",
        "timescaledb 1835, 10361",
        "exit 0 with the parent's own 5 rows",
        "refused at backup; all of the tables are named",
        (f"{SHAPES}test_a_table_that_others_inherit_from_is_refused_by_name",),
    ),
    Situation(
        "Qdrant's local mode: cosine, vectors not of length 1",
        "qdrant-client 434",
        "no restore into Qdrant worked",
        "restored, bit for bit",
        (f"{LENGTHS}test_whatever_the_local_mode_holds_comes_back_bit_for_bit",),
    ),
    Situation(
        "Qdrant Edge: cosine, a vector shorter than 3.45e-4",
        "qdrant-client 434",
        "the restore failed",
        "restored, bit for bit",
        (f"{LENGTHS}test_whatever_edge_holds_comes_back_bit_for_bit",),
    ),
    Situation(
        "Qdrant Edge: float16 under cosine",
        "cocoindex 2282, qdrant 5988",
        "2 of 200 vectors came back one unit in the last place off; the restore failed and left "
        "a wrong copy",
        "restored, bit for bit; a form that the engine rounds to again at each write is said at "
        "backup",
        (
            f"{LENGTHS}test_whatever_edge_holds_comes_back_bit_for_bit",
            f"{LENGTHS}test_a_form_that_the_engine_rounds_to_again_is_said_beforehand",
        ),
    ),
    Situation(
        "PostgreSQL: `CHECK … NOT VALID`, and older rows that break it",
        "pgcopydb 498, gpbackup 306",
        "the restore failed",
        "as it was, in partitions too",
        (
            f"{SHAPES}test_a_constraint_that_older_rows_break_comes_back_not_valid",
            f"{SHAPES}test_a_constraint_of_a_partition_that_older_rows_break_comes_back_not_valid",
        ),
    ),
    Situation(
        "PostgreSQL: an INVALID unique index, left by `CREATE INDEX CONCURRENTLY`",
        "yugabyte 28048",
        "the restore failed; the next backup said “is being restored”",
        "not made, and said at backup",
        (f"{SHAPES}test_an_index_that_was_never_finished_is_not_made_and_is_said",),
    ),
    Situation(
        "PostgreSQL: a unique index on the primary key's column (LangChain's table); an index "
        "beside an exclusion constraint of equal text",
        "rag_api 259",
        "the index was lost, exit 3 each time",
        "both are there",
        (f"{SHAPES}test_every_index_comes_back_beside_others_like_it",),
    ),
    Situation(
        "LanceDB: a NaN or infinite component",
        "lancedb 3177",
        "the backup ended with “This is a defect”",
        "kept and restored bit for bit; a vector with a null among its components is named by id",
        (
            f"{TABLES}test_vectors_with_any_number_come_back",
            f"{TABLES}test_a_vector_with_a_hole_is_named_as_a_misfit",
        ),
    ),
    Situation(
        "PostgreSQL: foreign keys and triggers",
        "prisma 27770, langgraph 2526",
        "said at restore only, then lost",
        "foreign keys come back, validated where they hold; triggers come back last, with consent "
        "to the code that they call, and none is set off",
        (
            f"{SHAPES}test_foreign_keys_come_back_as_they_were",
            f"{SHAPES}test_a_foreign_key_that_does_not_hold_any_more_is_for_new_rows",
            "tests/stores/test_pgvector_triggers.py::"
            "test_triggers_come_back_as_they_were_and_none_is_set_off",
        ),
    ),
    Situation(
        "PostgreSQL: rules, publications, views, foreign keys of other tables, comments of "
        "indexes, names of NOT NULL constraints",
        "constructive-io 1675, pgcopydb 484",
        "never said",
        "comments and names are kept; the rest is said at backup, with the statement that makes "
        "it again",
        (
            f"{SHAPES}test_each_thing_on_a_table_is_said_with_the_statement_that_makes_it_again",
            f"{SHAPES}test_what_else_depends_on_a_table_is_said",
            f"{SHAPES}test_pg_dump_says_of_a_restored_table_what_it_said_before",
        ),
    ),
    Situation(
        "PostgreSQL: `FORCE ROW LEVEL SECURITY`, owner and backup role apart",
        "backenly 41, hindsight 2645",
        "the restorer became the owner, grants were gone",
        "restored with a role that may; an owner who cannot be set is said with the statements. "
        "Without the right to see all rows the backup is refused, never partial",
        (
            f"{FOREIGN}test_a_table_in_another_database_dumps_the_same",
            "tests/cli/test_ownership.py::"
            "test_who_may_not_is_told_the_statements_at_backup_and_at_restore",
            f"{FOREIGN}test_a_user_from_whom_policies_hide_records_is_refused",
        ),
    ),
    Situation(
        "PostgreSQL: COPY, TRUNCATE, CREATE INDEX, ALTER, REFERENCES, `pg_get_serial_sequence`, "
        "`tableoid` after a switch, when the name is a view",
        "",
        "“programs that follow no aliases”",
        "the plan names each, and the statement that frees the name, so that the table comes back "
        "under it; a switch by renaming is [not offered](decisions/0026-no-switch-by-renaming.md)",
        (
            f"{SHAPES}test_what_an_alias_is_said_not_to_do_it_does_not",
            f"{SHAPES}test_a_name_is_freed_by_the_statements_that_the_plan_prints",
        ),
    ),
    Situation(
        "PostgreSQL: a `vector` column without dimension that holds 8 and 16 components",
        "rag_api 259",
        "the backup was refused: nothing was kept",
        "kept, as a vector for each dimension",
        (f"{SHAPES}test_a_column_with_vectors_of_several_dimensions_is_kept_by_dimension",),
    ),
    Situation(
        "names in Cyrillic, with blanks",
        "prisma 27770",
        "could not be named in policies",
        "a policy says what the store calls it (`stored_as`)",
        (
            f"{NAMES}test_a_collection_of_any_name_is_backed_up_lost_and_comes_back",
            f"{NAMES}test_a_table_of_postgresql_of_any_name_is_lost_and_comes_back",
        ),
    ),
    Situation(
        "PostgreSQL: a table without a primary key",
        "pgvector 741",
        "“the store has no collection”",
        "kept, by what its rows hold, equal ones counted",
        (
            "tests/stores/test_pgvector_keyless.py::"
            "test_a_table_without_a_key_comes_back_with_its_equal_rows",
            f"{SHAPES}test_why_a_table_is_no_collection_is_said",
        ),
    ),
    Situation(
        "LanceDB: blobs with nulls; float64 beyond float32",
        "lance 7955",
        "an error of Arrow; the restore failed",
        "kept and restored",
        (
            f"{BLOBS}test_the_bytes_of_blobs_are_records_and_are_written_back_as_blobs",
            f"{TABLES}test_vectors_with_any_number_come_back",
        ),
    ),
)
ELSEWHERE = (
    Situation(
        "a producer adds a key from line 4 on",
        "",
        "seen in the exit code of one ingest only",
        "unread: in status, JSON, sensor, check, metadata; the objective is not met meanwhile",
        (
            f"{UNREAD}test_a_line_that_cannot_be_read_is_said_by_ingest_status_and_backup",
            "tests/assets/test_sensors.py::test_an_unreadable_line_breaches_the_objective_and_is_never_confirmed_away",
        ),
    ),
    Situation(
        "no line is readable: UTF-16, gzip, an unknown key",
        "",
        "“nothing new”, exit 0",
        "a failure everywhere, which says what the bytes look like",
        (
            f"{UNREAD}test_a_feed_of_which_no_line_can_be_read_is_a_failure_everywhere",
            f"{FEED}test_bytes_without_one_readable_line_are_a_failure_that_says_what_they_look_like",
        ),
    ),
    Situation(
        "a last line without a line end",
        "file.d 912, vector 18341",
        "silent for ever",
        "counted, with since when, and exposed from then on",
        (f"{UNREAD}test_bytes_without_a_line_end_expose_the_collection_from_the_files_time_on",),
    ),
    Situation(
        "the same line twice",
        "PostHog 95009",
        "exit 3 for ever",
        "recognised as delivered twice, counted, no alarm",
        (f"{UNREAD}test_a_line_delivered_twice_is_no_alarm",),
    ),
    Situation(
        "one value of a wrong type in a declared field",
        "",
        "all later days stopped",
        "that document is quarantined by line and position, the rest of the day goes on, exit 3",
        (f"{UNREAD}test_a_value_of_the_wrong_type_stops_no_day_and_its_document_stays",),
    ),
    Situation(
        "chunks longer than the model reads",
        "sentence-transformers 4060, llama_index 10119, LEANN 374",
        "cut without a word",
        "refused at the policy where the chunker may exceed the model; a longer chunk is named, "
        "and nothing is cut",
        (
            f"{WHOLE}test_a_chunker_that_may_exceed_the_model_is_refused_at_the_policy",
            f"{WHOLE}test_a_chunk_of_any_chunker_that_is_too_long_is_named",
        ),
    ),
    Situation(
        "configuration of tokenizer or prompts changed, weights the same",
        "vllm 11815, sentence-transformers 2439, mteb 3114",
        "the same fingerprint; cosine to the old vectors 0.22",
        "refused: every file that is read is in the fingerprint, and canary texts must come out "
        "the same",
        (
            f"{WHOLE}test_a_collection_refuses_a_model_of_which_a_file_changed",
            f"{WHOLE}test_every_file_that_loading_opens_is_in_the_fingerprint",
            "tests/ingestion/test_canaries.py::test_a_refusal_says_how_far_and_what_to_do_and_is_kept_once",
        ),
    ),
    Situation(
        "a run worker is killed",
        "dagster 33643, 32560, 28456",
        "its slot was taken for ever, no other run started",
        "the next run starts",
        (
            "tests/assets/test_daemon.py::test_a_killed_worker_is_followed_by_another_and_a_backfill_replays",
        ),
    ),
    Situation(
        "S3: `If-None-Match` → 501; an expired token; another clock; a checksum header refused",
        "walgit 67, wal-g 2297, boto3 4398",
        "“unknown”, “400 400”, “access denied”",
        "each is named for what it is, with the server's own sentence",
        (
            f"{S3}test_a_failed_create_says_whether_it_may_have_happened",
            f"{S3}test_a_refused_look_at_a_size_is_explained_as_a_read_is",
            f"{S3}test_a_header_that_the_store_does_not_know_is_named",
        ),
    ),
    Situation(
        "Git: a partial clone; pointers of LFS; somebody else's repository",
        "trufflehog 2495",
        "wrong advice; pointers were embedded; no way out",
        "each is named, with the command that mends it",
        (
            f"{GIT}test_a_partial_clone_is_named_and_the_command_that_is_printed_completes_it",
            f"{GIT}test_an_lfs_pointer_is_named_until_its_file_is_fetched",
            f"{GIT}test_somebody_elses_repository_is_named_with_the_command_that_trusts_it",
        ),
    ),
)


def section() -> str:
    """The part of the page, as Markdown."""
    parts = (TITLE, "", *_table(RESTORED), "", OTHERS, "", *_table(ELSEWHERE), "")
    return "\n".join(parts)


def _table(situations: tuple[Situation, ...]) -> Iterator[str]:
    yield "| situation | reports | first release | now | tests |"
    yield "|---|---|---|---|---|"
    for one in situations:
        tests = "<br>".join(f"`{test}`" for test in one.tests)
        yield f"| {one.shape} | {one.reports or '—'} | {one.before} | {one.now} | {tests} |"
