"""Records that an engine refuses fail a check and the restore, which says that it is done and
names them."""

import pyarrow.compute as pc
import pytest

from assets import checks
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.misfit import Misfits
from dr_pipelines.protocols import VectorStore
from dr_pipelines.stores.shared.driver_store import DriverStore
from dr_pipelines.stores.shared.misfits import Batch, misfits_of, problem
from tests.assets.location import Location, failure_of, metadata_of, verdicts


def test_a_record_that_is_refused_fails_a_check_and_the_restore_which_names_it(
    ingested: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: VectorStore, spec: CollectionSpec, batch: Batch) -> Misfits:
        return misfits_of(batch, [problem("id", pc.equal(batch.column("id"), "c#000000"), "no c")])

    monkeypatch.setattr(DriverStore, "misfits", refused)

    done = ingested.run("snapshot_notes")

    assert verdicts(done)["fits"] is False
    [evaluation] = [e for e in done.get_asset_check_evaluations() if e.check_name == "fits"]
    assert "record 'c#000000': no c" in str(evaluation.description)
    assert metadata_of(done, "recovery_point", "fits") == {None: "does not fit"}

    config = {"ops": {"restore_collection": {"config": {"collection": "notes", "switch": True}}}}
    restored = ingested.run("restore", config=config)

    assert not restored.success
    message = failure_of(restored)
    assert "is back as notes@" in message
    assert (
        "and served. It is done; not all is as it was: NOT ALL OF IT: the engine refused 1"
        in message
    )
    [failure] = [e.step_failure_data for e in restored.all_events if e.is_step_failure]
    assert failure.user_failure_data is not None
    metadata = failure.user_failure_data.metadata
    assert metadata["left_out"].value == 1
    assert "record 'c#000000': no c" in str(metadata["refused"].value)
    assert (metadata["switched"].value, "seconds_prove" in metadata) == (True, True)


def test_a_check_names_some_and_says_how_many_more() -> None:
    assert checks.named(["a"]) == "a"
    assert checks.named(["a"] * 12).endswith("a; a; and 2 more")
    assert checks.named(["a"], total=30) == "a; and 29 more"
