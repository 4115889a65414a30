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


NOWHERE = Scratch(why_not="no scratch place was given")
"""Of a caller that has none: nothing is tried."""


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
    """True if the interval has passed or the last trial could not be made; changes since then are
    for a snapshot to judge.
    """
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
    target = fitted.physical(name, origin=f"trial of {collection}").model_copy(
        update={"aliases": ()}
    )
    _require_no_code(store, target)
    with _dropped(store, name):
        return tuple(_findings(target, rows, store))


def _require_no_code(store: VectorStore, spec: CollectionSpec) -> None:
    """Code of others is run with somebody's consent alone, also in a scratch place."""
    if isinstance(store, Definer) and (code := store.definitions(spec, with_roles=False).code):
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


def _findings(spec: CollectionSpec, rows: pa.Table, store: VectorStore) -> Iterator[Part]:
    try:
        store.create(spec)
    except (InvalidRequest, Refused) as error:
        yield Part(
            part=TRIAL,
            outcome=Outcome.REFUSED,
            consequence=shortened(f"it is not created: {error}"),
        )
        return
    try:
        store.write(spec.name, rows)
    except InvalidRequest as error:
        yield Part(
            part=f"{TRIAL}.records", outcome=Outcome.REFUSED, consequence=shortened(str(error))
        )
        return
    try:
        store.build_index(spec.name)
    except InvalidRequest as error:
        yield Part(
            part=f"{TRIAL}.index", outcome=Outcome.REFUSED, consequence=shortened(str(error))
        )
        return
    described = store.describe(spec.name)
    made = store.before_rights(spec) if isinstance(store, Definer) else spec
    if made != spec:
        problem = "rights and triggers are not tried: they are given where a collection is restored"
        yield Part(part=f"{TRIAL}.rights", outcome=Outcome.APPROXIMATED, consequence=problem)
    for finding in compare_parts(made, described, engine=namespace(store.engine)):
        if not finding.unreported:
            problem = f"not as it was when it was tried: {finding.consequence}"
            yield Part(part=finding.part, outcome=Outcome.LOST, consequence=problem)
    if described.same_contract(spec):
        yield from _record_findings(spec, rows, store)
    else:
        yield Part(part=TRIAL, outcome=Outcome.LOST, consequence="it has other columns than it had")


def _record_findings(spec: CollectionSpec, rows: pa.Table, store: VectorStore) -> Iterator[Part]:
    schema = store_schema(spec)
    returned = pa.Table.from_batches(list(store.scan(spec.name)), schema).combine_chunks()
    if returned["id"].to_pylist() != rows["id"].to_pylist():
        problem = f"{rows.num_rows} records were written, {returned.num_rows} were read, or others"
        yield Part(part=f"{TRIAL}.records", outcome=Outcome.LOST, consequence=problem)
        return
    whole = rows.combine_chunks()
    same = pc.equal(digest.content_digests(returned, spec), digest.content_digests(whole, spec))
    yield from _differing("text and fields", whole, pc.invert(same))
    near = within(returned, whole, spec, tolerance=store.vector_tolerance)
    if store.vector_tolerance == 0:
        ours, theirs = (digest.vector_digests(table, spec) for table in (returned, whole))
        yield from _differing("vectors", whole, pc.invert(pc.equal(ours, theirs)))
    else:
        yield from _differing("vectors", whole, pa.array(~near))


def _differing(what: str, rows: pa.Table, wrong: pa.Array) -> Iterator[Part]:
    ids = rows["id"].filter(wrong).to_pylist()
    if ids:
        problem = f"{what} of {len(ids)} records do not come back as they were: {ids[:SHOWN]}"
        yield Part(part=f"{TRIAL}.records", outcome=Outcome.LOST, consequence=problem)
