"""`collection`: what is embedded, committed to the log and applied to the live store, by day."""

import dagster as dg

from dr_pipelines.ingestion.by_stage import commit_days

from .declare import asset_by_day
from .metadata import look_metadata
from .progress import DayReport
from .resources import ProjectResource
from .tracked import Tracked


def build_collection(tracked: Tracked) -> dg.AssetsDefinition:
    """The asset of a collection that has a source."""
    declare = asset_by_day(
        tracked,
        "collection",
        version=tracked.versions.vectors,
        kinds={"parquet", tracked.store_kind},
        after="embeddings",
        metadata=tracked.table,
    )

    @declare
    def collection(context: dg.AssetExecutionContext, dr_project: ProjectResource) -> None:
        """The served collection. Each day is one log entry: from that moment it can be restored.
        Then the live store is brought to what the log says. Materializing a day again appends a
        replay: nothing older ever overwrites newer."""
        protected = dr_project.open().collection(tracked.name)
        history = protected.writable_history(run=context.run.run_id)
        lineage = protected.lineage()
        done = commit_days(
            lineage,
            context.partition_keys,
            history=history,
            live=protected.live(),
            on_day=DayReport(context, dr_project.elapsed).day,
        )
        seen = protected.look(history)
        facts = {
            "documents_written": done.applied.written,
            "direct_edits_kept": len(done.applied.retained),
            "records_refused": done.applied.left_out,
            **look_metadata(seen, dr_project.now()),
        }
        for day in done.days:
            context.add_asset_metadata(facts, partition_key=day.name)

    return collection
