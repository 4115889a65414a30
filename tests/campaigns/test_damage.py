"""One flipped bit anywhere, each object missing, truncated, swapped or foreign: found, named, and
never served."""

import dataclasses
import hashlib
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import pyarrow as pa
import pytest

from dr_pipelines.blobs.memory import MemoryBlobStore
from dr_pipelines.errors import Damaged, DrError
from dr_pipelines.model.details import CompactDetail, RefusalEvidence
from dr_pipelines.model.record import index_schema, narrow_schema, store_schema
from dr_pipelines.model.recovery import Route
from dr_pipelines.model.recovery_point import Body, ObjectRef, RecoveryPoint
from dr_pipelines.proof.verify import verify
from dr_pipelines.protocols import BlobStore
from dr_pipelines.repository import manifests, segments
from dr_pipelines.repository.codec import encode_table
from dr_pipelines.repository.evidence import record_evidence
from dr_pipelines.repository.history import History
from dr_pipelines.repository.log import Draft, Witness, encode_entry
from dr_pipelines.repository.reachability import reachable
from dr_pipelines.repository.record_places import record_places
from dr_pipelines.repository.segment_list import Segments
from dr_pipelines.repository.segments import read_segment, row_digests, with_content_digests
from dr_pipelines.testing.blob_faults import (
    flip_bit,
    remove,
    replace,
    truncate,
)
from dr_pipelines.testing.memory_store import MemoryVectorStore
from dr_pipelines.testing.memory_witness import MemoryWitness
from dr_pipelines.testing.world import (
    SPEC,
    START,
    Contents,
    ListedSource,
    Process,
    World,
)
from tests.campaigns.machine import new_world
from tests.campaigns.results import CAMPAIGN, record_result
from tests.repository.builders import index_of

Ref = TypeVar("Ref", bound=ObjectRef)
KINDS = (
    "repository",
    "log",
    "manifest",
    "page",
    "segment",
    "segment index",
    "segment vectors",
    "documents",
    "chunks",
    "embeddings",
    "embeddings index",
    "embeddings vectors",
    "evidence",
)
FLIPS = CAMPAIGN.pick(short=110, long=1_000)
SEED = CAMPAIGN.seed(20_260_101)
FORGED = "notes/manifests/forger/0.json"


@dataclass(frozen=True)
class Kept:
    """A repository with objects of every kind, two collections, and what its points hold."""

    world: World
    objects: dict[str, bytes]
    reachable: tuple[str, ...]
    needs: dict[str, tuple[str, Route]]
    states: dict[str, Contents]
    alias: str

    def of_kind(self, kind: str) -> list[str]:
        return [key for key in self.reachable if kind_of(key, self.objects[key]) == kind]

    def blobs(self) -> MemoryBlobStore:
        blobs = MemoryBlobStore()
        for key, data in self.objects.items():
            blobs.create(key, data)
        return blobs

    def process(self, blobs: BlobStore, *, witness: Witness | None = None) -> Process:
        """A process of another machine, which has witnessed nothing, on a copy of the store."""
        store, original = MemoryVectorStore(), self.world.store
        assert isinstance(original, MemoryVectorStore)
        store.tables.update(original.tables)
        store.targets.update(original.targets)
        world = World(
            self.world.source, blobs, store, witness or MemoryWitness(), self.world.new_id
        )
        return world.process()


def kind_of(key: str, data: bytes) -> str:
    if key == "repo.json":
        return "repository"
    beside = " index" if key.endswith(".index.parquet") else ""
    beside = " vectors" if key.endswith(".arrow") else beside
    part = key.split("/")[1]
    if part == "manifests":
        return "manifest" if data.startswith(b'{"accepted') else f"page{beside}"
    if part == "checkpoints":
        return key.split("/")[2] + beside
    return {"segments": "segment"}.get(part, part) + beside


