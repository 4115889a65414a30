"""The restored collection held against the recovery point: every record, and every part of its
specification. Differences are findings."""

import time
from collections.abc import Iterator

from dr_pipelines.live.left_out import Left
from dr_pipelines.live.observe import observe_store
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.display import displayed_line
from dr_pipelines.model.parts import PartFinding, shown
from dr_pipelines.model.recovery import Plan
from dr_pipelines.model.recovery_point import Manifest
from dr_pipelines.model.verdict import Check, Finding
from dr_pipelines.planning.parts import compare_parts, contract_parts, namespace
from dr_pipelines.protocols import VectorStore
from dr_pipelines.recovery.phases import Stopwatch
from dr_pipelines.repository.observation import Observed
from dr_pipelines.repository.state import State
from dr_pipelines.repository.unequal import Kind, Unequal, unequal_records

IN_WORDS: dict[Kind, str] = {
    "missing": "are not there",
    "unexpected": "are there, and not in the recovery point",
    "content": "have another text, or other fields",
    "vectors": "have another vector",
}
NAMED = 10
"""Parts that are not reported, in a check; the answer of the restore has all."""
COLUMNS = "columns"
"""The place of the finding that the collection has other columns than were asked for."""


def records_check(
    state: State,
    manifest: Manifest,
    plan: Plan,
    *,
    store: VectorStore,
    left: Left,
    watch: Stopwatch,
) -> tuple[Observed, Check]:
    """Scan what was restored and compare it with the fold, record by record, and with the counts
    and digests that a manifest says. What was left out must not be there, and counts as what the
    fold has of it: all else is equal by itself.

    Raises:
        TimedOut: there is no time left.
        InvalidRequest: two records have one id, so that neither can be compared.
    """
    began = time.monotonic()
    scan = watch.watched(store.scan(plan.physical, ordered=False))
    observation = observe_store(state, scan, store=store, physical=plan.physical)
    observation.leave_out(left.table)
    observed = observation.observed
    expected = manifest.counts.records - observed.omitted
    check = Check(
        name="digests",
        looked_at=observed.rows,
        total=expected,
        least=min(1, expected),
        seconds=time.monotonic() - began,
        findings=tuple(_of_records(state, observed, manifest, physical=plan.physical)),
    )
    return observed, check


def _of_records(
    state: State, observed: Observed, manifest: Manifest, *, physical: str
) -> Iterator[Finding]:
    differences = list(unequal_records(state))
    for one in differences:
        yield Finding(check="digests", place=one.kind, message=_difference(one))
    if not differences and not observed.agrees_with(manifest.digests):
        problem = f"the digests of {physical!r} are not those of the recovery point"
        yield Finding(check="digests", place="sums", message=problem)
    present = observed.rows + observed.omitted
    if present != manifest.counts.records:
        problem = f"{observed.rows:,} records, not {manifest.counts.records - observed.omitted:,}"
        yield Finding(check="digests", place="count", message=problem)


def _difference(one: Unequal) -> str:
    names = ", ".join(displayed_line(name, limit=80) for name in one.such_as)
    return (
        f"{one.records:,} records of {one.documents:,} documents {IN_WORDS[one.kind]}: {names}"
        + (", …" if one.records > len(one.such_as) else "")
    )


def parts_check(
    expected: CollectionSpec, described: CollectionSpec, *, engine: str, collection: str
) -> Check:
    """Every part of a specification against what the store reports of it."""
    parts = compare_parts(expected, described, engine=namespace(engine))
    findings = [_of_part(part, collection) for part in parts if not part.unreported]
    if not described.same_contract(expected):
        problem = "the collection has other columns than were asked for"
        findings.insert(0, Finding(check="parts", place=COLUMNS, message=problem))
    silent = sorted(part.part for part in parts if part.unreported)
    more = f" and {len(silent) - NAMED} more" if len(silent) > NAMED else ""
    unseen = f"not reported by the engine: {', '.join(silent[:NAMED])}{more}"
    return Check(
        name="parts",
        looked_at=len(contract_parts(described)),
        findings=tuple(findings),
        limits=(displayed_line(unseen),) if silent else (),
    )


def _of_part(part: PartFinding, collection: str) -> Finding:
    message = (
        f"was {shown(part.expected, collection=collection)}, is "
        f"{shown(part.found, collection=collection)}: {part.consequence}"
    )
    return Finding(check="parts", place=part.part, gate="warns", message=message)


def aliases_check(plan: Plan, store: VectorStore) -> Check:
    """The names that the collection is asked for by lead to what was restored; another alias that
    somebody took meanwhile is theirs, which is a warning."""
    aliases, names = store.aliases(), [plan.collection, *plan.spec.aliases]
    findings = [
        Finding(
            check="aliases",
            place=name,
            gate="refuses" if name == plan.collection else "warns",
            message=f"it stands for {aliases.get(name) or 'nothing'}, not for {plan.physical}",
        )
        for name in names
        if name != plan.physical and aliases.get(name) != plan.physical
    ]
    return Check(name="aliases", looked_at=len(names), findings=tuple(findings))
