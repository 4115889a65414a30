"""Stages of ingestion that a day has completed, as a manifest lists them."""

from dataclasses import dataclass

from dr_pipelines.model.recovery_point import Manifest, Partition


@dataclass(frozen=True, slots=True)
class StageResult:
    """`content` identifies what was made, `made_by` what made it; `size_bytes` is 0 where rows are
    in segments that several days share."""

    rows: int
    size_bytes: int
    content: tuple[str, ...]
    made_by: str


def stage_result(manifest: Manifest, partition: Partition, stage: str) -> StageResult:
    """The result of `documents`, `chunks` or a later stage on a day that the manifest covers."""
    if stage in ("documents", "chunks"):
        refs = partition.documents if stage == "documents" else partition.chunks
        return StageResult(
            rows=sum(ref.rows for ref in refs),
            size_bytes=sum(ref.size_bytes for ref in refs),
            content=tuple(ref.sha256 for ref in refs),
            made_by=refs[-1].provenance if refs else "",
        )
    digests, made = partition.digests, manifest.provenance
    return StageResult(
        rows=partition.records,
        size_bytes=0,
        content=(digests.content, digests.vectors),
        made_by=made.fingerprint if made else "",
    )
