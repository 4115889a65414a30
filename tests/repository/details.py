"""A detail of every kind of entry and of evidence, all fields given."""

from dr_pipelines.model.assurance import Assurance
from dr_pipelines.model.details import (
    AcceptedEvidence,
    AppliedDetail,
    BeginDetail,
    CanariesEvidence,
    CanaryReading,
    CompactDetail,
    Detail,
    EndDetail,
    EpochBegun,
    FollowDetail,
    IngestDetail,
    LeftBehind,
    Mentioned,
    NativeEvidence,
    PreimageEvidence,
    ProofEvidence,
    RecoveryEvidence,
    RestoreDetail,
    SnapshotDetail,
    SourceUnread,
)
from dr_pipelines.model.reserved import (
    BarrierEvidence,
    CondemnDetail,
    EntryRange,
    EraseDetail,
    ExcludeDetail,
    ExpireDetail,
    FeatureDetail,
    PinDetail,
    PromoteDetail,
    ReleaseEvidence,
    Replaced,
    ReviewEvidence,
    RevokeDetail,
    SourceRange,
)
from tests.repository.builders import NOON, REFUSED

MENTIONED = Mentioned.of(["a", "b"])
READING = CanaryReading(first=False, exact=True, component=0.0, cosine=0.0, left_out=1)
EPOCH = EpochBegun(number=2, name="second")
UNREAD = SourceUnread(
    unread=1,
    unread_since=NOON,
    unread_such_as="line 7",
    unread_unnamed=0,
    unread_accepted=0,
    unread_superseded=0,
    unread_duplicates=0,
    left_out=0,
    left_out_such_as=None,
    bytes_without_line_end=3,
    bytes_since=NOON,
)
EXAMPLES: tuple[tuple[str, Detail], ...] = (
    (
        "ingest",
        IngestDetail(
            days=("2026-01-01",),
            days_total=1,
            records=3,
            again=True,
            seconds=0.5,
            epoch=EPOCH,
            canaries=READING,
        ),
    ),
    (
        "applied",
        AppliedDetail(entries=(1,), written=2, retained=MENTIONED, taken_over=(1,), left_out=1),
    ),
    (
        "snapshot",
        SnapshotDetail(
            began=NOON,
            equal=True,
            rows=2,
            left_out=1,
            changed=MENTIONED,
            added=MENTIONED,
            absent=MENTIONED,
            stale=MENTIONED,
            indeterminate=MENTIONED,
            reconfigured=MENTIONED,
            fit="fits",
            unaccepted=MENTIONED,
            change_token="17",
            assurance=Assurance.FILES,
            whole_at=NOON,
            source=UNREAD,
        ),
    ),
    (
        "restore",
        RestoreDetail(
            point="1-aaaaaaaa",
            route="load",
            physical="books@2",
            epoch=EPOCH,
            days_total=2,
            canaries=READING,
            follower="default/books@2",
            left_behind=LeftBehind(
                first=2,
                last=4,
                added=MENTIONED,
                changed=MENTIONED,
                removed=MENTIONED,
                reconfigured=MENTIONED,
                problem="cannot be read",
            ),
            unseen_since=3,
        ),
    ),
    ("begin", BeginDetail(follower="default/books@2", point="1-aaaaaaaa", route="load")),
    ("follow", FollowDetail(follower="default/books@2", position=4, written=1, records=3)),
    ("end", EndDetail(follower="default/books@2", reason="a test")),
    (
        "compact",
        CompactDetail(segments_before=3, segments_after=1, rows_before=9, rows_after=8),
    ),
    ("evidence", REFUSED),
    ("evidence", PreimageEvidence(documents=MENTIONED)),
    (
        "evidence",
        NativeEvidence(
            engine="lancedb 1",
            physical="books@1",
            version="7",
            snapshot=2,
            listing="books/evidence/native/w-1.json",
            files_total=1,
            size_bytes=9,
        ),
    ),
    (
        "evidence",
        ProofEvidence(number=2, sha256="0" * 64, position=3, checks=("equal",), run="r"),
    ),
    (
        "evidence",
        CanariesEvidence(
            canaries="books/canaries/m/w-0.json",
            model="m",
            component=0.5,
            cosine=0.1,
            reason="differs",
        ),
    ),
    (
        "evidence",
        AcceptedEvidence(
            listing="books/evidence/accepted-quarantine/w-2.json",
            lines=1,
            reason="a test",
            by="a@b",
        ),
    ),
    (
        "evidence",
        RecoveryEvidence(
            outcome="overridden",
            point="4-aaaaaaaa",
            physical="books@4-aaaaaaaa",
            store="local",
            report="books/evidence/recovery/w-3.json",
            seconds=1.5,
            overridden=Mentioned.of(["digests:content"]),
            entry=5,
        ),
    ),
)

RANGES = (EntryRange(first=1, last=4),)
WHY = {"reason": "a test", "by": "a@b"}
LATER: tuple[tuple[str, Detail], ...] = (
    (
        "exclude",
        ExcludeDetail(entries=RANGES, positions=(SourceRange(epoch=1, after=2, through=3),), **WHY),
    ),
    (
        "erase",
        EraseDetail(
            ledger="books/erased/w/0.json",
            documents=2,
            replaced=(Replaced(entries=RANGES[0], manifest="books/manifests/w/9.json"),),
            **WHY,
        ),
    ),
    ("expire", ExpireDetail(entries=RANGES, grace_until=NOON)),
    (
        "condemn",
        CondemnDetail(listing="books/evidence/condemned/w-0.json", objects_total=3, size_bytes=9),
    ),
    ("pin", PinDetail(name="audit", entries=RANGES, until=NOON, **WHY)),
    ("promote", PromoteDetail(repository_epoch=2, repository="r", head="0" * 64, **WHY)),
    ("revoke", RevokeDetail(entry=4, **WHY)),
    ("feature", FeatureDetail(adds=("erase",))),
    ("evidence", ReleaseEvidence(name="shop 4.2", by="a@b")),
    ("evidence", ReviewEvidence(of=("runbook",), by="a@b", note="seen")),
    ("evidence", BarrierEvidence(group="shop", barrier="b1", members={"books": "0" * 64})),
)


def example_detail(kind: str) -> Detail:
    """A detail that an entry of a kind may have."""
    return next(detail for name, detail in EXAMPLES if name == kind)
