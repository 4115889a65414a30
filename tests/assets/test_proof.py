"""Checks, snapshots, and what stands between a snapshot and a proven recovery point."""

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest

from dr_pipelines.model.collection import CollectionSpec, Vector
from dr_pipelines.model.record import store_schema
from dr_pipelines.sources.jsonl import JsonlSource
from tests.assets.location import (
    STORE_ONLY,
    Location,
    failure_of,
    metadata_of,
    verdicts,
)
from tests.assets.test_sensors import tick

AUDITS = ["schema", "counts", "provenance", "partition_digests"]


def check(location: Location, *names: str) -> dg.ExecuteInProcessResult:
    """The named checks alone, over every day."""
    keys = [dg.AssetCheckKey(dg.AssetKey(["notes", "collection"]), name) for name in names]
    defs = location.definitions
    audits = dg.define_asset_job("audits", selection=dg.AssetSelection.checks(*keys))
    job = dg.Definitions.merge(defs, dg.Definitions(jobs=[audits])).resolve_job_def("audits")
    return job.execute_in_process(instance=location.instance, raise_on_error=False)


def objects(location: Location, pattern: str) -> list[Path]:
    paths = sorted((location.directory / "repository").rglob(pattern))
    assert paths, f"nothing like {pattern} in the repository"
    return paths


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


def description_of(result: dg.ExecuteInProcessResult, name: str) -> str:
    evaluations = [e for e in result.get_asset_check_evaluations() if e.check_name == name]
    return evaluations[0].description or ""


def test_what_was_ingested_as_it_should_passes_every_check(ingested: Location) -> None:
    assert verdicts(check(ingested, *AUDITS)) == dict.fromkeys(AUDITS, True)


def test_a_check_that_finds_nothing_to_look_at_fails(location: Location) -> None:
    assert verdicts(check(location, *AUDITS)) == dict.fromkeys(AUDITS, False)


def test_a_quarantined_line_fails_the_count(location: Location) -> None:
    location.say_line("not json")
    location.say(7, "2026-01-09T10:00:00Z", "e", "after it")
    location.ingest_without_dagster()

    result = check(location, "counts")

    assert verdicts(result) == {"counts": False}
    assert "2026-01-09: line 7 was quarantined" in description_of(result, "counts")


def test_an_unread_line_fails_a_check_and_is_in_the_metadata_of_what_is_made_without_it(
    ingested: Location,
) -> None:
    ingested.say_line("not json")

    made = ingested.run("snapshot_notes")

    assert made.success
    assert verdicts(made)["nothing_unread"] is False
    assert "line 7: invalid JSON" in description_of(made, "nothing_unread")
    for asset in ("snapshot", "recovery_point"):
        assert metadata_of(made, asset, "unread") == {None: 1}
        assert str(metadata_of(made, asset, "unread_such_as")[None]).startswith(
            "line 7: invalid JSON"
        )


def test_bytes_without_a_line_end_fail_a_check_when_they_are_older_than_the_objective(
    ingested: Location,
) -> None:
    with ingested.feed.open("a") as file:
        file.write('{"seq": 7')
    young = ingested.run("snapshot_notes")
    hours_ago = datetime.now(UTC).timestamp() - 7200
    os.utime(ingested.feed, (hours_ago, hours_ago))

    old = ingested.run("snapshot_notes")

    assert (verdicts(young)["nothing_unread"], verdicts(old)["nothing_unread"]) == (True, False)
    for made in (young, old):
        assert description_of(made, "nothing_unread").startswith(
            "9 bytes without a line end since "
        )
        for asset in ("snapshot", "recovery_point"):
            assert metadata_of(made, asset, "bytes_without_line_end") == {None: 9}


def test_a_feed_of_which_no_line_can_be_read_fails_a_check_and_is_in_the_metadata(
    ingested: Location,
) -> None:
    ingested.feed.write_text("one\ntwo\n")

    made = ingested.run("snapshot_notes")

    assert made.success  # what was read before is worth proving
    assert verdicts(made)["nothing_unread"] is False
    assert "not one line can be read, of 2" in description_of(made, "nothing_unread")
    (problem,) = metadata_of(made, "recovery_point", "source_problem").values()
    assert "not one line can be read, of 2" in problem


