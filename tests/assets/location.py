"""A code location in a directory: a policies file, a feed, an instance that lasts as long."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg

from assets.builder import build_defs
from assets.resources import ProjectResource
from dr_pipelines.ingestion.ingest import (
    ingest,
)
from dr_pipelines.project.project import Project, open_project
from dr_pipelines.repository.history import History

DAYS = ("2026-01-05", "2026-01-09")
POLICIES = """\
version: 1
repository: repository
state: state
stores:
  local: {{url: "duckdb:stores"}}
embedders:
  hashing: {{kind: hashing, dimension: {dimension}}}
collections:
  notes:
    owner: team:search
    store: local
    source: {{kind: jsonl, path: feed.jsonl}}
    chunker: {{kind: characters, size: {size}}}
    embedder: hashing
    partitions_start: 2026-01-05
    objectives: {{rpo: 1h, rto: 30m}}
"""
STORE_ONLY = """\
  memories:
    owner: Assistants
    authority: store
    store: local
    dimension: 4
    objectives: {rpo: 1h, rto: 30m}
"""


class FrozenProject(ProjectResource):
    """A project whose clock stands still."""

    at: str

    def now(self) -> datetime:
        return datetime.fromisoformat(self.at)


@dataclass
class Location:
    """`run` starts a job; `told` is the metadata of what a run materialized."""

    directory: Path
    instance: dg.DagsterInstance = field(init=False)

    def __post_init__(self) -> None:
        self.instance = dg.DagsterInstance.ephemeral(tempdir=str(self.directory))
        self.set_policy()
        self.feed.touch()

    @property
    def feed(self) -> Path:
        return self.directory / "feed.jsonl"

    @property
    def policies(self) -> Path:
        return self.directory / "policies.yaml"

    def set_policy(self, *, size: int = 30, dimension: int = 8, more: str = "") -> None:
        self.policies.write_text(POLICIES.format(size=size, dimension=dimension) + more)

    def say(self, seq: int, ts: str, document: str, text: str | None) -> None:
        """Add a change to the feed: a deletion where there is no text."""
        change: dict[str, Any] = {"seq": seq, "ts": ts, "id": document}
        change |= {"op": "delete"} if text is None else {"op": "upsert", "text": text}
        self.say_line(json.dumps(change))

    def say_line(self, line: str) -> None:
        with self.feed.open("a") as file:
            file.write(line + "\n")

    @property
    def definitions(self) -> dg.Definitions:
        return build_defs(self.policies, executor=dg.in_process_executor)

    @property
    def project(self) -> Project:
        return open_project(self.policies, {})

    def log_kinds(self, collection: str = "notes") -> list[str]:
        """The kinds of all log entries, in order."""
        log = self.project.repository().log(collection)
        return [entry.kind for entry, _ in log.entries()]

    def state(self, collection: str = "notes") -> tuple[str, str, int]:
        """Content digest, vector digest and records at the head."""
        manifest = History(self.project.repository(), collection).latest().manifest
        return manifest.digests.content, manifest.digests.vectors, manifest.counts.records

    def run(
        self,
        job: str,
        *,
        days: tuple[str, str] | None = None,
        assets: Sequence[str] | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> dg.ExecuteInProcessResult:
        """A run of a job over some days, of some of its assets; a failure is a result."""
        tags = {}
        if days:
            names = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
            tags = dict(zip(names, days, strict=True))
        keys = [dg.AssetKey(["notes", name]) for name in assets] if assets else None
        return self.definitions.resolve_job_def(job).execute_in_process(
            instance=self.instance,
            tags=tags,
            asset_selection=keys,
            run_config=config,
            raise_on_error=False,
        )

    def ingest_without_dagster(self) -> None:
        """Bring the log and the store to all that the feed says."""
        protected = self.project.collection("notes")
        ingest(protected.lineage(), history=protected.writable_history(), live=protected.live())

    def ingest(self, *assets: str, days: tuple[str, str] = DAYS) -> dg.ExecuteInProcessResult:
        return self.run("ingest_notes", days=days, assets=assets)


def metadata_of(result: dg.ExecuteInProcessResult, asset: str, name: str) -> dict[str | None, Any]:
    """One piece of metadata of an asset, by partition."""
    return {
        event.materialization.partition: event.materialization.metadata[name].value
        for event in result.get_asset_materialization_events()
        if event.materialization.asset_key.path[-1] == asset
    }


def verdicts(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    return {
        evaluation.check_name: evaluation.passed
        for evaluation in result.get_asset_check_evaluations()
    }


def failure_of(result: dg.ExecuteInProcessResult) -> str:
    """The description of the first step that failed."""
    for event in result.all_events:
        if event.is_step_failure and event.event_specific_data is not None:
            error = event.step_failure_data.error
            while error is not None:
                cause, error = error, error.cause
            return cause.message
    return ""
