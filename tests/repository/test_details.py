"""Details of entries are typed: unknown keys are kept by readers and refused to writers."""

import json
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from dr_pipelines.blobs.capabilities import Capabilities
from dr_pipelines.blobs.memory import MemoryBlobStore
from dr_pipelines.errors import Refused
from dr_pipelines.model.base import Stored, canonical_json
from dr_pipelines.model.details import (
    DETAILS,
    EVIDENCE,
    Detail,
    DetailPart,
    EvidenceDetail,
    IngestDetail,
    RefusalEvidence,
    writing_problem,
)
from dr_pipelines.model.recovery_point import (
    MAX_OBJECTS,
    Barrier,
    Body,
    Exclusion,
    External,
    Follower,
    LogEntry,
    Manifest,
    ObjectRef,
    Sealed,
)
from dr_pipelines.model.reserved import RESERVED, RESERVED_EVIDENCE, EntryRange
from dr_pipelines.proof.verify import verify
from dr_pipelines.repository.history import History
from dr_pipelines.repository.json_codec import seal_json
from dr_pipelines.repository.log import Draft, parse_entry
from dr_pipelines.repository.manifests import read_manifest, write_manifest
from dr_pipelines.repository.reachability import attach, reachable
from tests.repository.builders import ENTRY_MANIFEST, REFUSED, log, manifest, repository
from tests.repository.details import EXAMPLES, LATER

EVIDENCE_KINDS = {d.kind for _, d in EXAMPLES if isinstance(d, EvidenceDetail)}


def stored(kind: str, detail: Detail, **body: Any) -> dict[str, Any]:
    """An entry as the log of `books` keeps it, without its checksum."""
    written = log(MemoryBlobStore())
    head = written.append(
        "evidence", lambda _: Draft(1, Body(manifest=ENTRY_MANIFEST, detail=REFUSED))
    )
    assert head.entry is not None
    value = head.entry.model_dump(mode="json") | {"kind": kind}
    value["body"] |= {"detail": detail.model_dump(mode="json"), **body}
    return value


def read(value: dict[str, Any]) -> LogEntry:
    return parse_entry(seal_json(value), number=1, what="here")


def test_there_is_an_example_of_every_kind() -> None:
    assert {kind for kind, _ in EXAMPLES} == set(DETAILS)
    assert set(EVIDENCE) == EVIDENCE_KINDS


@pytest.mark.parametrize(
    ("kind", "detail"), EXAMPLES, ids=[type(detail).__name__ for _, detail in EXAMPLES]
)
def test_a_detail_is_of_the_type_of_its_kind(kind: str, detail: Detail) -> None:
    value = stored(kind, detail)
    entry = read(value)
    assert entry.body.detail == detail
    assert type(entry.body.detail) is type(detail)
    assert seal_json(entry.model_dump(mode="json")) == seal_json(value)


@pytest.mark.parametrize(
    ("kind", "detail"), EXAMPLES, ids=[type(detail).__name__ for _, detail in EXAMPLES]
)
def test_a_key_that_is_not_known_is_kept_by_who_reads_and_not_written(
    kind: str, detail: Detail
) -> None:
    value = stored(kind, detail)
    value["body"]["detail"]["later"] = {"a": [1]}
    for part in value["body"]["detail"].values():
        if isinstance(part, dict):
            part["also"] = 1.5
    entry = read(value)
    assert type(entry.body.detail) is type(detail)
    assert seal_json(entry.model_dump(mode="json")) == seal_json(value)
    problem = writing_problem(kind, entry.body.detail)
    assert problem is not None
    assert "'later'" in problem
    assert ("'also'" in problem) == any(
        isinstance(getattr(detail, name), DetailPart) for name in type(detail).model_fields
    )


