"""Make the golden repository: a small one with every kind of entry and object of this version.

    python -m tests.golden.make tests/golden/v1.tar.xz

Whatever can be the same each time is: names, times, vectors. The bytes of Parquet depend on the
version of Arrow, and so do the hashes of everything that refers to them.
"""

import hashlib
import io
import itertools
import struct
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any
from unittest.mock import patch

import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.backup.native import keep_native
from dr_pipelines.backup.result import LossAccepted, Terms
from dr_pipelines.backup.snapshot import backup
from dr_pipelines.blobs.local import LocalBlobStore
from dr_pipelines.embedders.hashing import HashingEmbedder
from dr_pipelines.errors import ProvenanceChanged, Refused
from dr_pipelines.ingestion.epochs import accept_epoch
from dr_pipelines.ingestion.quarantine import Decision, accept
from dr_pipelines.ingestion.refusals import refusals_recorded
from dr_pipelines.ingestion.schema_change import accept_schema
from dr_pipelines.live.live import Live
from dr_pipelines.model.base import canonical_json
from dr_pipelines.model.collection import (
    CollectionSpec,
    Field,
    FieldType,
    Metric,
    Vector,
    VectorIndex,
    VectorKind,
    VectorType,
)
from dr_pipelines.model.compatibility import Note, Outcome
from dr_pipelines.model.lineage import Environment
from dr_pipelines.model.misfit import Misfits
from dr_pipelines.model.query import FloatArray
from dr_pipelines.model.record import store_schema
from dr_pipelines.model.recovery import Route
from dr_pipelines.model.recovery_point import Timeline
from dr_pipelines.model.unread import Quarantined, Unread
from dr_pipelines.proof.points import record_proof
from dr_pipelines.protocols import NativeFile, NativeVersion, Progress
from dr_pipelines.recovery.candidate import begin, close
from dr_pipelines.recovery.plan import plan_recovery
from dr_pipelines.recovery.resources import Resources
from dr_pipelines.recovery.run import recover
from dr_pipelines.repository import manifests, packed, reachability, segments
from dr_pipelines.repository.history import History
from dr_pipelines.repository.vector_storage import VectorStorage
from dr_pipelines.sources.baseline import BaselinedSource
from dr_pipelines.stores.shared.misfits import misfits_of, problem
from dr_pipelines.testing.memory_store import MemoryVectorStore
from dr_pipelines.testing.memory_witness import MemoryWitness
from dr_pipelines.testing.store_faults import RecordingStore
from dr_pipelines.testing.world import (
    DIMENSION,
    SPEC,
    START,
    ListedSource,
    Process,
    TickingClock,
    World,
)
from tests.campaigns.test_races import commit_only

SHAPES = CollectionSpec(
    name="shapes",
    vectors=(
        Vector(
            dimension=2,
            metric=Metric.L2,
            dtype=VectorType.FLOAT16,
            index=VectorIndex(kind="hnsw", parameters={"m": 4}),
        ),
        Vector(name="words", dimension=100, kind=VectorKind.SPARSE),
        Vector(name="tokens", dimension=2, kind=VectorKind.MULTI),
    ),
    fields=(
        Field(name="label", type=FieldType.STRING, role="tenant"),
        Field(name="whole", type=FieldType.INTEGER),
        Field(name="real", type=FieldType.NUMBER),
        Field(name="flag", type=FieldType.BOOLEAN),
        Field(name="moment", type=FieldType.TIMESTAMP),
        Field(name="tags", type=FieldType.STRINGS, filterable=False),
    ),
    keyword_index=False,
    shards=2,
    replicas=2,
    engine={"memory": {"speed": 1}},
)
NAN = float("nan")
OTHER_NAN = struct.unpack("<d", (0xFFF8_0020_0000_0000).to_bytes(8, "little"))[0]
"""With another sign and payload, as a double and as the float that becomes of it."""
ODD_SHAPES: tuple[dict[str, object], ...] = (
    {
        "text": "Zürich — \x00 \U0001d4b3 \u2028 z\u0308",
        "extra": '{"k":[1,null]}',
        "embedding": [1.0, -0.0],
        "words": {"indices": [0, 99], "values": [0.5, 0.0]},
        "tokens": [[1.0, 2.0], [3.0, -4.0]],
        "label": "a",
        "whole": -(1 << 63),
        "real": -0.0,
        "flag": True,
        "moment": datetime(1969, 12, 31, 23, 59, 59, 1, tzinfo=UTC),
        "tags": ["x", None, ""],
    },
    {
        "text": "",
        "embedding": [OTHER_NAN, float("-inf")],
        "tokens": [],
        "tags": [],
        "real": OTHER_NAN,
    },
    {"text": "without a vector", "label": "b"},
    {
        "uri": "file:///a",
        "embedding": [0.0, 0.0],
        "words": {"indices": [], "values": []},
        "real": 1e-320,
        "flag": False,
    },
    {"text": "to get a null component", "embedding": [1.0, 0.0]},
)