@pytest.fixture(scope="module")
def setting() -> Kept:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments, "INDEX_FROM_BYTES", 0)
        for name in ("SEGMENTS", "DAYS"):  # so that a few segments and days fill pages
            few = dataclasses.replace(getattr(manifests, name), together=2)
            patch.setattr(manifests, name, few)
        world, source = new_world()
        _live_through(world, source, seed=1)
        other = ListedSource()
        _live_through(world.named("others", other), other, seed=2)
        process = world.process()
        keys, needs = _needs(process)
        states = {at: process.folded(at) for at, _ in needs.values()}
        blobs = world.blobs
        objects = {key: blobs.read(key) for key in blobs.keys("")}
        alias = world.store.aliases()[world.collection]
    whole = Kept(world, objects, ("repo.json", *keys), needs, states, alias)
    assert {kind: bool(whole.of_kind(kind)) for kind in KINDS} == dict.fromkeys(KINDS, True)
    return whole


def _live_through(world: World, source: ListedSource, *, seed: int) -> None:
    """Days, direct edits and their pre-images, snapshots, a replay, compaction, evidence."""
    draw = random.Random(seed)
    process = world.process()
    for day in range(3):
        at = START + timedelta(days=day)
        for document in ("a", "b", f"only{day}"):
            source.upsert(document, f"{document} {day} {draw.random()}", at=at, title=document)
        process.ingest()
        physical = world.store.aliases()[world.collection]
        first = next(iter(world.store.scan(physical, documents=["a"]))).slice(0, 1).to_pylist()[0]
        _edit(world, physical, {**first, "text": f"by hand {day}"})
        if day:
            process.backup()
    days = source.partitions()
    process.replay(days[1].day, days[1].day)
    process.compact()
    source.upsert("c", "after the compaction", at=START + timedelta(days=7))
    process.ingest()
    for number in (1, 2):
        key = f"{world.collection}/evidence/native/{number}-{seed}.json"
        listing = process.repository.put(key, f"{number} of {seed}".encode())
        refusal = RefusalEvidence(reason="another model")
        history = History(process.repository, world.collection)
        record_evidence(history, refusal, objects=[listing])
    for day in (8, 9, 10):
        source.upsert("d", f"day {day}", at=START + timedelta(days=day))
        process.ingest()


def _edit(world: World, physical: str, row: dict[str, object]) -> None:
    world.store.write(physical, pa.Table.from_pylist([row], schema=store_schema(SPEC)))


def _needs(process: Process) -> tuple[list[str], dict[str, tuple[str, Route]]]:
    """Every reachable object, and a restore that cannot do without it."""
    repository = process.repository
    keys, needs = dict[str, None](), dict[str, tuple[str, Route]]()
    for entry, _ in repository.log(process.collection).entries():
        at = f"log:{entry.i}"
        point = process.point(at)
        key = repository.log(process.collection).key(entry.i)
        refs = [ref.key for ref in reachable(repository, entry, point.manifest)]
        keys |= dict.fromkeys([key, *refs])
        history = History(repository, point.collection)
        read = [key, entry.body.manifest.key, *_indexes(history.segments(point.manifest))]
        with history.fold_point(point) as state:
            read += [ref.key for place in record_places(state) for ref in place.objects]
        needs |= dict.fromkeys(read, (at, Route.LOAD))
        chunks = [ref.key for p in history.days(point.manifest).values() for ref in p.chunks]
        needs |= dict.fromkeys(chunks, (at, Route.REPLAY))
    return list(keys), needs


def _indexes(segments: Segments) -> Iterator[str]:
    """The indexes that a fold reads of segments."""
    for group in segments.groups():
        of = group.page or group.segment
        assert of is not None
        yield (getattr(of, "packed", None) or of.index or of).key


def _require_found(setting: Kept, blobs: BlobStore, key: str, *, level: int) -> None:
    """Verification names the object, and nothing but what it names."""
    if key == "repo.json":
        with pytest.raises(Damaged, match=re.escape(key)):
            _opened(setting, blobs)
        return
    findings = _opened(setting, blobs).verify(level).findings
    assert findings, key
    assert all(
        key in (finding.key, *finding.problem.split(), *re.split(r"[ :]", finding.problem))
        for finding in findings
    ), (key, findings)


