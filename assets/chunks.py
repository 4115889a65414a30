"""`chunks`: documents cut into pieces, by day."""

import dagster as dg

from dr_pipelines.ingestion.by_stage import cut_days

from .declare import asset_by_day
from .progress import DayReport
from .resources import ProjectResource
from .tracked import Tracked


def build_chunks(tracked: Tracked) -> dg.AssetsDefinition:
    """The asset of a collection that has a source."""
    declare = asset_by_day(
        tracked, "chunks", version=tracked.versions.chunks, kinds={"parquet"}, after="documents"
    )

    @declare
    def chunks(context: dg.AssetExecutionContext, dr_project: ProjectResource) -> None:
        """Every version of every document, cut by the policy's chunker, with its digests. From
        these a whole collection is embedded again when its vectors are lost, or another model is
        wanted."""
        protected = dr_project.open().collection(tracked.name)
        cut_days(
            protected.lineage(),
            context.partition_keys,
            history=protected.writable_history(run=context.run.run_id),
            on_day=DayReport(context, dr_project.elapsed).day,
        )

    return chunks
