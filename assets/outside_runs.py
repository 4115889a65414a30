"""Work that was done without Dagster, as Dagster's events: days that `dr` ingested, points it
proved.

So "materialize missing" leaves out what the log holds, and a recovery point has an age from the
first one on. Reported is only what Dagster has not seen in the very same state.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

import dagster as dg
from dagster._core.definitions.data_version import (
    CODE_VERSION_TAG,
    DATA_VERSION_TAG,
    INPUT_DATA_VERSION_TAG_PREFIX,
    INPUT_EVENT_POINTER_TAG_PREFIX,
    NULL_EVENT_POINTER,
)
from dagster._core.events import DagsterEvent, StepMaterializationData
from dagster._core.instance.utils import RUNLESS_JOB_NAME, RUNLESS_RUN_ID

from dr_pipelines.model.recovery_point import Manifest, Partition
from dr_pipelines.planning.catching_up import unheard
from dr_pipelines.planning.stages import stage_result
from dr_pipelines.repository.history import History

from .jobs import DAILY, PROOF
from .metadata import digest_metadata, point_metadata
from .tracked import VERSION_DIGITS, Tracked

DAYS_A_TICK = 20
"""Days that are reported at once, of four events each. SQLite on a busy disk takes 60 ms for each
event, and no other sensor's tick is evaluated meanwhile."""
EVENTS_READ = 1000
OUTCOME = "without Dagster"


@dataclass(frozen=True)
class Reported:
    """Events to store, the log entry up to which all days were looked at, and days left, of which
    some are `ahead` of the clock. `earlier` days are before the first partition."""

    events: Sequence[dg.AssetMaterialization]
    through: int
    left: int = 0
    ahead: int = 0
    earlier: int = 0

    @property
    def summary(self) -> str:
        """A sentence on what was reported and what was not; empty where there is neither."""
        days = len({event.partition for event in self.events})
        more = f", {self.left} more to come" if self.left else ""
        sentences = (
            [f"{days} days were made without Dagster and are reported{more}"] if days else []
        )
        if self.ahead:
            sentences.append(f"{self.ahead} days are not reported before they begin")
        if self.earlier:
            sentences.append(
                f"{self.earlier} days before partitions_start are no partitions and not reported"
            )
        return "; ".join(sentences)


@dataclass(frozen=True)
class OutsideRuns:
    """Work on one collection that was done without Dagster, as of the log's entry `head`."""

    tracked: Tracked
    instance: dg.DagsterInstance
    history: History
    head: int

    def days(self, *, since: int, today: str) -> Reported:
        """Days that the log covers since an entry, and Dagster has not seen so."""
        if self.head == since or not self.tracked.has_source or not self.head:
            return Reported((), self.head)
        manifest = self.history.point(self.head).manifest
        first = str(self.tracked.policy.partitions_start)  # what lies before is no partition here
        heard = since if since <= self.head else 0
        brought = self.history.days(manifest).brought_since(heard)
        entries = {day: of.entry for day, of in brought.items() if day >= first}
        names, through, left = unheard(entries, since=heard, today=today, limit=DAYS_A_TICK)
        seen = self._seen(names)
        events = [
            event
            for name in sorted(names)
            if seen.get(name) != digest_metadata(brought[name].digests)
            for event in self._day(manifest, name, brought[name])
        ]
        new = [day for day, of in brought.items() if of.entry > since]
        return Reported(
            events,
            through if left else self.head,
            left,
            ahead=sum(day > today for day in new),
            earlier=sum(day < first for day in new),
        )

    def report_proof(self, number: int, at: datetime) -> None:
        """Report a proven point, and the snapshot that it is, as of when its scan began: its age is
        what freshness is about."""
        point = self.history.point(number)
        missing = [name for name in PROOF if self._newest_entry(name) < number]
        for name in missing:
            event = dg.AssetMaterialization(
                self.tracked.key(name),
                description="Proven without Dagster.",
                metadata=point_metadata(point, repository=self.history.repository),
            )
            _report_at(self.instance, event, at)

    def _seen(self, days: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The digests of each day's newest event."""
        if not days:
            return {}
        chosen = dg.AssetRecordsFilter(self.tracked.key("collection"), asset_partitions=list(days))
        by_partition = dict[str, dict[str, Any]]()
        for record in self.instance.fetch_materializations(chosen, limit=EVENTS_READ).records:
            made = record.asset_materialization
            if made is not None and made.partition is not None:
                names = ("content_digest", "vector_digest")
                metadata = {n: made.metadata[n].value for n in names if n in made.metadata}
                by_partition.setdefault(made.partition, metadata)
        return by_partition

    def _day(
        self, manifest: Manifest, name: str, partition: Partition
    ) -> Iterator[dg.AssetMaterialization]:
        before = None
        for stage in DAILY:
            made = stage_result(manifest, partition, stage)
            version = sha256("\n".join(made.content).encode()).hexdigest()[:VERSION_DIGITS]
            tags = {DATA_VERSION_TAG: version, CODE_VERSION_TAG: made.made_by[:VERSION_DIGITS]}
            if before:
                parent = self.tracked.key(before[0]).to_user_string()
                tags[f"{INPUT_DATA_VERSION_TAG_PREFIX}/{parent}"] = before[1]
                tags[f"{INPUT_EVENT_POINTER_TAG_PREFIX}/{parent}"] = NULL_EVENT_POINTER
            before = stage, version
            facts = {
                "dagster/partition_row_count": made.rows,
                "outcome": OUTCOME,
                "quarantined": partition.quarantined,
                "log_entry": partition.entry,
                **({"size_bytes": made.size_bytes} if made.size_bytes else {}),
                **digest_metadata(partition.digests),
            }
            yield dg.AssetMaterialization(
                self.tracked.key(stage),
                description="Made without Dagster.",
                metadata=facts,
                partition=name,
                tags=tags,
            )

    def _newest_entry(self, asset: str) -> int:
        event = self.instance.get_latest_materialization_event(self.tracked.key(asset))
        made = event.asset_materialization if event else None
        entry = made.metadata.get("log_entry") if made else None
        return entry.value if entry and isinstance(entry.value, int) else 0


def _report_at(instance: dg.DagsterInstance, made: dg.AssetMaterialization, at: datetime) -> None:
    """Store an event without a run, as of a time; `report_runless_asset_event` knows only now."""
    event = DagsterEvent(
        dg.DagsterEventType.ASSET_MATERIALIZATION.value,
        RUNLESS_JOB_NAME,
        event_specific_data=StepMaterializationData(made),
    )
    instance.report_dagster_event(event, run_id=RUNLESS_RUN_ID, timestamp=at.timestamp())
