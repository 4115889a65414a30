"""Reserved: details of entries that later versions write, as far as they are fixed. This version
reads them, writes none, and keeps a log read-only that ends with one.

What does not fit here is read as a detail of an unknown kind: it is of a version that fixed it
otherwise.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field as Constraint
from pydantic import ValidationError

from dr_pipelines.model.base import Count, Key, Sha256, Time
from dr_pipelines.model.details import Detail, DetailPart, EvidenceDetail, Reason, detail_type


class EntryRange(DetailPart):
    """Log numbers `first` to `last`."""

    first: Annotated[int, Constraint(ge=1)]
    last: Annotated[int, Constraint(ge=1)]


class SourceRange(DetailPart):
    """Positions of the source in (after, through] of one epoch."""

    epoch: Count
    after: Count
    through: Count


class Replaced(DetailPart):
    """From now on the points of some entries consist of the manifest of this key: one of the body's
    `objects`, with the encoding `manifest`."""

    entries: EntryRange
    manifest: Key


class ExcludeDetail(Detail):
    """Entries, or source positions, that no longer count."""

    entries: tuple[EntryRange, ...] = ()
    positions: tuple[SourceRange, ...] = ()
    reason: Reason
    by: str


class EraseDetail(Detail):
    """Documents are erased for ever, on every timeline. `ledger` is the key of the object that
    lists them by the hash of their name; `replaced` are the points that held them."""

    ledger: Key
    documents: Count
    replaced: tuple[Replaced, ...] = ()
    reason: Reason
    by: str


class ExpireDetail(Detail):
    """Entries cease to be recovery points, and may be condemned after `grace_until`."""

    entries: tuple[EntryRange, ...]
    grace_until: Time


class CondemnDetail(Detail):
    """Objects may be deleted: `listing` is the key of the object that lists them; being listed
    keeps none of them."""

    listing: Key
    objects_total: Count
    size_bytes: Count


class PinDetail(Detail):
    """A hold: entries stay recovery points until then, or until it is revoked."""

    name: str
    entries: tuple[EntryRange, ...]
    until: Time | None = None
    reason: Reason
    by: str


class PromoteDetail(Detail):
    """A copy becomes the repository that is written to, under a new epoch of the repository;
    `head` is the hash of the entry that it had last."""

    repository_epoch: Count
    repository: str
    head: Sha256
    reason: Reason
    by: str


class RevokeDetail(Detail):
    """An earlier entry that decided something, such as a hold, ceases to count."""

    entry: Annotated[int, Constraint(ge=1)]
    reason: Reason
    by: str


class FeatureDetail(Detail):
    """From now on a writer must understand these."""

    adds: tuple[str, ...]


class ReleaseEvidence(EvidenceDetail):
    """The application that uses the collection was released."""

    kind: Literal["release"] = "release"
    name: str
    by: str


class ReviewEvidence(EvidenceDetail):
    """Somebody looked at the recovery plan."""

    kind: Literal["review"] = "review"
    of: tuple[str, ...]
    by: str
    note: Reason = ""


class BarrierEvidence(EvidenceDetail):
    """Every collection of a group has reached the barrier: `members` are entries by collection."""

    kind: Literal["barrier"] = "barrier"
    group: str
    barrier: str
    members: dict[str, Sha256]


RESERVED: Mapping[str, type[Detail]] = {
    "exclude": ExcludeDetail,
    "erase": EraseDetail,
    "expire": ExpireDetail,
    "condemn": CondemnDetail,
    "pin": PinDetail,
    "promote": PromoteDetail,
    "revoke": RevokeDetail,
    "feature": FeatureDetail,
}
"""Of every kind of entry that is reserved."""

RESERVED_EVIDENCE: Mapping[str, type[EvidenceDetail]] = {
    "release": ReleaseEvidence,
    "review": ReviewEvidence,
    "barrier": BarrierEvidence,
}
"""Of every kind of evidence that is reserved."""


def parse_detail(kind: str, value: Mapping[str, object]) -> Detail:
    """The detail of an entry of a kind; raises `ValidationError` where this version writes such
    entries, and none like this."""
    usual = detail_type(kind, value)
    reserved = RESERVED_EVIDENCE if kind == "evidence" else RESERVED
    later = reserved.get(str(value.get("kind")) if kind == "evidence" else kind)
    if later is not None:
        try:
            return later.model_validate(value)
        except ValidationError:
            return usual.model_validate(value)
    return usual.model_validate(value)