@dataclass
class Engine(MemoryVectorStore):
    """A store that refuses some records when it is told to, and whose files are its records."""

    refusing: bool = False
    files: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()

    def change_token(self, name: str) -> str | None:
        self.describe(name)
        return "1"

    def compatibility(self, name: str) -> tuple[Note, ...]:
        note = Note("engine.memory.speed", Outcome.APPROXIMATED, "another speed")
        return (*super().compatibility(name), note)

    def misfits(self, spec: CollectionSpec, batch: pa.Table | pa.RecordBatch) -> Misfits:
        if not self.refusing:
            return super().misfits(spec, batch)
        odd = pc.equal(batch["document_id"], "odd")
        return misfits_of(batch, [problem("text", odd, "a text that this engine does not take")])

    def native_files(self, name: str) -> NativeVersion:
        self.files = {f"data/{n}.bin": bytes([n]) * 9 for n in range(3)}
        files = tuple(NativeFile(path, len(data)) for path, data in self.files.items())
        return NativeVersion(self.engine, "7", files)

    @contextmanager
    def open_native(self, name: str, path: str) -> Iterator[IO[bytes]]:
        yield io.BytesIO(self.files[path])

    def restore_native(self, name: str, *args: object, **more: object) -> None:
        raise NotImplementedError


class Model(HashingEmbedder):
    """A model whose vectors may be off by something, in an environment of its own then."""

    def __init__(self, by: float = 0.0) -> None:
        super().__init__(DIMENSION)
        self._by = by

    def embed(self, texts: Sequence[str], *, progress: Progress | None = None) -> FloatArray:
        vectors: FloatArray = super().embed(texts, progress=progress)
        return vectors + vectors.dtype.type(self._by)

    @property
    def environment(self) -> Environment:
        usual = super().environment
        return usual.model_copy(update={"profile": "another"}) if self._by else usual


class Listed(ListedSource):
    """A source with a line that nobody can read. Its anchors are those of this format's time."""

    BAD = Quarantined("line 7", "invalid JSON", 3, sha256="7" * 64, since=START)

    def anchor(self, position: int) -> str | None:
        if not 1 <= position <= self.head:
            return None
        read = [[c.document_id, c.position, c.text] for c in self.history[:position]]
        return hashlib.sha256(canonical_json(read)).hexdigest()

    def unread(self) -> Unread:
        return Unread(count=1, lines=(self.BAD,), since=START)


def new_world(directory: Path, source: ListedSource, store: Engine, *, first: int = 1) -> World:
    """A world around a repository in a directory; names count from `first` on."""
    numbers = itertools.count(first)
    return World(
        BaselinedSource(source, (START + timedelta(days=1)).date()),
        LocalBlobStore(directory),
        store,
        MemoryWitness(),
        lambda: f"01900000-0000-7000-8000-{next(numbers):012x}",
        clock=TickingClock(START + timedelta(days=30)),
        embedder=Model(),
    )


