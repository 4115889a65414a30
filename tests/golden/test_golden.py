"""Repositories of every format that was released are read, verified, restored and continued; one
reader that shares no code with this package agrees with it at every point."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_origin

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import BaseModel, TypeAdapter

from dr_pipelines.blobs.local import LocalBlobStore
from dr_pipelines.model.accepted import AcceptedLines
from dr_pipelines.model.canaries import Canaries
from dr_pipelines.model.details import DETAILS, EVIDENCE, EvidenceDetail
from dr_pipelines.model.recovery import Route
from dr_pipelines.model.recovery_point import (
    DayPageRef,
    KeptVersion,
    LogEntry,
    Manifest,
    Partition,
    SegmentPageRef,
    SegmentRef,
    SourcePosition,
    Writer,
)
from dr_pipelines.proof.verify import verify
from dr_pipelines.repository.history import History
from dr_pipelines.repository.points import points
from dr_pipelines.repository.reachability import reachable
from dr_pipelines.repository.repository import IDENTITY_KEY, Identity, Repository
from dr_pipelines.repository.rows import newest_rows
from dr_pipelines.testing.memory_witness import MemoryWitness
from dr_pipelines.testing.world import START
from tests.golden.make import Engine, Listed, new_process, new_world, say_anew
from tests.named import ROOT

GOLDEN = sorted(Path(__file__).parent.glob("v*.tar.xz"))
CURRENT = Path(__file__).parent / "v1.tar.xz"
READER = ROOT / "examples" / "reader" / "read.py"
COLLECTIONS = ("notes", "shapes")
PLACES = {
    "repo.json",
    "log",
    "manifests",
    "manifests (page)",
    "manifests (index)",
    "manifests (packed)",
    "manifests (vectors)",
    "segments",
    "segments (index)",
    "segments (vectors)",
    "checkpoints/documents",
    "checkpoints/chunks",
    "checkpoints/embeddings",
    "checkpoints/embeddings (index)",
    "checkpoints/embeddings (vectors)",
    "canaries",
    "evidence/native",
    "evidence/accepted-quarantine",
    "evidence/left-out",
    "evidence/recovery",
    "evidence/references",
    "native",
}
"""Of objects; docs/format.md lists them."""


@pytest.fixture(scope="session", params=GOLDEN, ids=lambda path: path.name.partition(".")[0])
def golden(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of a release. Nothing writes to it: tests that do have a copy."""
    directory = tmp_path_factory.mktemp("golden")
    with tarfile.open(request.param) as packed:
        packed.extractall(directory, filter="data")
    return directory


@pytest.fixture(scope="session")
def reader() -> ModuleType:
    return loaded(READER)