def test_what_became_readable_after_its_day_was_ingested_fails_a_check(
    ingested: Location,
) -> None:
    counted = JsonlSource.partitions
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            JsonlSource,
            "partitions",
            lambda self: (
                [replace(day, changes=day.changes + 1) for day in counted(self)[:1]]
                + counted(self)[1:]
            ),
        )
        made = ingested.run("snapshot_notes")
        late = tick(ingested, datetime.now(UTC) + timedelta(hours=2))

    assert verdicts(made)["nothing_unread"] is False
    assert "2026-01-05: 1 changes can be read now and could not" in description_of(
        made, "nothing_unread"
    )
    assert metadata_of(made, "recovery_point", "unread") == {None: 1}
    assert "1 line or file of the source cannot be read since 2026-01-05" in str(late.skip_reason)
    assert "breached" in str(late.skip_reason)


def test_documents_without_chunks_are_in_the_metadata_of_days_and_points(
    location: Location,
) -> None:
    location.say(7, "2026-01-09T10:00:00Z", "blank", "")
    day = location.ingest()
    point = location.run("snapshot_notes")

    for asset in ("chunks", "collection"):
        assert metadata_of(day, asset, "without_chunks")["2026-01-09"] == 1
    for asset in ("snapshot", "recovery_point"):
        assert metadata_of(point, asset, "versions_without_chunks") == {None: 1}


def test_lines_that_wait_for_nobody_are_counted_in_the_metadata(ingested: Location) -> None:
    lines = ingested.feed.read_text().splitlines()
    ingested.say_line(lines[-1])
    ingested.say_line('{"seq": 7, "ts": "2026-01-09T10:00:00Z", "op": "upsert", "id": "d"}')
    ingested.say(8, "2026-01-09T11:00:00Z", "d", "said again")

    made = ingested.run("snapshot_notes")

    for asset in ("snapshot", "recovery_point"):
        for name, count in {"duplicates": 1, "superseded": 1, "accepted": 0, "unnamed": 0}.items():
            assert metadata_of(made, asset, f"unread_{name}") == {None: count}
        assert metadata_of(made, asset, "left_out") == {None: 0}


def test_changes_that_were_not_read_fail_the_count(ingested: Location) -> None:
    ingested.say(7, "2026-01-12T10:00:00Z", "e", "on a new day")

    result = check(ingested, "counts")

    assert description_of(result, "counts") == "2026-01-12: none of the source's 1 changes was read"


def test_another_model_in_the_policy_fails_provenance(ingested: Location) -> None:
    ingested.set_policy(dimension=16)

    result = check(ingested, "provenance", "schema")

    assert verdicts(result) == {"provenance": False, "schema": False}
    assert "embedder.dimension: 8 → 16" in description_of(result, "provenance")


@pytest.mark.parametrize("stage", ["chunks", "embeddings"])
def test_a_flipped_bit_fails_the_digests_of_its_day(ingested: Location, stage: str) -> None:
    flip(next(p for p in objects(ingested, f"{stage}/2026-01-06/*") if "index" not in p.name))

    result = check(ingested, "partition_digests")

    assert verdicts(result) == {"partition_digests": False}
    assert description_of(result, "partition_digests").startswith("2026-01-06: ")
    assert "has been altered" in description_of(result, "partition_digests")


def test_a_check_in_a_run_looks_at_the_days_of_the_run(ingested: Location) -> None:
    flip(objects(ingested, "chunks/2026-01-06/*")[0])

    result = ingested.ingest("collection", days=("2026-01-08", "2026-01-09"))

    assert verdicts(result) == dict.fromkeys(AUDITS, True)


def test_a_proven_snapshot_becomes_a_recovery_point(ingested: Location) -> None:
    done = ingested.run("snapshot_notes")

    assert verdicts(done) == {
        "equal": True,
        "restorable": True,
        "fits": True,
        "lists_every_partition": True,
        "nothing_unread": True,
    }
    assert metadata_of(done, "recovery_point", "log_entry") == metadata_of(
        done, "snapshot", "log_entry"
    )
    assert metadata_of(done, "recovery_point", "dagster/row_count") == {None: 3}
    for asset in ("snapshot", "recovery_point"):
        assert metadata_of(done, asset, "assurance") == {None: "every value read"}
        assert metadata_of(done, asset, "every_value_read_at")[None]
    assert ingested.log_kinds()[-2:] == ["snapshot", "evidence"]


