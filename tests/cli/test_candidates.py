"""An open candidate is shown until it is served or closed; what a restore leaves behind is said."""

from dr_pipelines.model.recovery import Request
from dr_pipelines.project.project import open_project
from dr_pipelines.project.recovery import open_for
from dr_pipelines.recovery.candidate import begin
from dr_pipelines.recovery.plan import plan_recovery
from dr_pipelines.repository.history import History
from tests.cli.workplace import Workplace


def begun(place: Workplace) -> str:
    """A recovery that was killed when it had begun to catch up; the collection that it built."""
    project = open_project(place.directory / "policies.yaml", {})
    store = project.collection("notes").policy.store
    request = Request(collection="notes", store=store, switch=True)
    resources = open_for(project, request)
    plan = plan_recovery(request, resources)
    begin(History(resources.repository, "notes"), plan)
    resources.store.create(plan.spec.physical(plan.physical, origin=plan.origin))
    return plan.physical


def test_an_open_candidate_is_shown_and_closed_by_name(protected: Workplace) -> None:
    name = begun(protected)
    status = protected.dr("status", "--json")
    notes = next(c for c in status.json["collections"] if c["collection"] == "notes")
    (candidate,) = notes["candidates"]
    assert (candidate["physical"], candidate["position"]) == (name, 0)
    shown = " ".join(protected.dr("status").out.split())
    assert f"{name} in store" in shown
    assert f"dr drop {name} closes it" in shown
    listed = protected.dr("stores")
    assert "a candidate of a recovery, not served" in " ".join(listed.out.split())
    assert "begin" in protected.dr("points", "notes").out
    dropped = protected.dr("drop", name, "--json")
    assert (dropped.code, dropped.json["closed"], dropped.json["removed"]) == (0, "notes", True)
    status = protected.dr("status", "--json")
    notes = next(c for c in status.json["collections"] if c["collection"] == "notes")
    assert notes["candidates"] == []
    assert protected.dr("backup", "notes").code == 0


def test_the_same_command_goes_on_with_it(protected: Workplace) -> None:
    name = begun(protected)
    done = protected.dr("restore", "notes", "--switch", "--json")
    assert (done.code, done.json["physical"], done.json["resumed"]) == (0, name, True)
    status = protected.dr("status", "--json")
    notes = next(c for c in status.json["collections"] if c["collection"] == "notes")
    assert (notes["candidates"], notes["physical"]) == ([], name)


def test_what_an_older_point_leaves_behind_is_said(protected: Workplace) -> None:
    plan = protected.dr("restore", "notes", "--at", "seq:1", "--switch", "--plan")
    assert "left behind: what log:" in " ".join(plan.out.split())
    done = protected.dr("restore", "notes", "--at", "seq:1", "--switch")
    assert "left behind of log:" in " ".join(done.out.split())
    assert done.code == 0


def test_what_cannot_catch_up_is_refused(protected: Workplace) -> None:
    refused = protected.dr("restore", "notes", "--at", "seq:1", "--switch", "--catch-up")
    assert refused.code == 2
    assert "--catch-up: seq:1 is a position within what was read" in refused.err
