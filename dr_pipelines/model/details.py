"""Details of log entries, by kind. Keys unknown to this version are kept when an entry is read,
and refused when one is written."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict
from pydantic import Field as Constraint

from dr_pipelines.model.assurance import Assurance
from dr_pipelines.model.base import Count, Day, Key, Sha256, Stored, Time

REASON_CHARACTERS = 4_000
MENTIONED = 10
MENTIONED_CHARACTERS = 200

Kind = Literal[
    "ingest", "applied", "snapshot", "restore", "compact", "evidence", "begin", "follow", "end"
]
"""Kinds of entries that this version writes."""
KINDS: tuple[Kind, ...] = get_args(Kind)
BESIDE: frozenset[str] = frozenset({"evidence", "begin", "follow", "end"})
"""Kinds that leave the state, and what is served, as they are."""
KNOWN_FEATURES: frozenset[str] = frozenset()
"""Features that this version understands."""

Reason = Annotated[str, Constraint(max_length=REASON_CHARACTERS)]


def short_reason(text: str) -> str:
    """A reason that fits into an entry; one that was cut ends with `…`."""
    return text if len(text) <= REASON_CHARACTERS else f"{text[: REASON_CHARACTERS - 1]}…"


class DetailPart(Stored):
    """A part of a detail; keys that are not known stay with it."""

    model_config = ConfigDict(frozen=True, extra="allow")


class Detail(DetailPart):
    """The detail of an entry; of an unknown kind it has nothing but unknown keys."""


class Mentioned(DetailPart):
    """The first few names of something, shortened, and how many there are."""

    names: tuple[str, ...] = ()
    total: Count = 0

    @classmethod
    def of(cls, names: Sequence[str]) -> Self:
        """A mention of these, short enough for an entry of limited size."""
        short = (name[:MENTIONED_CHARACTERS] for name in names[:MENTIONED])
        return cls(names=tuple(short), total=len(names))


NONE_MENTIONED = Mentioned()


class CanaryReading(DetailPart):
    """How far a model was from its canaries in the process that wrote, and how many of them it
    could not read."""

    first: bool
    exact: bool
    component: float
    cosine: float
    left_out: Count = 0


class EpochBegun(DetailPart):
    """A new epoch of the source, accepted by name."""

    number: Count
    name: str


class IngestDetail(Detail):
    """Days of the source were read and embedded. `days` are those brought one by one; an epoch
    brings all there are, and says only how many. `seconds` is None where some were embedded by
    another process."""

    days: tuple[Day, ...] = ()
    days_total: Count
    records: Count
    again: bool = False
    seconds: float | None = None
    epoch: EpochBegun | None = None
    canaries: CanaryReading | None = None


class AppliedDetail(Detail):
    """The live store was brought to these entries; direct edits of the documents `retained` were
    left alone. The body's `objects` are segments of what was
    overwritten."""

    entries: tuple[Count, ...]
    written: Count
    retained: Mentioned = NONE_MENTIONED
    taken_over: tuple[Count, ...] = ()
    left_out: Count = 0


class SourceUnread(DetailPart):
    """Unread content of the source at the time of a snapshot."""

    unread: Count
    unread_since: Time | None
    unread_such_as: str | None
    unread_unnamed: Count
    unread_accepted: Count
    unread_superseded: Count
    unread_duplicates: Count
    left_out: Count
    left_out_such_as: str | None
    bytes_without_line_end: Count
    bytes_since: Time | None


class SnapshotDetail(Detail):
    """The live store was compared with the log. `began` is when the scan began: what it proves is
    not younger. `rows` were read; `left_out` records of the state are not in the store and not
    expected there. `change_token` is the engine's, from before the scan. `assurance` says on which
    grounds they are equal; `whole_at` is when the newest scan began that read every value."""

    began: Time
    equal: bool
    rows: Count
    left_out: Count
    changed: Mentioned
    added: Mentioned
    absent: Mentioned
    stale: Mentioned
    indeterminate: Mentioned
    reconfigured: Mentioned
    fit: str
    unaccepted: Mentioned
    change_token: str | None
    assurance: Assurance
    whole_at: Time
    source: SourceUnread | None = None


class LeftBehind(DetailPart):
    """Differences of the line that was served until now, at the entry `last`, from the recovery
    point that is served from now on: documents that only the former has, that it has otherwise, and
    that it has no more; parts of the configuration. `problem` is why they could not be compared."""

    first: Count
    last: Count
    added: Mentioned = NONE_MENTIONED
    changed: Mentioned = NONE_MENTIONED
    removed: Mentioned = NONE_MENTIONED
    reconfigured: Mentioned = NONE_MENTIONED
    problem: Reason | None = None


class RestoreDetail(Detail):
    """A timeline begins in the collection `physical`: restored from the recovery point `point` on a
    route, or, on the route `schema`, built for a changed schema from `days_total` days. `follower`
    is the candidate that it was until now; `left_behind` is what the former line has beyond the
    point. None of that, and nothing else, says what was changed in the former store after the
    snapshot `unseen_since` (0: there was none)."""

    route: str
    physical: str
    point: str | None = None
    follower: str | None = None
    left_behind: LeftBehind | None = None
    unseen_since: Count | None = None
    epoch: EpochBegun | None = None
    days_total: Count | None = None
    canaries: CanaryReading | None = None


class CompactDetail(Detail):
    """The same state in fewer segments."""

    segments_before: Count
    segments_after: Count
    rows_before: Count
    rows_after: Count


class BeginDetail(Detail):
    """A store begins to follow the log: a candidate that catches up before a switch. `follower` is
    its name in the body's `followers`. Begun again, it goes on in the same place, and who began it
    before does not."""

    follower: str
    point: str | None = None
    route: str | None = None


class FollowDetail(Detail):
    """A follower was brought to the entry `position` of its timeline, and read back: `records` were
    equal, after `written` documents were written."""

    follower: str
    position: Count
    written: Count
    records: Count


class EndDetail(Detail):
    """A follower was closed: no run goes on with it, and none of its beginnings is served."""

    follower: str
    reason: Reason


class EvidenceDetail(Detail):
    """Something was proven or decided; the state is as before. A `kind` of evidence that is not
    known says nothing to who reads it, and hinders nothing."""

    kind: str


class PreimageEvidence(EvidenceDetail):
    """Records that are about to be overwritten in the live store; the body's `objects` are segments
    that hold them."""

    kind: Literal["preimage"] = "preimage"
    documents: Mentioned


class NativeEvidence(EvidenceDetail):
    """An engine's own files of the collection `physical`, as the snapshot `snapshot` has proven
    it. `listing` is the key of the object that lists them; it and the parts of the files are the
    body's `objects`."""

    kind: Literal["native"] = "native"
    engine: str
    physical: str
    version: str
    snapshot: Count
    listing: Key
    files_total: Count
    size_bytes: Count