def made(result: dg.ExecuteInProcessResult) -> list[str]:
    return [e.materialization.asset_key.path[-1] for e in result.get_asset_materialization_events()]


def test_a_damaged_object_keeps_a_snapshot_from_becoming_a_recovery_point(
    ingested: Location,
) -> None:
    flip(objects(ingested, "documents/2026-01-06/*")[0])

    done = ingested.run("snapshot_notes")

    assert not done.success
    assert verdicts(done)["restorable"] is False
    assert "has been altered" in description_of(done, "restorable")
    assert made(done) == ["snapshot"]
    assert "evidence" not in ingested.log_kinds()


def test_an_object_that_was_proven_before_is_missed_too(ingested: Location) -> None:
    assert ingested.run("snapshot_notes").success
    objects(ingested, "documents/2026-01-06/*")[0].unlink()

    done = ingested.run("snapshot_notes")

    assert "is missing from" in description_of(done, "restorable")
    assert made(done) == ["snapshot"]


def test_a_day_that_dagster_takes_for_ingested_must_be_listed(ingested: Location) -> None:
    ingested.instance.report_runless_asset_event(
        dg.AssetMaterialization(dg.AssetKey(["notes", "collection"]), partition="2026-01-12")
    )
    ingested.say(7, "2026-01-12T10:00:00Z", "e", "said, but never ingested")

    done = ingested.run("snapshot_notes")

    assert description_of(done, "lists_every_partition") == (
        "2026-01-12: ingested according to the log, but not listed"
    )
    assert made(done) == ["snapshot"]


def test_a_lost_collection_is_no_snapshot(ingested: Location) -> None:
    for path in (ingested.directory / "stores").rglob("notes*"):
        path.unlink()

    done = ingested.run("snapshot_notes")

    assert not done.success
    assert "which is not in the store. Bring it back: dr restore notes" in failure_of(done)
    assert made(done) == []


def test_edits_in_the_store_are_recorded_and_reported(ingested: Location) -> None:
    store = ingested.project.collection("notes").store()
    physical = store.aliases()["notes"]
    rows = pa.Table.from_batches(list(store.scan(physical, documents=["c"])))
    edited = rows.set_column(
        rows.column_names.index("text"), "text", pa.array(["edited"], pa.string())
    )
    store.write(physical, edited)

    done = ingested.run("snapshot_notes")

    assert verdicts(done)["equal"] is True
    assert metadata_of(done, "snapshot", "changed") == {None: 1}


def test_freshness_watches_what_was_proven_and_nothing_else(location: Location) -> None:
    specs = {spec.key.path[-1]: spec for spec in location.definitions.resolve_all_asset_specs()}
    watched = {name: spec.freshness_policy for name, spec in specs.items() if spec.freshness_policy}

    assert watched == {
        "recovery_point": dg.FreshnessPolicy.time_window(
            fail_window=timedelta(hours=3), warn_window=timedelta(hours=2)
        )
    }


def test_a_collection_that_is_all_there_is_is_backed_up_from_its_store(
    location: Location,
) -> None:
    location.set_policy(more=STORE_ONLY)
    store = location.project.store("local")
    spec = CollectionSpec(name="memories", vectors=(Vector(dimension=4),))
    store.create(spec)
    store.build_index("memories")
    row = {"id": "m#000000", "document_id": "m", "chunk_index": 0, "text": "remembered"}
    row |= {"embedding": [1.0, 0.0, 0.0, 0.0]}
    schema = store_schema(spec)
    columns = [pa.array([row.get(name)], schema.field(name).type) for name in schema.names]
    store.write("memories", pa.table(columns, schema=schema))

    done = location.run("snapshot_memories")

    assert done.success
    assert verdicts(done) == {"equal": True, "restorable": True, "fits": True}
    assert metadata_of(done, "recovery_point", "dagster/row_count") == {None: 1}
    assert location.log_kinds("memories") == ["snapshot", "evidence"]


def test_a_collection_without_source_has_no_daily_assets(location: Location) -> None:
    location.set_policy(more=STORE_ONLY)

    keys = {
        tuple(spec.key.path)
        for spec in location.definitions.resolve_all_asset_specs()
        if spec.key.path[0] == "memories"
    }

    assert keys == {("memories", "snapshot"), ("memories", "recovery_point")}