def _opened(setting: Kept, blobs: BlobStore) -> Process:
    """`Repository.create` opens one that exists, and would make one that does not."""
    blobs.read("repo.json")
    return setting.process(blobs)


def _require_refused(setting: Kept, blobs: BlobStore, key: str) -> str:
    """A restore that needs the object fails; one that does not gives what was there."""
    try:
        process = _opened(setting, blobs)
    except DrError:
        assert key == "repo.json"
        return "refused"
    at, route = setting.needs.get(key, ("latest", Route.LOAD))
    try:
        process.restore(at, route=route, switch=True)
    except DrError as error:
        failed: DrError | None = error
    else:
        failed = None
    if failed is not None:
        assert process.store.aliases()[process.collection] == setting.alias
        assert isinstance(failed, Damaged) or kind_of(key, setting.objects[key]) == "log", failed
        return "refused"
    assert key not in setting.needs
    return "not needed"


def test_one_flipped_bit_is_found_and_named_and_nothing_wrong_is_served(setting: Kept) -> None:
    draw, outcomes = random.Random(SEED), Counter[str]()
    for number in range(FLIPS):
        kind = KINDS[number % len(KINDS)]
        key = draw.choice(setting.of_kind(kind))
        offset, bit = draw.randrange(len(setting.objects[key])), draw.randrange(8)
        blobs = setting.blobs()
        flip_bit(blobs, key, offset=offset, bit=bit)
        _require_found(setting, blobs, key, level=2)
        outcomes[f"{kind}: {_require_refused(setting, blobs, key)}"] += 1
    record_result("damage", flips=FLIPS, seed=SEED, outcomes=dict(sorted(outcomes.items())))


def _missing(blobs: BlobStore, key: str, setting: Kept) -> None:
    remove(blobs, key)


def _truncated(blobs: BlobStore, key: str, setting: Kept) -> None:
    truncate(blobs, key, size=-1)


def _swapped(blobs: BlobStore, key: str, setting: Kept) -> None:
    kind = kind_of(key, setting.objects[key])
    other = next(k for k in setting.of_kind(kind) if setting.objects[k] != setting.objects[key])
    replace(blobs, key, setting.objects[other])


def _foreign(blobs: BlobStore, key: str, setting: Kept) -> None:
    kind, part = kind_of(key, setting.objects[key]), key.split("/")[1]
    theirs = [
        data
        for other, data in setting.objects.items()
        if other.startswith(f"others/{part}/") and kind_of(other, data) == kind
    ]
    same = key.replace("notes/", "others/", 1)
    replace(blobs, key, setting.objects.get(same, theirs[0]))


