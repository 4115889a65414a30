"""An object that lists something is read by verification, not only hashed."""

from typing import Any

import pytest

from dr_pipelines.errors import Damaged
from dr_pipelines.ingestion.quarantine import accepted_lines
from dr_pipelines.model.base import canonical_json
from dr_pipelines.model.details import AcceptedEvidence, CanariesEvidence, Detail, NativeEvidence
from dr_pipelines.model.recovery_point import Body, CanariesRef, LeftOut, Manifest, ObjectRef
from dr_pipelines.proof.verify import verify
from dr_pipelines.repository.history import History
from dr_pipelines.repository.log import Draft
from dr_pipelines.repository.manifests import write_manifest
from dr_pipelines.repository.repository import Repository
from tests.repository.builders import REFUSED, manifest, repository

WRONG: tuple[Any, ...] = ([], {}, {"lines": 3}, {"lines": [{"place": "a"}]}, {"records": [["a"]]})


def logged(home: Repository, state: Manifest, detail: Detail, *objects: ObjectRef) -> list[str]:
    """Keys of what verification finds wrong in a log of one entry."""
    body = Body(manifest=write_manifest(home, state), objects=objects, detail=detail)
    home.log("books").append("evidence", lambda _: Draft(1, body))
    for level in (0, 2):
        assert verify(History(home, "books"), level=level).sound
    return [finding.key for finding in verify(History(home, "books"), level=3).findings]


def native(listing: ObjectRef) -> NativeEvidence:
    return NativeEvidence(
        engine="memory",
        physical="books@1",
        version="1",
        snapshot=1,
        listing=listing.key,
        files_total=1,
        size_bytes=1,
    )


def detail_of(canaries: ObjectRef) -> CanariesEvidence:
    return CanariesEvidence(
        canaries=canaries.key, model="a", component=1.0, cosine=1.0, reason="a test"
    )


@pytest.mark.parametrize("value", WRONG, ids=str)
@pytest.mark.parametrize("kind", ["native", "left out", "accepted", "canaries", "canaries told"])
def test_a_list_that_is_none_is_found(kind: str, value: Any) -> None:
    home = repository()
    ref = home.put("books/evidence/list/0.json", canonical_json(value))
    if kind == "native":
        entry = logged(home, manifest(), native(ref), ref)
    elif kind == "left out":
        entry = logged(home, manifest(left_out=LeftOut(records=ref, total=1)), REFUSED)
    elif kind == "canaries":
        entry = logged(home, manifest(canaries=CanariesRef(**ref.model_dump())), REFUSED)
    elif kind == "canaries told":
        entry = logged(home, manifest(), detail_of(ref), ref)
    else:
        entry = logged(home, manifest(accepted=ref), REFUSED)
        with pytest.raises(Damaged, match=r"does not list lines that were let go"):
            accepted_lines(home, manifest(accepted=ref))
    assert entry == [ref.key]


def test_a_list_of_another_length_is_found() -> None:
    home = repository()
    value = {"kind": "left-out", "records": [["a", "0" * 64, "0" * 64]]}
    ref = home.put("books/evidence/left-out/0.json", canonical_json(value))
    assert logged(home, manifest(left_out=LeftOut(records=ref, total=2)), REFUSED) == [ref.key]


@pytest.mark.parametrize("kind", ["native", "accepted", "canaries"])
def test_a_list_that_is_named_and_not_kept_is_found(kind: str) -> None:
    home = repository()
    ref = home.put("books/evidence/list/0.json", b"{}")
    details: dict[str, Detail] = {
        "native": native(ref),
        "accepted": AcceptedEvidence(listing=ref.key, lines=1, reason="a test", by="a"),
        "canaries": detail_of(ref),
    }
    body = Body(manifest=write_manifest(home, manifest()), detail=details[kind])
    home.log("books").append("evidence", lambda _: Draft(1, body))
    (finding,) = verify(History(home, "books"), level=0).findings
    assert (finding.key, ref.key in finding.problem) == (body.manifest.key, True)