class ProofEvidence(EvidenceDetail):
    """The snapshot `number` passed these checks; `sha256` is of its entry."""

    kind: Literal["recovery-point"] = "recovery-point"
    number: Count
    sha256: Sha256
    position: Count
    checks: tuple[str, ...]
    run: str = ""


class RefusalEvidence(EvidenceDetail):
    """An attempt to embed was refused."""

    kind: Literal["refusal"] = "refusal"
    reason: Reason


class CanariesEvidence(EvidenceDetail):
    """A model did not make its canaries again; `canaries` is the key of the object they are in."""

    kind: Literal["canaries"] = "canaries"
    canaries: Key
    model: str
    component: float
    cosine: float
    reason: Reason


class AcceptedEvidence(EvidenceDetail):
    """Lines of the source were let go; the object `listing` lists every one so far."""

    kind: Literal["accepted-quarantine"] = "accepted-quarantine"
    listing: Key
    lines: Count
    reason: Reason
    by: str


class RecoveryEvidence(EvidenceDetail):
    """A recovery of the point `point` into `physical` ended; the object `report` says everything of
    it. `entry` is the log entry since which it is served, `overridden` are findings that somebody
    went on in spite of."""

    kind: Literal["recovery"] = "recovery"
    outcome: str
    point: str
    physical: str
    store: str
    report: Key
    seconds: float
    overridden: Mentioned = NONE_MENTIONED
    entry: Count | None = None


DETAILS: Mapping[str, type[Detail]] = {
    "ingest": IngestDetail,
    "applied": AppliedDetail,
    "snapshot": SnapshotDetail,
    "restore": RestoreDetail,
    "compact": CompactDetail,
    "evidence": EvidenceDetail,
    "begin": BeginDetail,
    "follow": FollowDetail,
    "end": EndDetail,
}
"""Of every kind of entry that this version writes."""

EVIDENCE: Mapping[str, type[EvidenceDetail]] = {
    "preimage": PreimageEvidence,
    "native": NativeEvidence,
    "recovery-point": ProofEvidence,
    "refusal": RefusalEvidence,
    "canaries": CanariesEvidence,
    "accepted-quarantine": AcceptedEvidence,
    "recovery": RecoveryEvidence,
}
"""Of every kind of evidence that this version writes."""


def writing_problem(kind: str, detail: Detail) -> str | None:
    """Why this version does not write a detail into an entry of a kind; None where it does."""
    if kind not in DETAILS:
        return f"entries of kind {kind!r} are not written by this version"
    expected = detail_type(
        kind, {"kind": detail.kind} if isinstance(detail, EvidenceDetail) else {}
    )
    if type(detail) is not expected or expected is EvidenceDetail:
        return f"{type(detail).__name__} is no detail of kind {kind!r}"
    unknown = sorted(_unknown_keys(detail))
    return f"unknown keys {unknown}" if unknown else None


def detail_type(kind: str, value: object) -> type[Detail]:
    """The type of the detail of an entry that this version writes; `Detail` of any other."""
    if kind == "evidence" and isinstance(value, Mapping):
        return EVIDENCE.get(str(value.get("kind")), EvidenceDetail)
    return DETAILS.get(kind, Detail)


def _unknown_keys(value: Any) -> Iterator[str]:
    if isinstance(value, BaseModel):
        yield from value.model_extra or ()
        for name in type(value).model_fields:
            yield from _unknown_keys(getattr(value, name))
    elif isinstance(value, tuple):
        for item in value:
            yield from _unknown_keys(item)