@pytest.mark.parametrize("kind", KINDS[1:])
@pytest.mark.parametrize(
    ("damage", "level"),
    [(_missing, 0), (_truncated, 0), (_missing, 2), (_truncated, 2), (_swapped, 2), (_foreign, 2)],
)
def test_an_object_that_is_not_itself_is_found_and_named(
    setting: Kept, kind: str, damage: Callable[[BlobStore, str, Kept], None], level: int
) -> None:
    keys = setting.of_kind(kind)
    for key in keys if CAMPAIGN.long else {keys[0], keys[len(keys) // 2], keys[-1]}:
        if kind == "log" and key == keys[-1] and damage is _missing:
            continue  # a missing tail: only a witness can tell, below
        blobs = setting.blobs()
        damage(blobs, key, setting)
        _require_found(setting, blobs, key, level=level)
        _require_refused(setting, blobs, key)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_missing_log_tail_is_found_against_a_recorded_head(setting: Kept, count: int) -> None:
    keys = setting.of_kind("log")
    blobs = setting.blobs()
    for key in keys[-count:]:
        remove(blobs, key)
    process = setting.process(blobs, witness=setting.world.witness)
    (finding,) = process.verify(0).findings
    assert f"ends before entry {len(keys)}" in finding.problem
    for verb in (process.ingest, process.backup, process.restore, process.compact):
        with pytest.raises(Damaged, match="its tail is missing"):
            verb()
    assert sorted(blobs.keys("")) == sorted(set(setting.objects) - set(keys[-count:]))


def test_rows_that_were_changed_with_their_hashes_are_found_by_level_3(setting: Kept) -> None:
    """A forger rewrites a segment, its index and the newest log entry, and makes a manifest that
    fits them, but for the digests of the state."""
    blobs = setting.blobs()
    process = setting.process(blobs)
    point = process.point()
    forged = _forged(process, point)
    for key, data in forged.items():
        if key in setting.objects:
            remove(blobs, key)
        blobs.create(key, data)
    fresh = setting.process(blobs)
    newest = fresh.point()
    findings = {
        level: verify(
            History(fresh.repository, fresh.collection), level=level, point=newest
        ).findings
        for level in (2, 3)
    }
    assert findings[2] == ()
    assert [finding.key for finding in findings[3]] == [FORGED]
    assert "do not add up to the digests" in findings[3][0].problem
    with pytest.raises(Damaged, match="do not add up to the digests"):
        fresh.restore(switch=True)
    assert fresh.store.aliases()[fresh.collection] == setting.alias


def _forged(process: Process, point: RecoveryPoint) -> dict[str, bytes]:
    """Objects with changed texts and consistent hashes, up to the log entry."""
    spec, manifest = point.manifest.spec, point.manifest
    with History(process.repository, point.collection).fold_point(point) as state:
        first = len(state.segments) - len(manifest.segments.tail)
        number = next(n for n, _ in state.rows_by_segment() if n >= first)
        ref = state.segments[number]
    rows = read_segment(process.repository, ref, spec=spec)
    texts = pa.array([text and text.upper() for text in rows["text"].to_pylist()])
    changed = rows.set_column(rows.column_names.index("text"), rows.schema.field("text"), texts)
    changed = with_content_digests(changed, spec)
    segment = encode_table(changed.select(narrow_schema(spec).names))
    index = encode_table(changed.select(index_schema(spec).names))
    update = {"digests": row_digests(changed), "index": _rehashed(index_of(ref), index)}  # type: ignore[arg-type]
    claimed = _rehashed(ref, segment).model_copy(update=update)  # type: ignore[arg-type]
    refs = tuple(claimed if r.key == ref.key else r for r in manifest.segments.tail)
    new = manifest.model_copy(
        update={"segments": manifest.segments.model_copy(update={"tail": refs})}
    ).canonical()
    body = point.entry.body
    body = body.model_copy(update={"manifest": _rehashed(body.manifest, new, key=FORGED)})
    entry = encode_entry(point.entry.model_copy(update={"body": body}))
    log_key = process.repository.log(process.collection).key(point.number)
    return {ref.key: segment, index_of(ref).key: index, FORGED: new, log_key: entry}  # type: ignore[dict-item]


def _rehashed(ref: Ref, data: bytes, *, key: str | None = None) -> Ref:
    digest, size = hashlib.sha256(data).hexdigest(), len(data)
    update = {"key": key or ref.key, "sha256": digest, "size_bytes": size}
    return ref.model_copy(update=update)


def test_a_manifest_that_does_not_describe_its_rows_is_found_by_level_3(setting: Kept) -> None:
    """Every byte is as it was written, but what was written was wrong."""
    blobs = setting.blobs()
    process = setting.process(blobs)
    manifest = process.point().manifest
    wrong = manifest.digests.model_copy(update={"vectors": manifest.digests.content})
    ref = manifests.write_manifest(
        process.repository, manifest.model_copy(update={"digests": wrong})
    )
    detail = CompactDetail(segments_before=1, segments_after=1, rows_before=1, rows_after=1)
    draft = Draft(manifest.timeline, Body(manifest=ref, detail=detail))
    process.repository.log(process.collection).append("compact", lambda _: draft)
    assert process.verify(2).findings == ()
    (finding,) = process.verify(3).findings
    assert finding.key == ref.key
    assert "do not add up to the digests" in finding.problem