@pytest.mark.parametrize(
    "detail",
    [
        REFUSED.model_copy(update={"kind": "drill"}),
        EvidenceDetail(kind="drill"),
        Detail(),
        IngestDetail(days_total=0, records=0),
        RefusalEvidence.model_validate({"reason": "a", "later": 1}),
    ],
    ids=["another kind", "unknown evidence", "nothing", "of another kind", "unknown key"],
)
def test_a_log_does_not_take_a_detail_that_is_none(detail: Detail) -> None:
    blobs = MemoryBlobStore()
    body = Body(manifest=ENTRY_MANIFEST, detail=detail)
    with pytest.raises(Refused, match=r"^books: nothing was written: "):
        log(blobs).append("evidence", lambda _: Draft(1, body))
    assert list(blobs.keys("")) == []


def test_evidence_of_a_newer_kind_is_kept_and_hinders_nothing() -> None:
    value = stored("evidence", REFUSED)
    value["body"]["detail"] = {"kind": "drill", "seconds": 3}
    entry = read(value)
    assert type(entry.body.detail) is EvidenceDetail
    assert entry.needs() == set()
    assert seal_json(entry.model_dump(mode="json")) == seal_json(value)


@pytest.mark.parametrize("kind", [*RESERVED, "of-a-later-year"])
def test_a_kind_that_is_not_known_is_read_and_named(kind: str) -> None:
    value = stored("evidence", REFUSED) | {"kind": kind}
    entry = read(value)
    assert entry.needs() == {kind}
    assert type(entry.body.detail) is Detail
    assert seal_json(entry.model_dump(mode="json")) == seal_json(value)


@pytest.mark.parametrize(
    ("kind", "detail"), LATER, ids=[type(detail).__name__ for _, detail in LATER]
)
def test_a_reserved_kind_is_typed_and_not_written(kind: str, detail: Detail) -> None:
    value = stored(kind, detail)
    entry = read(value)
    assert entry.body.detail == detail
    assert type(entry.body.detail) is type(detail)
    assert entry.needs() == (set() if kind == "evidence" else {kind})
    assert seal_json(entry.model_dump(mode="json")) == seal_json(value)
    assert writing_problem(kind, detail) is not None


def test_there_is_an_example_of_every_reserved_kind() -> None:
    assert {kind for kind, _ in LATER} == {*RESERVED, "evidence"}
    assert {d.kind for _, d in LATER if isinstance(d, EvidenceDetail)} == set(RESERVED_EVIDENCE)
    assert not set(RESERVED) & set(DETAILS)
    assert not set(RESERVED_EVIDENCE) & set(EVIDENCE)