def make(directory: Path) -> None:
    """Make the repository in a directory that does not exist yet."""
    source, store = Listed(), Engine()
    world = new_world(directory, source, store)
    with ExitStack() as patched:  # so that small lists are long, and nothing takes time
        patched.enter_context(patch.object(segments, "INDEX_FROM_BYTES", 3_500))
        for name in ("SEGMENTS", "DAYS"):  # so that pages of every level are there
            few = replace(getattr(manifests, name), together=2)
            patched.enter_context(patch.object(manifests, name, few))
        patched.enter_context(patch.object(packed, "PACKED_BYTES", 14_000))
        patched.enter_context(patch.object(reachability, "MAX_OBJECTS", 3))
        for name in ("monotonic", "perf_counter"):
            patched.enter_context(patch.object(time, name, lambda: 1.0))
        patched.enter_context(patch.object(Process, "resources", _untimed(Process.resources)))
        _beginnings(world, source)
        _by_hand(world, source)
        _refusals(world, source)
        _restored(world, source, store)
        _candidates(world, source, store)
        _rewritten(world, source)
    _shapes(world, store)


def _untimed(real: Callable[..., Resources]) -> Callable[..., Resources]:
    def resources(self: Process, **options: Any) -> Resources:
        return replace(real(self, **options), timer=lambda: 1.0)

    return resources


NEARLY = 1e-7
"""Within the tolerance of canaries."""


def _day(number: int) -> datetime:
    return START + timedelta(days=number, hours=1)


def _edit(process: Process, document: str, text: str) -> None:
    physical = process.store.aliases()[process.collection]
    rows = pa.Table.from_batches(process.store.scan(physical, documents=[document]))
    texts = pa.array([text] * rows.num_rows, pa.string())
    place = rows.column_names.index("text")
    process.store.write(physical, rows.set_column(place, rows.schema.field("text"), texts))


def _beginnings(world: World, source: ListedSource) -> None:
    """A baseline, two days, an empty text, a deletion; a first snapshot, proven."""
    source.upsert("a", "before anything", at=_day(0), title="A", team="red")
    source.upsert("gone", "before anything", at=_day(0))
    source.delete("gone", at=_day(0))
    source.upsert("a", "one two three", at=_day(1), title="A", team="red", other="extra")
    source.upsert("odd", "an odd one", at=_day(1), team="blue")
    source.upsert("empty", "", at=_day(1))
    world.process().ingest()
    source.upsert("b", "four five", at=_day(2))
    source.delete("empty", at=_day(2))
    process = world.process()
    writer = process.repository.writer.model_copy(update={"run": "nightly"})
    process = replace(process, repository=replace(process.repository, writer=writer))
    process.ingest()
    process.backup()
    record_proof(process.history, process.point(), checks=("equal", "restorable"))


def _by_hand(world: World, source: ListedSource) -> None:
    """Direct edits that a snapshot records, and one that the source overwrites: its pre-image; an
    engine's own files; a loss that somebody takes."""
    process = world.process()
    _edit(process, "b", "by hand")
    process.backup()
    native = process.store
    assert isinstance(native, Engine)
    keep_native(process.history, store=native, native=native)
    _edit(process, "a", "by hand, lost")
    source.upsert("a", "six seven", at=_day(3), title="A", team="red")
    commit_only(process, _day(3).date().isoformat())
    world.process().ingest()  # another writer takes over
    process = world.process()
    process.replay(_day(2).date(), _day(2).date())
    nearly = replace(process, lineage=replace(process.lineage, embedder=Model(NEARLY)))
    nearly.replay(_day(1).date(), _day(1).date())  # other values in the same place of the order
    process.backup()


def _refusals(world: World, source: ListedSource) -> None:
    """A model that is another one, a refusal, lines that are let go."""
    source.upsert("c", "eight", at=_day(4))
    process = world.process()
    other = replace(process, lineage=replace(process.lineage, embedder=Model(0.5)))
    with suppress(ProvenanceChanged):
        other.ingest()
    with suppress(Refused), refusals_recorded(process.history):
        raise Refused("the policy says another chunker")
    decision = Decision((Listed.BAD,), "a test record", "somebody@example.org")
    accept(process.history, decision)


