"""A trial: a specification and a sample of records made in a scratch place of the same engine, read
back, compared part by part and bit by bit, and dropped.

Nothing but collections of trials is ever dropped in a scratch place: their names say so, and of
which collection, by whom and when.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.errors import DrError, InvalidRequest, Refused
from dr_pipelines.live.observe import within
from dr_pipelines.model.base import canonical_json
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.compatibility import Outcome
from dr_pipelines.model.fitness import (
    TRIAL,
    Fitness,
    Part,
    Trial,
)
from dr_pipelines.model.misfit import shortened
from dr_pipelines.model.record import store_schema
from dr_pipelines.planning.parts import compare_parts, namespace
from dr_pipelines.planning.way_back import taken_up
from dr_pipelines.proof.sampling import EdgeSample
from dr_pipelines.protocols import Definer, VectorReader, VectorStore
from dr_pipelines.repository import digest

TRIAL_NAME = re.compile(r"dr_trial_(?P<of>[0-9a-f]{8})@(?P<by>[0-9a-f]{8})-(?P<at>[0-9a-f]{8})")
"""Of which collection, by whom, and when, in seconds. It is short: an engine that cuts names cuts
those of indexes, which are made of it, and they do not come back under what they were called."""
ABANDONED = timedelta(days=1)
"""After which a trial of another machine is taken for one that was killed."""
EVERY = timedelta(days=7)
SHOWN = 5


@dataclass(frozen=True)
class Scratch:
    """Where a collection is tried, and how often when nothing changed. `opened` is None where there
    is no such place, and `why_not` says why. `machine` tells our own leftovers from those of
    others: whoever opens holds a lease, so that nobody else with it is in the middle of one."""

    place: str = ""
    opened: Callable[[], AbstractContextManager[VectorStore]] | None = None
    why_not: str = ""
    machine: str = "00000000"
    every: timedelta = EVERY


def tried(
    collection: str,
    spec: CollectionSpec,
    sample: EdgeSample,
    *,
    store: VectorReader,
    scratch: Scratch,
    before: Trial | None,
    now: datetime,
) -> tuple[Trial | None, str]:
    """The newest trial of this specification, these edges and this engine, and why there is none.

    It is made where there was none before, or where that is older than the interval. One that could
    not be made leaves the former one in force: what was found is not forgotten meanwhile.
    """
    of = sha256(canonical_json([_tried_of(spec), store.engine, sample.shape()])).hexdigest()
    valid = before if before is not None and before.of == of else None
    if valid is not None and now - valid.at < scratch.every:
        return valid, ""
    if scratch.opened is None:
        return valid, "" if valid else scratch.why_not
    try:
        with scratch.opened() as place:
            if namespace(place.engine) != namespace(store.engine):
                raise Refused(f"{scratch.place} is {place.engine}, not {store.engine}")
            findings = _made(collection, spec, sample.table(), place, scratch.machine, now)
    except DrError as error:
        return before, shortened(f"{scratch.place}: {error}")
    rows = sample.table().num_rows
    made = Trial(of=of, at=now, place=scratch.place, records=rows, findings=findings)
    return made, ""


def trial_due(fitness: Fitness, *, scratch: Scratch, now: datetime) -> bool:
    """Whether the interval is over, or the last one could not be made; what changed meanwhile is
    for a snapshot to say."""
    if scratch.opened is None:
        return False
    before = fitness.trial
    return before is None or bool(fitness.untried) or now - before.at >= scratch.every


def _tried_of(spec: CollectionSpec) -> object:
    plain = spec.model_copy(update={"name": "trial", "origin": None, "aliases": ()})
    return plain.model_dump(mode="json")


def _made(
    collection: str,
    spec: CollectionSpec,
    rows: pa.Table,
    store: VectorStore,
    machine: str,
    now: datetime,
) -> tuple[Part, ...]:
    mark = sha256(collection.encode()).hexdigest()[:8]
    name = f"dr_trial_{mark}@{machine}-{int(now.timestamp()):08x}"
    _clear(store, mark, machine, now)
    engine = namespace(store.engine)
    fitted = store.fit(taken_up(spec, engine=engine)).spec
    wanted = fitted.physical(name, origin=f"trial of {collection}").model_copy(
        update={"aliases": ()}
    )
    _require_no_code(store, wanted)
    with _dropped(store, name):
        return tuple(_findings(wanted, rows, store))


def _require_no_code(store: VectorStore, wanted: CollectionSpec) -> None:
    """Code of others is run with somebody's consent alone, also in a scratch place."""
    if isinstance(store, Definer) and (code := store.definitions(wanted, with_roles=False).code):
        raise Refused(f"a trial runs no code of others: {code[0]}")


