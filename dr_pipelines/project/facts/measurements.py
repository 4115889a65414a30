"""Measurements of earlier recoveries, from the evidence that they left; of those without a report
from the timelines that they began."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from dr_pipelines.errors import DrError
from dr_pipelines.model.details import IngestDetail
from dr_pipelines.model.incident import Measurement, PlannedRoute
from dr_pipelines.model.recovery import Phase
from dr_pipelines.model.recovery_point import Manifest, ObjectRef
from dr_pipelines.model.recovery_report import RecoveryReport
from dr_pipelines.planning.parts import namespace
from dr_pipelines.repository.recovery_reports import read_report
from dr_pipelines.repository.repository import Repository

MOST_REPORTS = 20
"""The newest reports, which are read; older recoveries were of another machine, or size."""
ROUTES: dict[str, PlannedRoute] = {"load": "load", "replay": "replay", "native": "native"}
COMPLETE = ("passed", "overridden")


@dataclass(frozen=True, slots=True)
class Measured:
    """Measurements, and how many reports could not be read."""

    measurements: tuple[Measurement, ...] = ()
    unread: int = 0


def measured(repository: Repository, manifest: Manifest, reports: Sequence[ObjectRef]) -> Measured:
    """Those of a collection; `reports` are of its evidence, oldest first."""
    read, unread = list[RecoveryReport](), 0
    for reference in reports[-MOST_REPORTS:]:
        try:
            read.append(read_report(repository, reference))
        except DrError:
            unread += 1  # it says how long something took, and nothing else hangs on it
    dimension = dimension_of(manifest)
    reported = {report.plan.physical for report in read}
    return Measured(
        (
            *_of_timelines(manifest, dimension, without=reported),
            *_of_reports(read, dimension),
        ),
        unread,
    )


def dimension_of(manifest: Manifest) -> int:
    """Components of the first dense vector; 0 without one."""
    return next((v.dimension for v in manifest.spec.vectors if v.dimension), 0)


def ingestion(manifest: Manifest, detail: IngestDetail) -> Measurement:
    """An ingestion as a measurement of reading the source anew."""
    return Measurement(
        collection=manifest.collection,
        engine=namespace(manifest.engine),
        route="reingest",
        records=detail.records,
        dimension=dimension_of(manifest),
        phases={"embed": detail.seconds or 0.0},
    )


def _of_timelines(
    manifest: Manifest, dimension: int, *, without: set[str]
) -> Iterator[Measurement]:
    for timeline in manifest.timelines:
        made = timeline.made
        if made is not None and made.route in ROUTES and timeline.physical not in without:
            yield Measurement(
                collection=manifest.collection,
                engine=made.engine,
                route=ROUTES[made.route],
                records=made.records,
                dimension=dimension,
                phases=made.phases,
            )


def _of_reports(reports: Iterable[RecoveryReport], dimension: int) -> Iterator[Measurement]:
    """Recoveries that came to their end, served or not: drills count."""
    for report in reports:
        if report.outcome in COMPLETE and report.records:
            yield Measurement(
                collection=report.collection,
                engine=namespace(report.engine),
                route=ROUTES[str(report.plan.route)],
                records=report.records,
                dimension=dimension,
                phases=_seconds((*report.earlier, *report.phases)),
            )


def _seconds(phases: Iterable[Phase]) -> dict[str, float]:
    total = defaultdict[str, float](float)
    for phase in phases:
        total[phase.name] += phase.seconds
    return dict(sorted(total.items()))
