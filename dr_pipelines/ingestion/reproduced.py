"""A check that vectors made again are the ones that were kept."""

import numpy as np
import pyarrow as pa

from dr_pipelines.errors import Damaged
from dr_pipelines.model.canaries import Tolerance
from dr_pipelines.model.query import FloatArray
from dr_pipelines.model.recovery_point import RecoveryPoint
from dr_pipelines.protocols import Embedder
from dr_pipelines.repository.history import History
from dr_pipelines.repository.segments import read_segment
from dr_pipelines.repository.state import State
from dr_pipelines.repository.two_states import other_vectors


def require_reproduced(
    point: RecoveryPoint,
    made: State,
    *,
    embedder: Embedder,
    allowed: Tolerance,
) -> None:
    """Compare vectors made again with those a point kept, where their bits differ.

    In the same environment under a reproducible profile no bit may differ; otherwise they
    agree within what is `allowed`. Raises `Damaged` beyond that, and when the kept vectors cannot
    be read.
    """
    with History(made.repository, point.collection).fold_point(point) as original:
        pairs = other_vectors(made, original)
        if pairs.num_rows and _must_be_exact(point, embedder):
            raise Damaged(
                f"{point.collection}: {pairs.num_rows} vectors made again differ from those kept, "
                "in the same environment under a reproducible profile. Use --route load"
            )
        _require_close(pairs, original, made, point, allowed)


def _must_be_exact(point: RecoveryPoint, embedder: Embedder) -> bool:
    made_in = set(point.manifest.environments)
    return embedder.reproducible and made_in == {embedder.environment.fingerprint}


def _require_close(
    pairs: pa.Table,
    original: State,
    made: State,
    point: RecoveryPoint,
    allowed: Tolerance,
) -> None:
    name = point.manifest.spec.vectors[0].name
    groups = pairs.group_by(["other_segment", "segment"]).aggregate(
        [("other_row", "list"), ("row", "list")]
    )
    for group in groups.to_pylist():
        ours = _vectors(made, group["segment"], group["row_list"], name)
        theirs = _vectors(original, group["other_segment"], group["other_row_list"], name)
        component, cosine = distance(ours, theirs)
        if not allowed.covers(component, cosine):
            raise Damaged(
                f"{point.collection}: vectors made again differ from those kept by up to "
                f"{component:.1e} a component and 1 - cos = {cosine:.1e}; allowed are "
                f"{allowed.component:.0e} and {allowed.cosine:.0e}. Use --route load"
            )


def distance(a: FloatArray, b: FloatArray) -> tuple[float, float]:
    """The largest difference of a component and the largest 1 - cos over rows of two matrices."""
    if len(a) == 0:
        return 0.0, 0.0
    x, y = a.astype(np.float64), b.astype(np.float64)
    norms = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    cosines = np.divide(
        np.einsum("ij,ij->i", x, y), norms, out=np.ones_like(norms), where=norms > 0
    )
    return float(np.abs(x - y).max()), float((1 - cosines).max())


def _vectors(state: State, segment: int, rows: list[int], name: str) -> FloatArray:
    ref = state.segments[segment]
    table = read_segment(state.repository, ref, spec=state.spec, columns=[name]).take(
        pa.array(rows)
    )
    values: FloatArray = table[name].combine_chunks().flatten().to_numpy()
    return values.reshape(len(rows), -1)
