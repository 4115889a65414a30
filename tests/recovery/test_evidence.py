"""Each recovery leaves evidence, however it ended: in the log, as JSON and as a page."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from dr_pipelines.blobs.memory import MemoryBlobStore
from dr_pipelines.errors import Unavailable
from dr_pipelines.model.collection_keys import Objective
from dr_pipelines.model.details import RecoveryEvidence
from dr_pipelines.model.recovery import Recovery, Terms
from dr_pipelines.model.recovery_report import RecoveryReport
from dr_pipelines.model.verdict import Override
from dr_pipelines.protocols import VectorStore
from dr_pipelines.recovery.evidence import EvidenceFiles
from dr_pipelines.recovery.journal import FileJournal
from dr_pipelines.recovery.page import page
from dr_pipelines.recovery.report import evidence_lines, recovery_value
from dr_pipelines.recovery.run import recover
from dr_pipelines.recovery.stopped import Stopped
from dr_pipelines.repository.recovery_reports import read_report
from dr_pipelines.testing.memory_store import MemoryVectorStore
from dr_pipelines.testing.memory_witness import MemoryWitness
from dr_pipelines.testing.world import START, ListedSource, Process, World

HOSTILE = "<script>alert(1)</script>\u202e"
OBJECTIVE = Objective(
    rpo=timedelta(hours=1), rto=timedelta(hours=1), allowance=timedelta(minutes=50)
)


class Emptied(MemoryVectorStore):
    """Returns nothing where all columns are read, while it is told so."""

    empty = False
    broken = False

    def scan(self, name: str, **options: Any) -> Iterator[pa.RecordBatch]:
        batches = super().scan(name, **options)
        return iter(()) if self.empty and "columns" not in options else batches

    def write(self, name: str, batch: pa.Table, *, replaces: Sequence[str] = ()) -> None:
        if self.broken:
            raise Unavailable("the store is away")
        super().write(name, batch, replaces=replaces)


@pytest.fixture
def process() -> Process:
    source = ListedSource()
    source.upsert(HOSTILE, "first of all", at=START)
    ids = iter(f"{n:032x}" for n in range(100_000))
    world = World(source, MemoryBlobStore(), Emptied(), MemoryWitness(), lambda: next(ids))
    process = world.process()
    process.ingest()
    return process


def restored(process: Process, place: Path, *go_on: str, **terms: Any) -> Recovery:
    overrides = tuple(
        Override(finding=name, by="<b>me</b>", reason="a test", at=START) for name in go_on
    )
    resources = replace(
        process.resources(),
        journal=FileJournal(place / "recoveries"),
        evidence=EvidenceFiles(place / "evidence"),
        objective=OBJECTIVE,
    )
    request = process.request(switch=True, terms=Terms(overrides=overrides, **terms))
    return recover(request, resources)


def logged(process: Process) -> tuple[RecoveryEvidence, RecoveryReport]:
    """The newest entry, which is evidence, and its report."""
    entry = process.history.latest().entry
    detail = entry.body.detail
    assert isinstance(detail, RecoveryEvidence)
    (reference,) = entry.body.objects
    assert reference.key == detail.report
    return detail, read_report(process.repository, reference)


def store_of(process: Process) -> Emptied:
    store: VectorStore = process.store
    assert isinstance(store, Emptied)
    return store


def test_a_recovery_that_serves_is_evidence_in_the_log_and_on_this_machine(
    process: Process, tmp_path: Path
) -> None:
    before = process.history.head().number
    began = process.repository.clock() - timedelta(minutes=5)

    done = restored(process, tmp_path, began=began)

    detail, report = logged(process)
    assert done.evidence.entry == process.history.head().number
    assert (detail.outcome, detail.point, detail.entry) == ("passed", done.plan.point, before + 1)
    assert (report.verdict, report.phases, report.error) == (done.verdict, done.phases, None)
    assert (report.records, report.digests) == (done.records, done.digests)
    time = report.time
    assert (time.began, time.began_given) == (began, True)
    assert time.measured_seconds == (report.ended - began).total_seconds()
    assert time.measured_seconds >= 300
    assert (time.allowance_seconds, time.rto_seconds, time.met) == (3000, 3600, True)
    files = [Path(name) for name in done.evidence.files]
    assert [path.suffix for path in files] == [".json", ".html"]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert RecoveryReport.model_validate_json(files[0].read_bytes()) == report
    assert files[1].read_text() == page(report)
    assert f"log:{done.evidence.entry}" in evidence_lines(done.evidence)[0]
    assert recovery_value(done)["evidence"]["files"] == done.evidence.files
    assert process.verify(3).sound


def test_a_loss_that_began_after_the_end_is_not_measured(process: Process, tmp_path: Path) -> None:
    restored(process, tmp_path, began=process.repository.clock() + timedelta(days=1))
    _, report = logged(process)
    assert (report.time.measured_seconds, report.time.met) == (None, None)
    assert "not measured: the loss is said to have begun after" in page(report)


def test_evidence_is_no_newer_point_to_restore(process: Process, tmp_path: Path) -> None:
    done = restored(process, tmp_path)
    assert process.point().number == process.history.head().number - 1
    again = restored(process, tmp_path)
    assert done.entry is not None
    assert again.plan.number == done.entry + 1  # where that was marked applied


def test_a_refused_one_is_evidence_and_the_same_command_goes_on_by_name(
    process: Process, tmp_path: Path
) -> None:
    store, served = store_of(process), process.store.aliases()
    store.empty = True
    with pytest.raises(Stopped) as stopped:
        restored(process, tmp_path)
    detail, report = logged(process)
    assert (detail.outcome, detail.entry, report.error) == ("refused", None, str(stopped.value))
    assert report.verdict is not None
    findings = [finding.id for finding in report.verdict.in_the_way]
    assert report.time.measured_seconds is None
    assert store.aliases() == served
    (note, *_) = stopped.value.__notes__
    assert note.startswith(f"evidence: log:{process.history.head().number}, ")

    done = restored(process, tmp_path, *findings)

    assert (done.plan.resumed, done.plan.physical) == (True, report.plan.physical)
    detail, report = logged(process)
    assert (detail.outcome, detail.overridden.names) == ("overridden", tuple(findings))
    assert report.earlier
    assert report.started > report.time.began  # of the first run
    assert len(list((tmp_path / "evidence").glob("*.html"))) == 2


def test_a_failed_one_is_evidence_with_the_phase_and_the_error(
    process: Process, tmp_path: Path
) -> None:
    store_of(process).broken = True
    with pytest.raises(Unavailable, match="the store is away"):
        restored(process, tmp_path)
    detail, report = logged(process)
    assert (detail.outcome, report.error, report.verdict) == ("failed", "the store is away", None)
    assert report.stopped is not None
    assert report.stopped.name == "records"
    assert "the store is away" in page(report)


def test_evidence_that_cannot_be_kept_is_said_and_fails_nothing(
    process: Process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: Any, **__: Any) -> None:
        raise Unavailable("the repository is mounted read-only")

    monkeypatch.setattr(process.repository.blobs, "create", read_only)
    (tmp_path / "in the way").write_text("")
    resources = replace(process.resources(), evidence=EvidenceFiles(tmp_path / "in the way"))
    done = recover(process.request(), resources)
    assert done.verdict.outcome == "passed"
    logged_line, written_line = evidence_lines(done.evidence)
    assert "NOT in the log: the repository is mounted read-only" in logged_line
    assert "cannot be written" in written_line


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: dict[str, str | None] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= dict(attrs)


def test_a_page_runs_nothing_and_asks_for_nothing_whatever_things_are_called(
    process: Process, tmp_path: Path
) -> None:
    store_of(process).empty = True
    with pytest.raises(Stopped) as stopped:
        restored(process, tmp_path)
    names = [finding.id for finding in stopped.value.verdict.in_the_way]
    restored(process, tmp_path, *names)
    (_, report) = logged(process)
    text = page(report)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "&lt;b&gt;me&lt;/b&gt;" in text
    assert "\u202e" not in text
    read = Tags(text)
    assert not {"script", "b", "link", "img", "iframe", "object", "form"} & {*read.tags}
    assert not {"src", "href", "onload", "onclick", "action"} & {*read.attributes}
    assert "http://" not in text.lower()
    assert "https://" not in text.lower()
    assert "url(" not in text.lower()


def test_a_switch_that_the_log_has_is_in_the_report_though_the_store_failed(
    process: Process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The entry is committed, and then the alias cannot be moved: who comes next finishes it."""

    def away(self: VectorStore, name: str, *, alias: str) -> None:
        raise Unavailable("the store went away")

    before = process.history.head().number
    with monkeypatch.context() as patch:
        patch.setattr(Emptied, "promote", away, raising=False)
        with pytest.raises(Unavailable):
            restored(process, tmp_path)
    detail, report = logged(process)
    assert (detail.outcome, detail.entry, report.entry) == ("failed", before + 1, before + 1)
    assert "the store went away" in (report.error or "")