def loaded(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("independent_reader", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def opened(directory: Path) -> Repository:
    return Repository.open(
        LocalBlobStore(directory),
        witness=MemoryWitness(),
        writer=Writer(id="reader", host="here", version="0"),
        clock=lambda: START,
        new_id=lambda: "reader",
    )


@pytest.mark.parametrize("collection", COLLECTIONS)
def test_it_is_sound(golden: Path, collection: str) -> None:
    verification = verify(History(opened(golden), collection), level=3)
    assert verification.findings == ()


@pytest.mark.parametrize("collection", COLLECTIONS)
def test_every_point_is_what_it_was_and_the_independent_reader_agrees(
    golden: Path, collection: str, reader: ModuleType
) -> None:
    history, number = History(opened(golden), collection), 0
    for point in points(history):
        with history.fold_point(point) as state:
            assert state.digests() == point.manifest.digests
            assert state.counts() == point.manifest.counts
            tables = list(newest_rows(state))
        ours = pa.concat_tables(tables).sort_by("id")
        theirs = reader.restore(golden, collection, point.number, None)
        assert repr(theirs.select(ours.column_names).to_pylist()) == repr(ours.to_pylist())
        number = point.number
    assert number > 0


def test_the_independent_reader_agrees_at_every_position_of_the_source(
    golden: Path, reader: ModuleType
) -> None:
    history = History(opened(golden), "notes")
    point = next(p for p in points(history) if p.manifest.coverage.frontier == 9)
    entry = reader.read_entry(golden, "notes", at=point.number)
    manifest, segments = reader.read_manifest(golden, entry)
    for position in range(point.manifest.baseline, 10):
        cut = SourcePosition(epoch=1, position=position)
        versions = reader.fold(golden, segments, manifest["spec"], cut.model_dump())
        with history.fold(point.manifest, until=cut) as state:
            assert state.digests().model_dump() == reader.digests(versions)


def test_it_comes_back_and_goes_on(golden: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(golden, tmp_path / "copy")
    source, store = Listed(), Engine()
    say_anew(source)
    process = new_process(new_world(copy, source, store, first=1_000_000))
    process.restore(route=Route.LOAD, switch=True)
    assert process.backup().equal
    source.upsert("e", "after the release", at=START + timedelta(days=9))
    assert process.ingest().days != ()
    process.compact()
    assert process.backup().equal
    assert {"a", "d", "e"} <= set(process.folded())
    assert process.verify(3).findings == ()
    old, new = (History(opened(path), "notes").head().number for path in (golden, copy))
    assert new > old


# What it holds


def objects(directory: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(p for p in directory.rglob("*") if p.is_file()):
        yield path.relative_to(directory).as_posix(), path.read_bytes()


def place_of(key: str, data: bytes) -> str:
    names = key.split("/")
    if len(names) == 1:
        return key
    kind = "/".join(names[1 : 3 if names[1] in ("checkpoints", "evidence") else 2])
    if key.endswith(".index.parquet"):
        return f"{kind} (index)"
    if key.endswith(".arrow"):
        return f"{kind} (vectors)"
    if kind == "manifests" and key.endswith(".parquet"):
        return f"{kind} (packed)"
    page = kind == "manifests" and not data.startswith(b'{"accepted')
    return f"{kind} (page)" if page else kind


@pytest.fixture(scope="session")
def current(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The one that this version makes."""
    directory = tmp_path_factory.mktemp("current")
    with tarfile.open(CURRENT) as packed:
        packed.extractall(directory, filter="data")
    return directory


def test_every_kind_of_entry_and_object_is_in_it(current: Path) -> None:
    entries = [
        entry
        for collection in COLLECTIONS
        for entry, _ in History(opened(current), collection).log.entries()
    ]
    assert {entry.kind for entry in entries} == set(DETAILS)
    details = [entry.body.detail for entry in entries]
    assert {d.kind for d in details if isinstance(d, EvidenceDetail)} == set(EVIDENCE)
    assert {place_of(key, data) for key, data in objects(current)} == PLACES


def test_nothing_in_it_is_unreachable(current: Path) -> None:
    """But work that a compaction or a killed run left: here, nothing."""
    repository, reached = opened(current), {IDENTITY_KEY}
    for collection in COLLECTIONS:
        history = History(repository, collection)
        for point in points(history):
            reached.add(history.log.key(point.number))
            refs = reachable(repository, point.entry, point.manifest)
            reached |= {ref.key for ref in refs}
    assert {key for key, _ in objects(current)} == reached


def test_every_field_of_the_format_says_something_in_it(current: Path) -> None:
    """A field that is added to a stored model and is in no golden repository is tested by none."""
    present, fields = set[str](), set[str]()
    for key, data in objects(current):
        if (model := MODELS.get(place_of(key, data))) is not None:
            value = {k: v for k, v in json.loads(data).items() if k != "checksum"}
            _collect(model.model_validate(value), present, fields)
        elif place_of(key, data) == "manifests (page)":
            _collect(PAGE.validate_json(data), present, fields)
    assert fields - present == SILENT
    assert MODELS.keys() | WITHOUT_MODEL == PLACES


MODELS: dict[str, type[BaseModel]] = {
    "repo.json": Identity,
    "log": LogEntry,
    "manifests": Manifest,
    "canaries": Canaries,
    "evidence/native": KeptVersion,
    "evidence/accepted-quarantine": AcceptedLines,
}
PAGE = TypeAdapter[Any](
    tuple[SegmentPageRef, ...]
    | tuple[DayPageRef, ...]
    | tuple[SegmentRef, ...]
    | dict[str, Partition]
)
WITHOUT_MODEL = {
    # tables
    *("manifests (index)", "manifests (packed)", "manifests (vectors)"),
    *("segments", "segments (index)", "checkpoints/documents", "checkpoints/chunks"),
    *("checkpoints/embeddings", "checkpoints/embeddings (index)"),
    *("segments (vectors)", "checkpoints/embeddings (vectors)"),
    # lists of references, whose fields manifests and entries have too, and of records
    *("manifests (page)", "evidence/references", "evidence/left-out"),
    # a report, which no state depends on
    "evidence/recovery",
    # bytes of an engine
    "native",
}
SILENT = {
    "RecoveryEvidence.overridden",  # nobody went on in spite of a finding
    # reserved: written by later versions
    *("Body.features", "Follower.pending", "LogEntry.signature"),
    *("Manifest.features", "Manifest.excluded", "Manifest.erased", "Manifest.externals"),
    *("Manifest.barrier", "Manifest.repository_epoch", "Identity.features"),
    *("ObjectRef.crypto", "CanariesRef.crypto", "CheckpointRef.crypto", "SegmentRef.crypto"),
    *(f"{kind}PageRef.{name}" for kind in ("Segment", "Day") for name in ("crypto", "encoding")),
    *("CanariesRef.encoding", "CheckpointRef.encoding", "SegmentRef.encoding"),
    *("PackedRef.crypto", "PackedRef.encoding"),
    # of models, sources and engines that the package's own stand-ins are not
    *(f"EmbedderProvenance.{name}" for name in ("endpoint", "files", "max_tokens", "pooling")),
    *(f"EmbedderProvenance.{name}" for name in ("prompt", "query_prompt", "revision")),
    *("EmbedderProvenance.tokenizer_sha256", "ChunkerProvenance.tokenizer_sha256"),
    *("Environment.instruction_set", "Environment.libraries", "SourceProvenance.settings"),
    *("Canaries.tolerance", "Tolerance.component", "Tolerance.cosine", "CanaryReading.left_out"),
    *("Fitness.tolerance", "Fitness.trial", "Partition.quarantined", "CollectionSpec.origin"),
    *("AppliedDetail.retained", "LeftBehind.problem", "LeftBehind.reconfigured"),
}
"""Fields that are as they are by default wherever they are in it."""


def _collect(value: Any, present: set[str], fields: set[str]) -> None:
    """Fields of models, and those of them that are not as they are by default."""
    if isinstance(value, BaseModel):
        for name, described in type(value).model_fields.items():
            field, inner = f"{type(value).__name__}.{name}", getattr(value, name)
            fields.add(field)
            constant = get_origin(described.annotation) is Literal
            if constant or described.is_required() or inner != described.get_default():
                present.add(field)
            _collect(inner, present, fields)
    elif isinstance(value, dict):
        for item in value.values():
            _collect(item, present, fields)
    elif isinstance(value, tuple):
        for item in value:
            _collect(item, present, fields)


# The independent reader


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, READER, *arguments], capture_output=True, text=True, check=False
    )


def test_a_file_that_the_reader_could_not_finish_is_not_there(
    current: Path, tmp_path: Path, reader: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(rows: pa.Table, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError("no space left")

    out = tmp_path / "out.parquet"
    monkeypatch.setattr(reader.pq, "write_table", full)
    monkeypatch.setattr(sys, "argv", ["read.py", str(current), "notes", str(out)])
    with pytest.raises(SystemExit, match="no space left"):
        reader.main()
    assert list(tmp_path.iterdir()) == []


def test_the_reader_is_a_program_of_its_own(current: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    done = run(current, "notes", "--at", "7", out)
    assert (done.returncode, done.stderr) == (0, "")
    manifest = History(opened(current), "notes").point(7).manifest
    assert set(manifest.digests.model_dump().values()) <= set(done.stdout.split())
    assert pq.read_metadata(out).num_rows == manifest.counts.records
    text = READER.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 300
    imported = set(re.findall(r"^(?:import|from) (\w+)", text, re.MULTILINE))
    assert imported - set(sys.stdlib_module_names) == {"pyarrow"}


RULES: dict[str, tuple[str, str, str]] = {
    "one NaN in vectors": ("NAN if x != x else struct", "struct", "shapes"),
    "one NaN in numbers": ("NAN64 if v != v else int", "int", "shapes"),
    "a null component is no NaN": ("NULL if x is None", "NAN if x is None", "shapes"),
    "of equals the latest": (
        "version.order >= newest[name].order",
        "version.order[:4] > newest[name].order[:4]",
        "notes",
    ),
    "absent is not present": ('== "present"', '!= "deleted"', "notes"),
    "until drops edits": ("edit == 0 and (epoch", "(epoch", "notes"),
    "until drops later versions": (" and (epoch, position) <= one", "", "notes"),
}
"""Of the format: how the reader follows each, a way not to, and where that must be seen."""


@pytest.mark.parametrize("rule", RULES)
def test_a_reader_that_overlooks_a_rule_is_found_out(
    current: Path, tmp_path: Path, rule: str
) -> None:
    right, wrong, collection = RULES[rule]
    text = READER.read_text(encoding="utf-8")
    assert text.count(right) == 1
    changed = tmp_path / "read.py"
    changed.write_text(text.replace(right, wrong), encoding="utf-8")
    with pytest.raises(ValueError, match="do not fit"):
        restore_every_point(loaded(changed), current, collection)


def restore_every_point(reader: ModuleType, directory: Path, collection: str) -> None:
    for point in points(History(opened(directory), collection)):
        reader.restore(directory, collection, point.number, None)


@pytest.mark.parametrize("place", ["log", "manifests", "segments", "segments (vectors)"])
def test_the_reader_ends_with_what_is_damaged(current: Path, tmp_path: Path, place: str) -> None:
    copy = shutil.copytree(current, tmp_path / "copy")
    key, data = next(
        (key, data)
        for key, data in objects(copy)
        if place_of(key, data) == place and key.startswith("shapes/")
    )
    (copy / key).write_bytes(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
    done = run(copy, "shapes", tmp_path / "out.parquet")
    assert done.returncode == 1
    assert done.stderr.startswith("damaged: ")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out.parquet").exists()


def test_a_version_that_a_flipped_bit_made_is_damage_to_the_reader(
    current: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(current, tmp_path / "copy")
    key = History(opened(copy), "shapes").log.key(1)
    data = (copy / key).read_bytes()
    (copy / key).write_bytes(data.replace(b'"v":1,', b'"v":3,'))
    done = run(copy, "shapes", tmp_path / "out.parquet")
    assert (done.returncode, done.stderr.partition(" ")[0]) == (1, "damaged:")
