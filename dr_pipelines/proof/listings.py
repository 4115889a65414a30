"""Objects that list something: beyond their hash, verification reads what they say."""

from collections.abc import Callable, Iterator
from functools import partial

from dr_pipelines.errors import Damaged
from dr_pipelines.ingestion.quarantine import accepted_lines
from dr_pipelines.live.left_out import read_left_out
from dr_pipelines.model.details import (
    AcceptedEvidence,
    CanariesEvidence,
    NativeEvidence,
    RecoveryEvidence,
)
from dr_pipelines.model.recovery_point import LogEntry, Manifest
from dr_pipelines.repository.canary_objects import read_canaries
from dr_pipelines.repository.native_files import kept_version
from dr_pipelines.repository.reachability import named_object
from dr_pipelines.repository.recovery_reports import read_report
from dr_pipelines.repository.repository import Repository


def listings(
    repository: Repository, entry: LogEntry, manifest: Manifest
) -> Iterator[tuple[str, Callable[[], object]]]:
    """Keys of the lists and canaries that an entry and its manifest name, each with the call that
    reads it and raises `Damaged`. Raises `Damaged` where a detail names one that the entry does not
    keep."""
    detail = entry.body.detail
    if isinstance(detail, NativeEvidence | AcceptedEvidence):
        named_object(entry, detail.listing)
    if isinstance(detail, NativeEvidence):
        yield detail.listing, partial(kept_version, repository, entry, detail)
    if isinstance(detail, CanariesEvidence):
        reference = named_object(entry, detail.canaries)
        yield reference.key, partial(read_canaries, repository, reference)
    if isinstance(detail, RecoveryEvidence):
        reference = named_object(entry, detail.report)
        yield reference.key, partial(read_report, repository, reference)
    if manifest.canaries is not None:
        yield manifest.canaries.key, partial(read_canaries, repository, manifest.canaries)
    if manifest.left_out is not None:
        yield manifest.left_out.records.key, partial(_left_out, repository, manifest)
    if manifest.accepted is not None:
        yield manifest.accepted.key, partial(accepted_lines, repository, manifest)


def _left_out(repository: Repository, manifest: Manifest) -> None:
    left, listed = read_left_out(repository, manifest), manifest.left_out
    if listed is not None and left.total != listed.total:
        raise Damaged(f"{listed.records.key}: lists {left.total} records, not {listed.total}")