def _restored(world: World, source: ListedSource, store: Engine) -> None:
    """Back to the middle of what was read, without a record that the engine refuses; then on."""
    store.refusing = True
    world.process().restore("seq:7", route=Route.LOAD, switch=True)
    process = world.process()
    backup(
        process.history,
        live=process.live,
        terms=Terms(
            unread=source.unread(),
            accepting=LossAccepted(("records",), "known", "somebody@example.org"),
        ),
    )
    source.upsert("odd", "an odder one", at=_day(5), team="blue")
    world.process().ingest()
    world.process().compact()
    physical = process.store.aliases()[process.collection]
    rows = pa.Table.from_batches(process.store.scan(physical, documents=["c"]))
    process.store.write(physical, rows.slice(0, 0), replaces=["c"])
    process.backup()


def _candidates(world: World, source: ListedSource, store: Engine) -> None:
    """A recovery that catches up with what was read meanwhile, one that was given up, and one that
    goes back behind what it lists."""
    waiting = [_day(6)]

    def meanwhile(call: str, name: str, moment: str, number: int) -> None:
        if (call, moment) == ("build_index", "before") and waiting:
            source.upsert("late", "read while it was built", at=waiting.pop())
            world.process().ingest()

    process = world.process(store=RecordingStore(store, meanwhile))
    recover(process.request(switch=True), process.resources())
    process = world.process()
    plan = plan_recovery(process.request(switch=True), process.resources())
    begin(process.history, plan)
    close(process.history, f"{plan.store}/{plan.physical}", reason="not needed any more")
    source.upsert("a", "a bad import", at=_day(7), team="red")
    source.delete("late", at=_day(7))
    source.upsert("worse", "a bad import too", at=_day(7))
    world.process().ingest()
    world.process().restore(f"log:{plan.number}", switch=True)


def _rewritten(world: World, source: ListedSource) -> None:
    """Another history, then another schema, each accepted by name."""
    say_anew(source)
    process = world.process()
    accept_epoch(process.lineage, "second", history=process.history, live=process.live)
    process.backup()
    process = new_process(world)
    accept_schema(process.lineage, "third", history=process.history, live=process.live)
    process.backup()


def new_process(world: World) -> Process:
    """A process whose policy has the schema that the collection has in the end."""
    process = world.process()
    fields = (*SPEC.fields, Field(name="other", type=FieldType.STRING))
    spec = SPEC.physical(process.collection).model_copy(update={"fields": fields})
    return replace(process, lineage=replace(process.lineage, spec=spec))


def say_anew(source: ListedSource) -> None:
    """The other history."""
    source.history = []
    source.upsert("a", "begun anew", at=_day(1), title="A")
    source.upsert("d", "nine", at=_day(2), team="red")


def _shapes(world: World, store: Engine) -> None:
    """A log that begins with what a store held: every kind of field and vector, and odd values."""
    process = world.process()
    compressed = replace(process.repository, vectors=VectorStorage("always"))
    process = replace(process, repository=compressed)
    rows = [
        {"id": f"s{n}#000000", "document_id": f"s{n}", "chunk_index": 0, **row}
        for n, row in enumerate(ODD_SHAPES)
    ]
    process.store.create(SHAPES)
    process.store.promote("shapes", alias="forms")
    process.store.write("shapes", pa.Table.from_pylist(rows, schema=store_schema(SHAPES)))
    rows[-1]["embedding"] = [None, 0.0]  # no write of ours, but some engines take it from others
    version = store.newest("shapes")
    by_others = pa.Table.from_pylist(rows, schema=version.table.schema)
    store.tables["shapes"] = replace(version, table=by_others)
    backup(
        History(process.repository, "shapes"),
        live=Live(process.store, process.lease, "shapes"),
        terms=Terms(adopt=Timeline(id=1, physical="shapes", store="default")),
    )


def pack(directory: Path, archive: Path) -> None:
    """One file of a directory, the same for the same contents."""
    with tarfile.open(archive, "w:xz", preset=9) as packed:
        for path in sorted(p for p in directory.rglob("*") if p.is_file()):
            data, name = path.read_bytes(), path.relative_to(directory).as_posix()
            member = tarfile.TarInfo(name)
            member.size = len(data)
            packed.addfile(member, io.BytesIO(data))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        make(Path(made) / "repository")
        pack(Path(made) / "repository", Path(sys.argv[1]))
