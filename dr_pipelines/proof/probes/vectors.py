"""Are the vectors those of the point? All are counted and measured, sampled ones compared."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from dr_pipelines.model.collection import Vector
from dr_pipelines.model.verdict import Check, Finding
from dr_pipelines.proof.probes.naming import few
from dr_pipelines.proof.probes.sample import Sample, Stored
from dr_pipelines.proof.probes.subject import Expected, Target

SAME_NORM = 1e-3
"""Relative difference of mean norms that rounding does not explain: half precision rounds a
component by 5e-4 at most, and a norm by less."""


@dataclass
class Figures:
    """Counts of one vector column, added up batch by batch."""

    null: int = 0
    zero: int = 0
    not_finite: int = 0
    measured: int = 0
    norms: float = field(default=0.0, repr=False)

    def add(self, column: pa.Array) -> None:
        """Count and measure some more vectors."""
        values = column.flatten().to_numpy(zero_copy_only=False)
        matrix = values.reshape(len(column) - column.null_count, column.type.list_size)
        with np.errstate(all="ignore"):  # of NaN and infinities, which are counted
            norms = np.sqrt(np.einsum("ij,ij->i", matrix, matrix, dtype=np.float64))
        finite = np.isfinite(norms)
        self.null += column.null_count
        self.zero += int((norms == 0).sum())
        self.not_finite += int((~finite).sum())
        self.measured += int(finite.sum())
        self.norms += float(norms[finite].sum())

    @property
    def mean_norm(self) -> float:
        """Of the vectors that are finite."""
        return self.norms / self.measured if self.measured else 0.0


def check_vectors(expected: Expected, sample: Sample, stored: Stored, target: Target) -> Check:
    """Count records, and null, zero and infinite vectors; measure norms; compare sampled vectors
    component by component. Everything is read once on either side."""
    columns = [vector.name for vector in target.searched] or ["id"]
    there = _measured(columns, target.store.scan(target.name, columns=columns, ordered=False))
    batches = (batch for rows in expected.rows(columns) for batch in rows.to_batches())
    point = _measured(columns, batches)
    findings = [*_records(point.rows, there.rows), *_compared(sample, stored)]
    for vector in target.searched:
        tolerance = SAME_NORM + target.store.vector_tolerance
        pair = point.figures[vector.name], there.figures[vector.name]
        findings += _differences(vector, *pair, tolerance=tolerance)
    return Check(
        name="vectors",
        looked_at=there.rows,
        least=min(1, point.rows),
        total=point.rows,
        findings=tuple(findings),
        limits=(
            f"components of {len(sample):,} records were compared, the others counted and measured",
        ),
        figures={"compared": float(len(sample)), **_figures(there)},
    )


@dataclass
class _Measured:
    figures: dict[str, Figures]
    rows: int = 0


def _measured(columns: list[str], batches: Iterable[pa.RecordBatch]) -> _Measured:
    measured = _Measured({name: Figures() for name in columns if name != "id"})
    for batch in batches:
        measured.rows += batch.num_rows
        for name, figures in measured.figures.items():
            figures.add(batch.column(name))
    return measured


def _records(expected: int, there: int) -> Iterator[Finding]:
    if expected != there:
        message = f"the collection holds {there:,} records, the recovery point {expected:,}"
        yield Finding(check="vectors", place="records", message=message)


def _compared(sample: Sample, stored: Stored) -> Iterator[Finding]:
    for place, wrong, state in (
        ("sample/absent", ~stored.there, "are not in the collection"),
        ("sample/values", stored.there & ~stored.near, "have other vectors there"),
    ):
        if wrong.any():
            names = few([sample.ids[number] for number in np.flatnonzero(wrong).tolist()])
            message = f"{int(wrong.sum()):,} of {len(sample):,} sampled records {state}: {names}"
            yield Finding(check="vectors", place=place, message=message)


def _differences(
    vector: Vector, point: Figures, there: Figures, *, tolerance: float
) -> Iterator[Finding]:
    for kind, before, now in (
        ("null", point.null, there.null),
        ("zero", point.zero, there.zero),
        ("not finite", point.not_finite, there.not_finite),
    ):
        if before != now:
            message = f"{now:,} vectors are {kind}, {before:,} at the recovery point"
            yield Finding(
                check="vectors", place=f"{vector.name}/{kind.replace(' ', '-')}", message=message
            )
    before_norm, norm = point.mean_norm, there.mean_norm
    if abs(norm - before_norm) > tolerance * max(before_norm, norm):
        message = f"the mean length of vectors is {norm:.6g}, {before_norm:.6g} at the point"
        yield Finding(check="vectors", place=f"{vector.name}/norm", message=message)


def _figures(measured: _Measured) -> dict[str, float]:
    return {
        f"{name}.{key}": float(value)
        for name, figures in measured.figures.items()
        for key, value in (
            ("null", figures.null),
            ("zero", figures.zero),
            ("mean_norm", figures.mean_norm),
        )
    }
