"""`documents`: the source's changes, by day."""

import dagster as dg

from dr_pipelines.ingestion.by_stage import read_days

from .declare import asset_by_day
from .progress import DayReport
from .resources import ProjectResource
from .tracked import Tracked


def build_documents(tracked: Tracked) -> dg.AssetsDefinition:
    """The asset of a collection that has a source."""
    source = tracked.policy.source
    declare = asset_by_day(
        tracked,
        "documents",
        version=tracked.versions.documents,
        kinds={source.kind if source else "python"},
    )

    @declare
    def documents(context: dg.AssetExecutionContext, dr_project: ProjectResource) -> None:
        """The source's changes, read and kept as they are. A day belongs to the running maximum of
        the changes' times, so late changes never reopen a finished day. A day on which the source
        said nothing has zero rows; lines that could not be read are counted as quarantined."""
        protected = dr_project.open().collection(tracked.name)
        read_days(
            protected.lineage(),
            context.partition_keys,
            history=protected.writable_history(run=context.run.run_id),
            on_day=DayReport(context, dr_project.elapsed).day,
        )

    return documents