@contextmanager
def _dropped(store: VectorStore, name: str) -> Iterator[None]:
    try:
        yield
    finally:
        if name in store.collections():
            store.drop(name)


def _clear(store: VectorStore, mark: str, machine: str, now: datetime) -> None:
    """Drop what killed trials of this collection left: our own, and old ones of others."""
    for name in store.collections():
        trial = TRIAL_NAME.fullmatch(name)
        if trial is None or trial["of"] != mark:
            continue
        began = datetime.fromtimestamp(int(trial["at"], 16), UTC)
        if trial["by"] == machine or now - began >= ABANDONED:
            store.drop(name)


def _findings(wanted: CollectionSpec, rows: pa.Table, store: VectorStore) -> Iterator[Part]:
    try:
        store.create(wanted)
    except (InvalidRequest, Refused) as error:
        yield Part(
            part=TRIAL,
            outcome=Outcome.REFUSED,
            consequence=shortened(f"it is not created: {error}"),
        )
        return
    try:
        store.write(wanted.name, rows)
    except InvalidRequest as error:
        yield Part(
            part=f"{TRIAL}.records", outcome=Outcome.REFUSED, consequence=shortened(str(error))
        )
        return
    try:
        store.build_index(wanted.name)
    except InvalidRequest as error:
        yield Part(
            part=f"{TRIAL}.index", outcome=Outcome.REFUSED, consequence=shortened(str(error))
        )
        return
    described = store.describe(wanted.name)
    made = store.before_rights(wanted) if isinstance(store, Definer) else wanted
    if made != wanted:
        said = "rights and triggers are not tried: they are given where a collection is restored"
        yield Part(part=f"{TRIAL}.rights", outcome=Outcome.APPROXIMATED, consequence=said)
    for finding in compare_parts(made, described, engine=namespace(store.engine)):
        if not finding.unreported:
            said = f"not as it was when it was tried: {finding.consequence}"
            yield Part(part=finding.part, outcome=Outcome.LOST, consequence=said)
    if described.same_contract(wanted):
        yield from _record_findings(wanted, rows, store)
    else:
        yield Part(part=TRIAL, outcome=Outcome.LOST, consequence="it has other columns than it had")


def _record_findings(wanted: CollectionSpec, rows: pa.Table, store: VectorStore) -> Iterator[Part]:
    schema = store_schema(wanted)
    found = pa.Table.from_batches(list(store.scan(wanted.name)), schema).combine_chunks()
    if found["id"].to_pylist() != rows["id"].to_pylist():
        said = f"{rows.num_rows} records were written, {found.num_rows} were read, or others"
        yield Part(part=f"{TRIAL}.records", outcome=Outcome.LOST, consequence=said)
        return
    whole = rows.combine_chunks()
    same = pc.equal(digest.content_digests(found, wanted), digest.content_digests(whole, wanted))
    yield from _differing("text and fields", whole, pc.invert(same))
    near = within(found, whole, wanted, tolerance=store.vector_tolerance)
    if store.vector_tolerance == 0:
        ours, theirs = (digest.vector_digests(table, wanted) for table in (found, whole))
        yield from _differing("vectors", whole, pc.invert(pc.equal(ours, theirs)))
    else:
        yield from _differing("vectors", whole, pa.array(~near))


def _differing(what: str, rows: pa.Table, wrong: pa.Array) -> Iterator[Part]:
    ids = rows["id"].filter(wrong).to_pylist()
    if ids:
        said = f"{what} of {len(ids)} records do not come back as they were: {ids[:SHOWN]}"
        yield Part(part=f"{TRIAL}.records", outcome=Outcome.LOST, consequence=said)
