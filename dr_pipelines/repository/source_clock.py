"""Where the source was at a time, by its own clock."""

from collections.abc import Iterable
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.model.record import DOCUMENT_ROW
from dr_pipelines.model.recovery_point import Manifest
from dr_pipelines.repository.joined import group_reads
from dr_pipelines.repository.manifests import segments
from dr_pipelines.repository.repository import Repository


def position_at(
    repository: Repository, versions: Iterable[Manifest], time: datetime, *, end: int
) -> int | None:
    """The last position, up to `end`, before the source's clock first passed a time; None where it
    says nothing that early. `versions` are manifests that together hold every version.

    The source's clock is the running maximum of its times, so it ends at the position before the
    first change with a later time.
    """
    later, reached = [], False
    for manifest in versions:
        listed = segments(repository, manifest)
        for read in group_reads(repository, listed, spec=manifest.spec):
            index = read()
            dated = index.filter(_said_by_source(index, manifest.epoch))
            after = pc.greater(dated["updated_at"], pa.scalar(time, pa.timestamp("us", tz="UTC")))
            reached = reached or bool(pc.any(pc.invert(after)).as_py())
            later.append(pc.min(dated.filter(after)["position"]).as_py())
    if not reached:
        return None
    return int(min((p for p in later if p is not None), default=end + 1)) - 1


def _said_by_source(index: pa.Table, epoch: int) -> pa.ChunkedArray:
    is_version = pc.equal(index["chunk_index"], DOCUMENT_ROW)
    from_source = pc.and_(pc.equal(index["edit"], 0), pc.greater(index["position"], 0))
    return pc.and_(pc.and_(is_version, from_source), pc.equal(index["epoch"], epoch))
