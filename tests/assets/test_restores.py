"""The restore job, and what the code location is made of."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from assets.resources import policies_path
from assets.tracked import unique_labels
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.definitions import Call, Definitions, Statement
from dr_pipelines.model.parts import PartFinding
from dr_pipelines.model.recovery import Recovery
from dr_pipelines.project.policy_file import InvalidPolicy
from dr_pipelines.protocols import Definer
from dr_pipelines.recovery.run import run_recovery
from dr_pipelines.stores.duckdb.store import duckdb_store
from dr_pipelines.stores.shared.driver_store import DriverStore
from tests.assets.location import STORE_ONLY, Location, failure_of


def config(**options: object) -> dict[str, object]:
    return {"ops": {"restore_collection": {"config": {"collection": "notes", **options}}}}


def defined_by(definitions: Callable[..., Definitions], monkeypatch: pytest.MonkeyPatch) -> None:
    """Make collections of DuckDB definitions, as those of PostgreSQL are."""
    answers: dict[str, Callable[..., object]] = {
        "definitions": definitions,
        "open_up": lambda _, name: None,
        "before_rights": lambda _, spec: spec,
        "remove": lambda store, name: store.drop(name) or (),
    }
    for name, answer in answers.items():
        monkeypatch.setattr(DriverStore, name, answer, raising=False)
    assert isinstance(duckdb_store(Path("nowhere")), Definer)


@pytest.mark.parametrize("route", ["load", "replay"])
def test_a_restored_collection_is_proven_and_served(ingested: Location, route: str) -> None:
    before = ingested.state()

    done = ingested.run("restore", config=config(route=route, switch=True))

    assert done.success
    store = ingested.project.collection("notes").store()
    assert store.status("notes").records == 3
    assert store.aliases()["notes"].startswith("notes@8-")
    assert ingested.state() == before
    assert ingested.log_kinds()[-3:] == ["restore", "applied", "evidence"]


def test_without_switch_a_restore_stays_beside_what_is_served(ingested: Location) -> None:
    store = ingested.project.collection("notes").store()
    served = store.aliases()["notes"]

    done = ingested.run("restore", config=config(at="seq:3", into="notes@trial"))

    assert done.success
    assert store.aliases() == {"notes": served}
    assert store.status("notes@trial").records == 2


def test_who_switches_to_another_store_is_told_what_to_do(ingested: Location) -> None:
    text = ingested.policies.read_text()
    ingested.policies.write_text(text.replace("stores:", 'stores:\n  other: {url: "duckdb:other"}'))

    done = ingested.run("restore", config=config(store="other", switch=True))

    (output,) = [e.step_output_data for e in done.all_events if e.is_successful_output]
    assert "Set store: other for it in policies.yaml" in str(output.metadata["to_do"].value)
    assert "set store: other in the policy" in failure_of(ingested.run("snapshot_notes"))


def test_each_phase_of_a_restore_is_timed(ingested: Location) -> None:
    done = ingested.run("restore", config=config())

    (output,) = [e.step_output_data for e in done.all_events if e.is_successful_output]
    timed = {name for name in output.metadata if name.startswith("seconds_")}
    phases = ("access", "fold", "schema", "records", "index", "prove", "probe", "warm")
    assert timed == {f"seconds_{phase}" for phase in phases}


def test_a_verdict_is_a_table_of_checks_and_a_refusal_fails_the_step(
    ingested: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = DriverStore.scan

    def shorter(self: Any, name: str, **options: Any) -> Any:
        return (batch.slice(1) for batch in scan(self, name, **options))

    served = ingested.project.collection("notes").store().aliases()
    monkeypatch.setattr(DriverStore, "scan", shorter)
    done = ingested.run("restore", config=config(switch=True))

    (failed,) = [e.step_failure_data for e in done.all_events if e.is_step_failure]
    assert failed.user_failure_data
    assert "--go-on digests:missing" in str(failed.user_failure_data.description)
    metadata = failed.user_failure_data.metadata
    assert metadata["outcome"].value == "refused"
    table: Any = metadata["checks"]
    checks = [record.data for record in table.records]
    assert [(row["check"], row["phase"]) for row in checks] == [
        ("digests", "prove"),
        ("parts", "prove"),
    ]
    assert ingested.log_kinds()[-1] == "evidence"
    monkeypatch.undo()
    assert ingested.project.collection("notes").store().aliases() == served
    done = ingested.run("restore", config=config(by="me"))
    assert "--by NAME and --reason TEXT go together" in failure_of(done)


def test_a_plan_alone_touches_nothing(ingested: Location) -> None:
    store = ingested.project.collection("notes").store()
    before = (store.collections(), store.aliases(), ingested.log_kinds())

    done = ingested.run("restore", config=config(plan_only=True, switch=True))

    (output,) = [e.step_output_data for e in done.all_events if e.is_successful_output]
    assert output.metadata["touched"].value is False
    assert output.metadata["code_digest"].value == ""
    assert output.metadata["refusals"].value == []
    assert (output.metadata["serves"].value, output.metadata["resumed"].value) == (True, False)
    assert output.metadata["expected_seconds"].value == 0  # nothing was restored yet
    assert (store.collections(), store.aliases(), ingested.log_kinds()) == before


def test_a_plan_that_would_be_refused_says_why(ingested: Location) -> None:
    options = {"embedder": "other", "into": "a b"}
    done = ingested.run("restore", config=config(plan_only=True, **options))

    assert "--embedder is for --route replay" in failure_of(done)
    logs = ingested.instance.all_logs(done.run_id)
    refusals = [entry.user_message for entry in logs if entry.user_message.startswith("refused: ")]
    assert ["--embedder" in refusals[0], "--into" in refusals[1], len(refusals)] == [True, True, 2]
    assert failure_of(ingested.run("restore", config=config(**options))) == failure_of(done)


def test_code_without_consent_is_named_with_its_digest(
    ingested: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = Call("policy p", "public.f(integer)", "is somebody's")

    def definitions(_: object, spec: CollectionSpec, *, with_roles: bool) -> Definitions:
        return Definitions(spec, (Statement("CREATE POLICY p", "rights", (call,)),), (call,))

    defined_by(definitions, monkeypatch)

    message = failure_of(ingested.run("restore", config=config()))

    assert "policy p calls public.f(integer), which is somebody's" in message
    digest = message.partition("--accept-code ")[2][:64]
    done = ingested.run("restore", config=config(accept_code=digest))
    assert done.success
    messages = [entry.user_message for entry in ingested.instance.all_logs(done.run_id)]
    assert "rights: CREATE POLICY p" in messages
    assert any(message.startswith("not listed: the rows, by COPY;") for message in messages)


def test_who_becomes_a_member_and_what_was_not_analysed_are_warnings(
    ingested: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    def definitions(_: object, spec: CollectionSpec, *, with_roles: bool) -> Definitions:
        granted = (("team", "guest"),) if with_roles else ()
        return Definitions(spec, memberships=granted, unread="a domain's check: not analysed")

    defined_by(definitions, monkeypatch)

    done = ingested.run("restore", config=config(with_roles=True))

    assert done.success
    logs = ingested.instance.all_logs(done.run_id)
    assert [entry.user_message for entry in logs if entry.level == logging.WARNING] == [
        "granted: guest becomes a member of role team",
        "no statements: a domain's check: not analysed",
    ]


def forgetting(*findings: PartFinding) -> Callable[..., Recovery]:
    """A recovery after which the store reports parts otherwise than they were."""

    def run(*plan: Any, **options: Any) -> Recovery:
        return replace(run_recovery(*plan, **options), findings=findings)

    return run


def test_a_part_that_is_not_as_it_was_fails_the_run_which_says_that_the_restore_is_done(
    ingested: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    finding = PartFinding("replicas", 2, 1, "one copy")
    monkeypatch.setattr("assets.restores.run_recovery", forgetting(finding))

    done = ingested.run("restore", config=config(into="notes@trial"))

    assert not done.success
    message = failure_of(done)
    assert "Failure: notes at " in message
    assert "is back as notes@trial in store" in message
    assert "beside what is served. It is done; not all is as it was: " in message
    assert message.rstrip().endswith("not as it was: replicas was 2, is 1: one copy")
    [failure] = [e.step_failure_data for e in done.all_events if e.is_step_failure]
    assert failure.user_failure_data is not None
    assert "one copy" in str(failure.user_failure_data.metadata["findings"].value)
    assert ingested.project.collection("notes").store().status("notes@trial").records == 3


def test_what_nobody_can_look_at_and_another_owner_are_warnings_of_a_success(
    ingested: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    findings = (
        PartFinding("replicas", 2, None, "not reported by the engine", unreported=True),
        PartFinding("engine.pgvector.owner", "ann", "bob", "others may change it"),
    )
    monkeypatch.setattr("assets.restores.run_recovery", forgetting(*findings))

    done = ingested.run("restore", config=config(into="notes@trial"))

    assert done.success
    logs = ingested.instance.all_logs(done.run_id)
    warnings = [entry.user_message for entry in logs if entry.level == logging.WARNING]
    assert [("replicas" in line, "ann" in line) for line in warnings] == [
        (False, True),
        (True, False),
    ]


def test_a_point_that_does_not_exist_is_named(ingested: Location) -> None:
    done = ingested.run("restore", config=config(at="log:99"))

    assert "the log holds entries 1 to 8, not 99" in failure_of(done)


def test_after_a_restore_to_the_past_the_lineage_catches_up(ingested: Location) -> None:
    before = ingested.state()
    assert ingested.run("restore", config=config(at="seq:3", switch=True)).success

    assert ingested.ingest(days=("2026-01-06", "2026-01-09")).success

    assert ingested.state() == before


def test_the_location_loads_as_a_code_server_loads_it(location: Location) -> None:
    location.set_policy(more=STORE_ONLY)

    location.definitions.get_repository_def().load_all_definitions()

    assert {job.name for job in location.definitions.resolve_all_job_defs()} >= {
        "restore",
        "ingest_notes",
        "snapshot_notes",
        "snapshot_memories",
    }


def test_a_wrong_policy_is_named_with_its_place(location: Location) -> None:
    location.policies.write_text(location.policies.read_text().replace("rpo: 1h", "rpo: 1w"))

    with pytest.raises(InvalidPolicy, match=r"policies.yaml:\d+:\d+: .*rpo: found '1w'"):
        _ = location.definitions


def test_a_missing_model_keeps_nothing_else_from_loading(location: Location) -> None:
    text = location.policies.read_text()
    lost = "{kind: sentence-transformers, model: ./lost}"
    location.policies.write_text(text.replace("{kind: hashing, dimension: 8}", lost))

    specs = {spec.key.path[-1]: spec for spec in location.definitions.resolve_all_asset_specs()}

    assert specs["embeddings"].code_version is None
    assert "lost" in specs["embeddings"].metadata["version_unknown"]


def test_labels_hold_what_dagster_allows_and_are_never_shared() -> None:
    assert unique_labels(["my-notes", "my_notes", "my_notes_2", "notes"]) == {
        "my-notes": "my_notes",
        "my_notes": "my_notes_2",
        "my_notes_2": "my_notes_2_2",
        "notes": "notes",
    }


def test_the_policies_are_those_that_the_environment_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DR_POLICIES", raising=False)
    assert policies_path() == tmp_path / "policies.yaml"

    monkeypatch.setenv("DR_POLICIES", "other.yaml")
    assert policies_path() == tmp_path / "other.yaml"
