"""Every error of the package, in everything that Dagster runs: a message, and no stack."""

from collections.abc import Iterator

import dagster as dg
import pytest

from assets.builder import build_defs
from assets.checks import FIRST_DAY, LAST_DAY
from assets.failures import failure_of
from assets.resources import ProjectResource
from dr_pipelines import errors
from dr_pipelines.errors import Conflict, DrError, Unavailable
from dr_pipelines.project.project import Project
from tests.assets.location import DAYS, STORE_ONLY, Location

MESSAGE = "the store of notes is locked: try again"


class Broken(ProjectResource):
    """A project that cannot be opened."""

    def open(self) -> Project:
        raise Unavailable(MESSAGE)


@pytest.fixture
def broken(location: Location) -> dg.Definitions:
    location.set_policy(more=STORE_ONLY)
    return build_defs(location.policies, project=Broken(policies=str(location.policies)))


def failures(result: dg.ExecuteInProcessResult) -> Iterator[tuple[str, bool, str]]:
    """Description, whether a retry may help, and stack, of each step that failed."""
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            assert data.user_failure_data is not None, event
            assert data.error is not None
            description = data.user_failure_data.description or ""
            yield description, data.error.cause is None, "".join(data.error.stack)


def named(jobs: dg.Definitions, name: str, location: Location) -> dg.ExecuteInProcessResult:
    """A run of a job, over some days where it has days."""
    job = jobs.resolve_job_def(name)
    restore = {"ops": {"restore_collection": {"config": {"collection": "notes"}}}}
    return job.execute_in_process(
        instance=location.instance,
        run_config=restore if name == "restore" else None,
        tags=dict(zip((FIRST_DAY, LAST_DAY), DAYS, strict=True)) if job.partitions_def else None,
        raise_on_error=False,
    )


def test_everything_that_dagster_runs_fails_with_a_message(
    location: Location, broken: dg.Definitions
) -> None:
    graph = broken.resolve_asset_graph()
    assets = [key for key in graph.get_all_asset_keys() if graph.get(key).is_executable]
    checks = [spec.key for check in broken.asset_checks or () for spec in check.check_specs]
    jobs = {
        "-".join(key.path).replace("-", "_"): dg.AssetSelection.assets(key).without_checks()
        for key in assets
    }
    jobs["checks"] = dg.AssetSelection.checks(*checks)  # none of them waits for another
    defined = [dg.define_asset_job(name, selection) for name, selection in jobs.items()]
    loaded = dg.Definitions.merge(broken, dg.Definitions(jobs=defined))

    failing = {name: list(failures(named(loaded, name, location))) for name in [*jobs, "restore"]}

    texts = {name: {(text, alone) for text, alone, _ in all_} for name, all_ in failing.items()}
    assert texts == {key: {(MESSAGE, True)} for key in failing}
    assert len(failing["checks"]) == len(checks) >= 9
    assert len(failing) == len(assets) + 2 >= 10
    assert "test_failures.py" not in "".join(
        stack for all_ in failing.values() for _, _, stack in all_
    )


def test_every_sensor_fails_with_a_message(location: Location, broken: dg.Definitions) -> None:
    sensors = list(broken.get_repository_def().sensor_defs)
    assert len(sensors) >= 2
    for sensor in sensors:
        context = dg.build_sensor_context(
            instance=location.instance,
            resources={"dr_project": Broken(policies=str(location.policies))},
            definitions=broken,
            sensor_name=sensor.name,
        )
        with pytest.raises(dg.Failure) as raised:
            sensor(context)
        assert (raised.value.description, raised.value.__context__) == (MESSAGE, None)


def kinds(kind: type[DrError] = DrError) -> Iterator[type[DrError]]:
    for each in kind.__subclasses__():
        yield each
        yield from kinds(each)


def test_every_kind_of_error_says_what_to_do_next() -> None:
    silent = [kind.__name__ for kind in kinds() if "next" not in failure_of(_bare(kind)).metadata]
    assert silent == []


def test_only_what_may_pass_is_tried_again() -> None:
    ours = [kind for kind in kinds() if kind.__module__ == errors.__name__]
    again = {kind.__name__ for kind in ours if failure_of(_bare(kind)).allow_retries}
    assert again == {"Conflict", "TimedOut", "TimelineClosed", "Unavailable"}
    for kind in kinds():  # an adapter's own are tried again where what they are is
        assert failure_of(_bare(kind)).allow_retries is issubclass(kind, Conflict | Unavailable)


def _bare(kind: type[DrError]) -> DrError:
    error = kind.__new__(kind)
    Exception.__init__(error, "said")
    return error


def test_some_collections_here_and_some_there_are_one_code_location(location: Location) -> None:
    location.set_policy(more=STORE_ONLY)
    parts = [
        build_defs(location.policies, collections=["notes"]),
        build_defs(location.policies, collections=["memories"], name_prefix="other_"),
    ]
    jobs = {job.name for job in dg.Definitions.merge(*parts).resolve_all_job_defs()}
    assert {"restore", "other_restore", "ingest_notes", "other_snapshot_memories"} <= jobs
