"""`embeddings`: vectors of the chunks, by day."""

import dagster as dg

from dr_pipelines.ingestion.by_stage import embed_days

from .declare import asset_by_day
from .progress import DayReport
from .resources import ProjectResource
from .tracked import Tracked


def build_embeddings(tracked: Tracked) -> dg.AssetsDefinition:
    """The asset of a collection that has a source."""
    declare = asset_by_day(
        tracked,
        "embeddings",
        version=tracked.versions.vectors,
        kinds={"parquet", "python"},
        after="chunks",
    )

    @declare
    def embeddings(context: dg.AssetExecutionContext, dr_project: ProjectResource) -> None:
        """Chunks with their vectors: the segments that the log will name. Materializing a day again
        embeds it again, for a replay; a day that the log holds, but Dagster has not seen, is taken
        as it is. What a killed run finished is used."""
        protected = dr_project.open().collection(tracked.name)
        report = DayReport(context, dr_project.elapsed)
        embed_days(
            protected.lineage(),
            context.partition_keys,
            history=protected.writable_history(run=context.run.run_id),
            on_day=report.day,
            again=context.instance.get_materialized_partitions(context.asset_key),
            progress=report.texts,
        )

    return embeddings