@pytest.mark.parametrize(
    ("update", "named"),
    [
        ({"features": ["pages"], "later": 1}, "pages"),
        ({"excluded": Exclusion(entries=(EntryRange(first=1, last=2),))}, "excluded"),
        ({"erased": ENTRY_MANIFEST}, "erased"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_state_that_only_a_newer_version_knows_is_not_read(
    update: dict[str, Any], named: str
) -> None:
    home = repository()
    value = manifest().model_dump(mode="json") | TypeAdapter(dict[str, Any]).dump_python(
        update, mode="json"
    )
    ref = home.put("books/manifests/w/0.json", canonical_json(value))
    with pytest.raises(Refused, match=rf"newer version that uses \['{named}'\]"):
        read_manifest(home, ref, collection="books")
    body = Body(manifest=ref, detail=REFUSED)
    home.log("books").append("evidence", lambda _: Draft(1, body))
    (finding,) = verify(History(home, "books"), level=0).findings
    assert (finding.key, named in finding.problem) == (ref.key, True)


def test_a_state_of_a_later_format_is_not_called_damaged() -> None:
    home = repository()
    value = {**manifest().model_dump(mode="json"), "v": 2, "later": 1}
    ref = home.put("books/manifests/w/0.json", canonical_json(value))
    with pytest.raises(Refused, match="in format 2; this version reads format 1"):
        read_manifest(home, ref, collection="books")


def test_what_is_said_beside_a_state_is_kept() -> None:
    beside = manifest(
        externals={"queue": External(position="7:41")},
        barrier=Barrier(group="shop", barrier="b1"),
        repository_epoch=2,
    )
    home = repository()
    assert read_manifest(home, write_manifest(home, beside), collection="books") == beside
    plain = json.loads(manifest().canonical())
    assert not set(plain) & {"features", "excluded", "erased", "externals", "barrier"}


def test_followers_stay_in_every_entry_until_one_says_otherwise() -> None:
    follower = Follower(began=1, timeline=1, store="default", physical="books@2", position=1)
    value = stored("evidence", REFUSED, followers={"a": follower.model_dump(mode="json")})
    entry = read(value)
    assert entry.needs() == set()
    assert entry.body.following(REFUSED).followers == {"a": follower}
    ended = entry.body.following(REFUSED, followers={})
    assert "followers" not in json.loads(canonical_json(ended.model_dump(mode="json")))


# Objects

REFERENCES = ("ObjectRef", "CanariesRef", "SegmentRef", "CheckpointRef")


def references(count: int) -> list[ObjectRef]:
    return [ObjectRef(key=f"o/{n}", sha256="0" * 64, size_bytes=n) for n in range(count)]


def entry_with(objects: tuple[ObjectRef, ...]) -> LogEntry:
    body = Body(manifest=ENTRY_MANIFEST, objects=objects, detail=REFUSED)
    head = log(MemoryBlobStore()).append("evidence", lambda _: Draft(1, body))
    assert head.entry is not None
    return head.entry


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 1_000])
def test_everything_that_an_entry_keeps_is_reachable(count: int) -> None:
    home = repository()
    first, *others = references(count + 1)
    objects = attach(home, "books", others, named=[first])
    assert len(objects) <= MAX_OBJECTS
    reached = list(reachable(home, entry_with(objects), manifest()))
    assert {ref.key for ref in reached} >= {first.key, *(ref.key for ref in others)}
    assert reached[1] == first


@pytest.mark.parametrize("listed", [False, True])
def test_whatever_another_manifest_names_is_reachable(listed: bool) -> None:
    """As one that replaces that of an older entry does, once documents can be erased."""
    home = repository()
    whole, named = _with_every_reference()
    assert whole.erased is not None
    named.remove(whole.erased.key)
    other = whole.model_copy(update={"erased": None})  # such a state is not read
    ref = write_manifest(home, other).model_copy(update={"encoding": "manifest"})
    objects = attach(home, "books", [ref, *(references(64) if listed else ())])
    reached = {r.key for r in reachable(home, entry_with(objects), manifest())}
    assert reached >= {ref.key, *named}


def test_a_body_does_not_take_more_than_64_references() -> None:
    with pytest.raises(ValueError, match="at most 64 items"):
        Body(manifest=ENTRY_MANIFEST, objects=tuple(references(65)), detail=REFUSED)


def test_a_reference_without_anything_special_is_three_keys() -> None:
    (ref,) = references(1)
    assert set(json.loads(canonical_json(ref.model_dump(mode="json")))) == {
        "key",
        "sha256",
        "size_bytes",
    }


@pytest.mark.parametrize(
    ("update", "named"),
    [
        ({"encoding": "arrow+lz4"}, "encoding:arrow+lz4"),
        ({"crypto": Sealed(scheme="aes-256-gcm", key="k1")}, "crypto:aes-256-gcm"),
    ],
)
def test_an_object_that_only_a_newer_version_reads_is_refused_by_name(
    update: dict[str, Any], named: str
) -> None:
    home = repository()
    ref = home.put("books/segments/w/0.parquet", b"anything").model_copy(update=update)
    again = TypeAdapter(ObjectRef).validate_json(canonical_json(ref.model_dump(mode="json")))
    assert again == ref
    with pytest.raises(Refused, match=re.escape(f"newer version that uses {named!r}")):
        home.fetch(again)


def test_every_reference_of_a_manifest_is_reachable() -> None:
    """By the model: a field of references that is added is not forgotten."""
    home = repository()
    whole, named = _with_every_reference()
    ref = write_manifest(home, whole)
    entry = entry_with(()).model_copy(
        update={"body": Body(manifest=ref, objects=(), detail=REFUSED)}
    )
    keys = {r.key for r in reachable(home, entry, whole)}
    assert keys == {*named, ref.key}


def _with_every_reference() -> tuple[Manifest, set[str]]:
    """A manifest whose every reference names another object, made from its JSON schema."""
    value, named = manifest().model_dump(mode="json"), set[str]()

    def ref(kind: str) -> dict[str, Any]:
        key = f"made/{len(named)}"
        named.add(key)
        value: dict[str, Any] = {"key": key, "sha256": "0" * 64, "size_bytes": 0}
        if kind == "SegmentRef":
            value |= {"index": ref("ObjectRef"), "kind": "ingest", "entry": 1, "rows": 1}
            value |= {"records": 1, "first_document": "a", "last_document": "a"}
        if kind == "CheckpointRef":
            value |= {"stage": "chunks", "partition": "2026-01-01", "epoch": 1, "after": 0}
            value |= {"through": 1, "rows": 1, "provenance": "0" * 64}
        return value

    day = {"epoch": 1, "after": 0, "through": 1, "anchor": "x", "anchored": 1}
    value["coverage"]["tail"]["2026-01-01"] = day
    value["left_out"] = {"total": 1}
    schema = Manifest.model_json_schema()
    places = {"Manifest": value, "Partition": day, "LeftOut": value["left_out"]}
    places["SegmentList"] = value["segments"]
    for name, place in places.items():
        part = schema if name == "Manifest" else schema["$defs"][name]
        for key, what in part["properties"].items():
            for kind in REFERENCES:
                if _names_reference(what, kind) and key != "pages":
                    place[key] = [ref(kind)] if what.get("type") == "array" else ref(kind)
    holders = {name for name, what in schema["$defs"].items() if _names_reference(what)}
    elsewhere = {
        "SegmentRef",
        "SegmentPageRef",
        "PackedRef",
    }  # what their index is, is seen with pages
    assert holders <= {*places, *elsewhere}, "a part of a manifest that the test does not fill"
    return Manifest.model_validate(value), named


def _names_reference(schema: object, *kinds: str) -> bool:
    return any(f'$defs/{kind}"' in json.dumps(schema) for kind in kinds or REFERENCES)


# Times


def stored_times() -> Iterator[tuple[str, FieldInfo]]:
    """Fields of stored values that are a time, or may be one, by name."""
    for model in subclasses(Stored):
        for name, field in model.model_fields.items():
            if re.search(r"\bdatetime\b(?!\.timedelta)", repr(field)):
                yield f"{model.__name__}.{name}", field


def subclasses(of: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for each in of.__subclasses__():
        yield each
        yield from subclasses(each)


TIMES = dict(stored_times())


def test_times_of_all_stored_values_are_looked_at() -> None:
    assert f"{Capabilities.__name__}.probed_at" in TIMES  # of another room
    assert len(TIMES) >= 12


@pytest.mark.parametrize("name", TIMES)
def test_a_stored_time_has_its_zone_and_is_kept_in_utc(name: str) -> None:
    annotated: Any = TIMES[name].rebuild_annotation()
    read: TypeAdapter[datetime] = TypeAdapter(annotated)
    with pytest.raises(ValidationError, match="expected a time with its zone"):
        read.validate_json('"2026-01-01T12:00:00"')
    elsewhere = read.validate_json('"2026-01-01T14:00:00+02:00"')
    assert read.dump_json(elsewhere) == b'"2026-01-01T12:00:00Z"'
