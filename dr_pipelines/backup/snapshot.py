"""Backup: prove what the log says of the live store, record what differs, and say so."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import pyarrow as pa

from dr_pipelines.backup.commit import Comparison
from dr_pipelines.backup.hashed import Hashing
from dr_pipelines.backup.inspect import Inspection, inspect
from dr_pipelines.backup.result import USUAL, Snapshot, Terms
from dr_pipelines.backup.served import first_manifest, live_spec, parts_of
from dr_pipelines.errors import InvalidRequest, Refused
from dr_pipelines.live.keeping import kept_open
from dr_pipelines.live.live import Live
from dr_pipelines.model.assurance import Assurance
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.fitness import Fitness, Part
from dr_pipelines.model.misfit import NAMED, Misfit
from dr_pipelines.model.recovery_point import Manifest
from dr_pipelines.proof.points import newest_whole_at
from dr_pipelines.proof.trial import NOWHERE, Scratch, tried
from dr_pipelines.protocols import VectorReader
from dr_pipelines.repository.history import History


def backup(
    history: History,
    *,
    live: Live,
    terms: Terms = USUAL,
    scratch: Scratch = NOWHERE,
    hashing: Hashing | None = None,
) -> Snapshot:
    """Finish what is pending, take a snapshot, and repair what a displaced writer left behind.

    Raises `NotFound` when the collection is gone from the store, `Refused` on mass absence or
    another schema; nothing is committed then.
    """
    live.follow(history)
    snapshot = take_snapshot(
        history, store=live.store, terms=terms, scratch=scratch, hashing=hashing
    )
    if snapshot.findings.stale:
        stale = pa.array(snapshot.findings.stale, pa.string())
        with live.leased():
            live.rewrite(history, stale)
    return snapshot


def take_snapshot(
    history: History,
    *,
    store: VectorReader,
    terms: Terms = USUAL,
    scratch: Scratch = NOWHERE,
    hashing: Hashing | None = None,
) -> Snapshot:
    """Compare every record of the live store with the log and commit what differs.

    The position is read before the scan. A document that an entry touched since, or that is not
    applied yet, is left out and listed. A document is recorded whole, with its version from the
    log. What is unread by the `terms` is not in here, and the entry says so.

    What would not come back into this engine is found on the way, tried in `scratch` where a trial
    is due, and is part of the snapshot. By `hashing` files may stand for the records in them.
    `InvalidRequest` where the terms accept a loss that there is not.
    """
    collection = history.collection
    began = history.repository.clock()  # first: an edit made during the scan may not have been seen
    tip = history.tip()
    base = tip.manifest or first_manifest(collection, terms.adopt, store)
    with kept_open(store, base.current.physical):
        live = live_spec(base, store, history)
        change_token = store.change_token(
            base.current.physical
        )  # before the scan: what comes later is not in it
        parts = parts_of(base.current.physical, store)
        inspection = inspect(
            base,
            store=store,
            history=history,
            live=live,
            accept_absence=terms.accept_absence,
            least=terms.least,
            hashing=hashing,
        )
    if tip.manifest is None and inspection.observed.rows == 0:
        raise Refused(
            f"{base.current.physical!r} is empty and nothing is known of it: there is nothing to "
            "back up yet"
        )
    fitness = _fitness(base, live, inspection, parts, store=store, scratch=scratch, now=began)
    _require_losses(collection, terms.accepting.parts, fitness)
    compared = Comparison(
        tip=tip,
        engine=store.engine,
        began=began,
        change_token=change_token,
        unread=terms.unread,
        whole_at=_whole_at(inspection, history),
        base=base,
        live=live,
        inspection=inspection,
        fitness=fitness,
        accepting=terms.accepting,
    )
    committed = history.append("snapshot", compared.at)
    head, snapshot = committed.head, committed.entry.snapshot
    return replace(snapshot, number=head.number, sha256=head.sha256)


def _whole_at(inspection: Inspection, history: History) -> datetime | None:
    """When every value was read before; None where this scan has."""
    whole = inspection.assurance is Assurance.EVERY_VALUE
    return None if whole else newest_whole_at(history)


def _fitness(
    base: Manifest,
    live: CollectionSpec,
    inspection: Inspection,
    parts: tuple[Part, ...],
    *,
    store: VectorReader,
    scratch: Scratch,
    now: datetime,
) -> Fitness:
    """The forecast for a restore of the snapshot, after a trial where one is due."""
    trial, untried = tried(
        base.collection,
        live,
        inspection.sample,
        store=store,
        scratch=scratch,
        before=base.fitness.trial if base.fitness else None,
        now=now,
    )
    return Fitness(
        engine=store.engine,
        parts=parts,
        misfits=inspection.misfits.total + inspection.observed.omitted,
        named=_named(inspection),
        together=inspection.misfits.together(_list_of(inspection)),
        tolerance=store.vector_tolerance,
        trial=trial,
        untried=untried,
    )


def _named(inspection: Inspection) -> tuple[Misfit, ...]:
    """Records that the engine would not take: those it refused already, and those it has."""
    before = inspection.left_out.named if inspection.left_out else ()
    return (*before, *inspection.misfits.named)[:NAMED]


def _list_of(inspection: Inspection) -> str:
    """The list of the records that were refused already."""
    return inspection.left_out.records.sha256 if inspection.left_out else ""


def _require_losses(collection: str, parts: Sequence[str], fitness: Fitness) -> None:
    """Nobody accepts by a slip of the pen what is not lost."""
    there = [loss.part for loss in fitness.losses()]
    for part in parts:
        if part not in there:
            raise InvalidRequest(
                f"{collection}: {part!r} is nothing that would be lost; there are: "
                f"{', '.join(there) or 'none'}"
            )
