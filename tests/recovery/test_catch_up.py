"""A recovery of the newest point serves what was logged while it built; any other lists it."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from dr_pipelines.blobs.memory import MemoryBlobStore
from dr_pipelines.errors import Conflict, Damaged, InvalidRequest, NotFound, Refused, TimelineClosed
from dr_pipelines.model.details import BeginDetail, FollowDetail, LeftBehind, RestoreDetail
from dr_pipelines.model.query import Query
from dr_pipelines.model.recovery import Recovery, Route
from dr_pipelines.model.recovery_point import Follower
from dr_pipelines.monitoring.stores import known_collection, stored
from dr_pipelines.planning.stored import Part
from dr_pipelines.protocols import VectorStore
from dr_pipelines.recovery import catch_up
from dr_pipelines.recovery.candidate import begin, close
from dr_pipelines.recovery.left_behind import unseen_since
from dr_pipelines.recovery.page import page
from dr_pipelines.recovery.plan import plan_recovery
from dr_pipelines.recovery.run import recover, run_recovery
from dr_pipelines.repository.recovery_reports import read_report
from dr_pipelines.testing.blob_faults import Recording
from dr_pipelines.testing.memory_store import MemoryVectorStore
from dr_pipelines.testing.memory_witness import MemoryWitness
from dr_pipelines.testing.store_faults import RecordingStore
from dr_pipelines.testing.world import (
    START,
    STORE_NAME,
    ListedSource,
    OneAtATime,
    Process,
    World,
    table_of,
)
from dr_pipelines.upkeep.drop import drop
from tests.campaigns.results import CAMPAIGN
from tests.engines import ENGINES, OpenStore

Work = Callable[[], object]
LAST_LOOK = "dr_pipelines.recovery.switch.unseen_since"
"""What a switch calls last before it appends."""


@dataclass
class Place:
    """A collection of two days, and things that happen in the middle of a recovery of it."""

    source: ListedSource = field(default_factory=ListedSource)
    store: VectorStore = field(default_factory=MemoryVectorStore)
    blobs: MemoryBlobStore = field(default_factory=MemoryBlobStore)
    day: int = 0

    def __post_init__(self) -> None:
        ids = iter(f"{n:032x}" for n in range(100_000))
        self.world = World(self.source, self.blobs, self.store, MemoryWitness(), lambda: next(ids))
        self.say(a="first", b="second")
        self.say(c="third", b=None)

    def say(self, **texts: str | None) -> None:
        """A day of the source, ingested; None is a deletion."""
        at = START + timedelta(days=self.day)
        self.day += 1
        for document, text in texts.items():
            if text is None:
                self.source.delete(document, at=at)
            else:
                self.source.upsert(document, text, at=at)
        self.process.ingest()  # where the lease is taken, it is applied later

    def edit(self, document: str, text: str) -> None:
        """Change a document in the store by hand."""
        served = self.store.aliases()["notes"]
        (row,) = next(iter(self.store.scan(served, documents=[document]))).to_pylist()
        changed = tuple({**row, "text": text}.values())
        self.store.write(served, table_of((changed,)), replaces=[document])

    @property
    def process(self) -> Process:
        return self.world.process()

    @property
    def number(self) -> int:
        return self.process.history.head().number

    @property
    def followers(self) -> dict[str, Follower]:
        return dict(self.process.history.head().followers)

    def during(self, *work: Work) -> Process:
        """A process in which each of these is done once, before the index of what it builds is
        made."""
        waiting = list(work)

        def hook(call: str, name: str, moment: str, number: int) -> None:
            if (call, moment) == ("build_index", "before") and waiting:
                waiting.pop(0)()

        return self.world.process(store=RecordingStore(self.store, hook))

    def kinds(self, after: int) -> list[str]:
        """Kinds of entries, but for the report that each recovery leaves."""
        log = self.process.history.log
        return [entry.kind for entry, _ in log.entries(after + 1) if entry.kind != "evidence"]

    def drop(self, name: str) -> object:
        return drop(
            name,
            store=self.store,
            store_name=STORE_NAME,
            collections=lambda: [known_collection(self.process.history, store=STORE_NAME)],
            repository=self.process.repository,
            lease=OneAtATime(),  # of another machine
        )


@pytest.fixture
def place() -> Place:
    return Place()


def restored(process: Process, at: str = "latest", **more: Any) -> Recovery:
    request = process.request(at, **{"switch": True, **more})
    return recover(request, process.resources())


def detail_of(place: Place, entry: int | None) -> RestoreDetail:
    assert entry is not None
    detail = place.process.history.log.read(entry)[0].body.detail
    assert isinstance(detail, RestoreDetail)
    return detail


# Caught up


def test_what_is_ingested_while_a_recovery_builds_is_served_by_it(place: Place) -> None:
    before, former = place.number, place.store.aliases()["notes"]

    def meanwhile() -> None:
        place.say(d="fourth", a="changed", c=None)
        assert "d" in place.world.served()  # which goes on

    done = restored(place.during(meanwhile))
    assert place.kinds(before) == ["ingest", "applied", "begin", "follow", "restore", "applied"]
    assert place.store.aliases()["notes"] == done.plan.physical != former
    assert place.world.served() == place.process.folded()
    assert sorted(place.world.served()) == ["a", "d"]
    assert (done.caught_up, done.left_behind, done.entry) == (before + 2, None, before + 5)
    assert [p.name for p in done.phases if p.name in ("catch-up", "prove-again")] == [
        "catch-up",
        "prove-again",
    ]
    assert done.digests == place.process.point().manifest.digests
    timeline = place.process.point().manifest.current
    assert (timeline.parent, timeline.fork) == (1, before + 2)
    assert place.followers == {}
    assert place.process.verify(3).findings == ()
    assert place.process.backup().equal


ALWAYS = ("memory", "duckdb", "pgvector")
"""Engines that are tried in the short form, too: embedded, and behind a server."""


@pytest.mark.parametrize(
    "engine",
    [pytest.param(name, marks=[] if name in ALWAYS else pytest.mark.long) for name in ENGINES],
)
def test_every_engine_catches_up(engine: str, open_store: OpenStore) -> None:
    place = Place(store=open_store(engine))
    done = restored(place.during(lambda: place.say(d="fourth", a="changed", c=None)))
    assert (done.caught_up, done.verdict.outcome) == (done.plan.number + 2, "passed")
    assert sorted(place.world.served()) == ["a", "d"]
    assert place.process.backup().equal
    text = place.process.lineage.embedder.embed(["fourth"])[0]
    hits = place.store.search("notes", Query(vector=text, exact=False), limit=1)
    assert [hit.document_id for hit in hits] == ["d"]


def test_its_entries_say_what_was_brought_and_read(place: Place) -> None:
    before = place.number
    done = restored(place.during(lambda: place.say(d="fourth", e="fifth", c=None)))
    log, name = place.process.history.log, f"{STORE_NAME}/{done.plan.physical}"
    begun, brought = (log.read(before + n)[0] for n in (3, 4))
    assert begun.body.detail == BeginDetail(follower=name, point=done.plan.point, route="load")
    assert brought.body.detail == FollowDetail(
        follower=name, position=before + 2, written=3, records=3
    )
    assert begun.body.followers == {
        name: Follower(
            began=before + 3,
            timeline=1,
            store=STORE_NAME,
            physical=done.plan.physical,
            position=0,
        )
    }
    assert brought.body.followers[name].position == before + 2
    assert detail_of(place, done.entry).follower == name


def test_no_entry_is_a_recovery_point_of_the_candidate(place: Place) -> None:
    before = place.number
    restored(place.during(lambda: place.say(d="fourth")))
    served = place.process.point(f"log:{before + 2}").entry.body
    for number in (before + 3, before + 4):
        point = place.process.point(f"log:{number}")
        assert (point.entry.body.manifest, point.manifest.timeline) == (served.manifest, 1)
        assert point.entry.body.pending == served.pending


def test_an_edit_that_a_backup_records_meanwhile_is_brought(place: Place) -> None:
    def meanwhile() -> None:
        place.edit("a", "by hand")
        place.process.backup()

    done = restored(place.during(meanwhile))
    assert [row[3] for row in place.world.served()["a"]] == ["by hand"]
    assert done.unseen_since is not None
    assert detail_of(place, done.entry).unseen_since == done.unseen_since


def test_where_nothing_is_logged_meanwhile_there_is_no_candidate(place: Place) -> None:
    before = place.number
    done = restored(place.process)
    assert place.kinds(before) == ["restore", "applied"]
    assert (done.caught_up, done.left_behind) == (None, None)
    assert detail_of(place, done.entry).follower is None


@pytest.mark.parametrize("beside", [lambda p: p.process.compact(), lambda p: p.process.backup()])
def test_entries_that_change_no_document_are_followed(
    place: Place, beside: Callable[[Place], object]
) -> None:
    done = restored(place.during(lambda: beside(place)))
    assert done.left_behind is None
    assert place.world.served() == place.process.folded()
    assert place.process.verify(3).findings == ()


def test_it_catches_up_until_the_log_stands_still(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the log grows between the last look at it and the switch."""
    real, waiting = unseen_since, ["at", "end"]

    def last_moment(*args: Any) -> int | None:
        if waiting:
            place.say(**{waiting.pop(0): "late"})
        return real(*args)

    monkeypatch.setattr(LAST_LOOK, last_moment)
    before = place.number
    done = restored(place.during(lambda: place.say(d="fourth")))
    assert {"prove", "prove-again", "probe", "probe-again"} <= set(done.made_in)
    followed = [kind for kind in place.kinds(before) if kind in ("begin", "follow", "restore")]
    assert followed == ["begin", *["follow"] * 3, "restore"]
    assert {"d", "at", "end"} < set(place.world.served())


def test_what_is_ingested_while_it_is_asked_is_caught_up_and_asked_again(place: Place) -> None:
    waiting: list[Work] = [lambda: place.say(d="fourth")]

    def hook(call: str, name: str, moment: str, number: int) -> None:
        if (call, moment) == ("search", "before") and waiting:
            waiting.pop()()

    done = restored(place.world.process(store=RecordingStore(place.store, hook)))
    assert waiting == []
    assert "d" in place.world.served()
    assert done.left_behind is None
    assert "prove-again" in done.made_in
    assert "probe-again" in done.made_in


def test_a_log_that_grows_for_ever_ends_the_recovery_and_not_the_service(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    former, real = place.store.aliases()["notes"], unseen_since

    def always(*args: Any) -> int | None:
        place.say(a=f"day {place.day}")
        return real(*args)

    monkeypatch.setattr(catch_up, "ROUNDS", 2)
    monkeypatch.setattr(LAST_LOOK, always)
    with pytest.raises(Conflict, match=r"caught up 2 times\. Nothing was switched"):
        restored(place.process)
    assert place.store.aliases()["notes"] == former
    (follower,) = place.followers.values()
    monkeypatch.undo()
    done = restored(place.process)
    assert done.plan.physical == follower.physical
    assert place.world.served() == place.process.folded()
    assert place.followers == {}


def test_records_that_the_engine_refuses_meanwhile_are_left_out_and_said(place: Place) -> None:
    class Refusing(MemoryVectorStore):
        def misfits(self, spec: Any, batch: Any) -> Any:
            import pyarrow.compute as pc

            from dr_pipelines.stores.shared.misfits import misfits_of, problem

            odd = pc.match_substring(batch["text"], "odd")
            return misfits_of(batch, [problem("text", odd, "it is odd")])

    place.say(a="odd before", d="odd too")
    other = Refusing()
    process = place.process

    def meanwhile() -> None:
        place.say(a="even", e="odd now")

    waiting = [meanwhile]

    def hook(call: str, name: str, moment: str, number: int) -> None:
        if (call, moment) == ("build_index", "before") and waiting:
            waiting.pop()()

    resources = replace(process.resources(), store=RecordingStore(other, hook), store_name="other")
    request = process.request(switch=True).model_copy(update={"store": "other"})
    done = recover(request, resources)
    manifest = place.process.point().manifest
    assert done.left_out == 2
    assert {misfit.record for misfit in done.refused} == {"d#000000", "e#000000"}
    assert manifest.left_out is not None
    assert manifest.left_out.total == 2


def test_what_does_not_read_back_equal_after_catching_up_is_not_served() -> None:
    class Losing(MemoryVectorStore):
        losing = False

        def write(self, name: str, rows: Any, *, replaces: Any = ()) -> None:
            super().write(name, rows.slice(1) if self.losing else rows, replaces=replaces)

    store = Losing()
    place = Place(store=store)
    former = store.aliases()["notes"]

    def meanwhile() -> None:
        place.say(d="fourth")
        store.losing = True

    with pytest.raises(Damaged, match="does not read back as it was written"):
        restored(place.during(meanwhile))
    assert store.aliases()["notes"] == former
    (follower,) = place.followers.values()
    assert (follower.physical in store.collections(), follower.position) == (True, 0)
    store.losing = False
    assert restored(place.process).plan.physical == follower.physical
    assert place.world.served() == place.process.folded()


# Not caught up


def test_what_came_after_an_older_point_is_listed_and_not_served(place: Place) -> None:
    point = place.number
    place.say(bad="import", a="spoiled", c=None)
    process = place.process
    plan = plan_recovery(process.request(f"log:{point}", switch=True), process.resources())
    assert (plan.catch_up, plan.behind) == (False, place.number)
    done = run_recovery(plan, process.resources())
    assert done.left_behind == LeftBehind(
        first=point + 1,
        last=point + 2,
        added={"names": ("bad",), "total": 1},
        changed={"names": ("a",), "total": 1},
        removed={"names": ("c",), "total": 1},
    )
    assert detail_of(place, done.entry).left_behind == done.left_behind
    assert sorted(place.world.served()) == ["a", "c"]
    assert "begin" not in place.kinds(point)
    newest = place.process.history.head().entry
    assert newest is not None
    report = read_report(place.process.repository, newest.body.objects[0])
    assert (report.left_behind, report.caught_up) == (done.left_behind, None)
    assert "documents are not there that the former line has: bad" in page(report)


def test_a_position_of_the_source_lists_what_is_beyond_it(place: Place) -> None:
    done = restored(place.process, "seq:2")
    assert done.left_behind is not None
    assert done.left_behind.added.names == ("c",)
    assert done.left_behind.removed.names == ("b",)


def test_what_is_ingested_at_the_last_moment_is_listed_too(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = place.number
    real, waiting = unseen_since, [{"bad": "import"}, {"worse": "import"}]

    def last_moment(*args: Any) -> int | None:
        if waiting:
            place.say(**waiting.pop(0))
        return real(*args)

    monkeypatch.setattr(LAST_LOOK, last_moment)
    done = restored(place.process, f"log:{point}")
    assert done.left_behind is not None
    assert done.left_behind.added.names == ("bad", "worse")


def test_a_newest_state_that_is_damaged_is_no_obstacle_to_an_older_one(place: Place) -> None:
    point = place.number
    place.say(d="fourth")
    (newest,) = place.process.point().manifest.segments.tail[-1:]
    place.blobs.delete(newest.key)
    if newest.index is not None:
        place.blobs.delete(newest.index.key)
    done = restored(place.process, f"log:{point}")
    assert done.left_behind is not None
    assert newest.key in (done.left_behind.problem or "")


def test_an_older_point_catches_up_where_that_is_asked_for(place: Place) -> None:
    point = place.number
    place.say(d="fourth")
    done = restored(place.process, f"log:{point}", catch_up=True)
    assert (done.caught_up, done.left_behind) == (point + 2, None)
    assert "d" in place.world.served()


@pytest.mark.parametrize(
    ("at", "route", "named"),
    [("seq:2", Route.LOAD, "seq:2 is a position"), ("log:2", Route.REPLAY, "--route replay makes")],
)
def test_what_cannot_catch_up_is_refused_before_anything_is_touched(
    place: Place, at: str, route: Route, named: str
) -> None:
    before = place.number
    with pytest.raises(InvalidRequest, match=f"^--catch-up: {named}"):
        restored(place.process, at, route=route, catch_up=True)
    assert place.number == before


def test_vectors_made_again_are_not_caught_up_and_that_is_listed(place: Place) -> None:
    done = restored(place.during(lambda: place.say(d="fourth")), route=Route.REPLAY)
    assert done.left_behind is not None
    assert done.left_behind.added.names == ("d",)


# Closed, begun anew, two at once


def test_one_that_is_closed_by_name_is_not_served(place: Place) -> None:
    former = place.store.aliases()["notes"]
    process = place.during(lambda: place.say(d="fourth"), lambda: given_up(place))
    with pytest.raises(Conflict, match="was closed as a candidate meanwhile: it is not served"):
        restored(process)
    assert place.store.aliases()["notes"] == former
    assert place.followers == {}
    assert "restore" not in place.kinds(4)
    assert place.process.verify(3).findings == ()


def given_up(place: Place) -> None:
    """Closed in the log: dropping comes after that."""
    close(place.process.history, f"{STORE_NAME}/{physical(place)}", reason="a test")


def physical(place: Place) -> str:
    (follower,) = place.followers.values()
    return follower.physical


def abandoned(place: Place) -> str:
    """A recovery that was killed in its second proof."""

    def kill() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restored(place.during(lambda: place.say(d="fourth"), kill))
    return physical(place)


def test_an_abandoned_one_is_listed_closed_and_dropped(place: Place) -> None:
    name = abandoned(place)
    logs = [known_collection(place.process.history, store=STORE_NAME)]
    listed = {
        one.name: one.part
        for one in stored(
            place.store, store=STORE_NAME, collections=logs, repository=place.process.repository
        )
    }
    assert listed[name] is Part.CANDIDATE
    place.drop(name)
    assert place.kinds(place.number - 1) == ["end"]
    assert name not in place.store.collections()
    with pytest.raises(NotFound, match="has no collection"):
        place.drop(name)
    assert place.process.backup().equal


def test_one_whose_collection_is_gone_is_closed_by_the_same_name(place: Place) -> None:
    name = abandoned(place)
    place.store.drop(name)
    place.drop(name)
    assert place.followers == {}


def test_a_name_that_was_closed_is_not_begun_again_from_a_point_before(place: Place) -> None:
    point = place.number
    name = abandoned(place)
    place.drop(name)
    with pytest.raises(Refused, match=r"was closed as a candidate in log:\d+.*--into"):
        restored(place.process, f"log:{point}", catch_up=True)
    done = restored(place.process)
    assert done.plan.physical != name
    assert place.world.served() == place.process.folded()


def test_who_goes_on_with_a_candidate_ends_the_run_before(place: Place) -> None:
    """As two machines would, on which nobody knows of the other."""

    def another() -> None:
        process = place.process
        plan = plan_recovery(process.request(switch=True), process.resources())
        begin(process.history, plan)

    with pytest.raises(Conflict, match=r"begun anew by another run, in log:\d+, which goes on"):
        restored(place.during(lambda: place.say(d="fourth"), another))
    assert "restore" not in place.kinds(0)
    assert restored(place.process).switched
    assert place.world.served() == place.process.folded()


def test_two_candidates_are_independent_until_one_is_served(place: Place) -> None:
    """The other follows a line that ended: it would bring back what the first has left out."""
    first = abandoned(place)
    other = MemoryVectorStore()
    process = place.process

    def kill() -> None:
        raise KeyboardInterrupt

    works: list[Work] = [lambda: place.say(e="fifth"), kill]

    def hook(call: str, name: str, moment: str, number: int) -> None:
        if (call, moment) == ("build_index", "before") and works:
            works.pop(0)()

    elsewhere = replace(process.resources(), store=RecordingStore(other, hook), store_name="other")
    request = process.request(switch=True).model_copy(update={"store": "other"})
    with pytest.raises(KeyboardInterrupt):
        recover(request, elsewhere)
    assert set(place.followers) == {f"{STORE_NAME}/{first}", *place.followers}
    assert len(place.followers) == 2
    plan = plan_recovery(request, elsewhere)
    assert restored(place.process).plan.physical == first
    assert [follower.store for follower in place.followers.values()] == ["other"]
    with pytest.raises(TimelineClosed, match="another restore switched meanwhile"):
        run_recovery(plan, elsewhere)
    assert place.world.served() == place.process.folded()
    close(place.process.history, f"other/{plan.physical}", reason="a test")
    assert place.followers == {}


def test_what_another_recovery_left_out_does_not_come_back(place: Place) -> None:
    """A plan for the line that ended is not carried out, with a candidate or without."""
    good = place.number
    place.say(bad="import")
    process = place.process
    late = plan_recovery(process.request(f"log:{place.number}", switch=True), process.resources())
    restored(place.process, f"log:{good}")
    assert "bad" not in place.world.served()
    with pytest.raises(TimelineClosed, match="another restore switched meanwhile"):
        run_recovery(late, process.resources())
    assert "bad" not in place.world.served()


def test_a_copy_beside_does_not_take_a_candidates_place(place: Place) -> None:
    point = place.number
    name = abandoned(place)
    process = place.process
    plan = plan_recovery(process.request(f"log:{point}"), process.resources())
    assert (plan.physical, plan.refusals) == (f"{name}-2", ())
    into = plan_recovery(process.request(f"log:{point}", into=name), process.resources())
    assert "is a candidate that another recovery began" in into.refusals[0].message


# Killed anywhere


class Killed(BaseException):
    """The process ends here."""


@dataclass
class Sites:
    """Calls that change a store, in one count, each with its moment; the process may end at one."""

    end: int | None = None
    seen: list[str] = field(default_factory=list)

    def process(self, place: Place, *work: Work) -> Process:
        waiting = list(work)

        def hear(call: str, name: str, moment: str, number: int) -> None:
            if call not in ("create", "write", "build_index", "promote", "open_up"):
                return
            if (call, moment) == ("build_index", "before") and waiting:
                waiting.pop(0)()
            self.seen.append(f"{moment} {call} {name}")
            if len(self.seen) == self.end:
                raise Killed

        return place.world.process(
            blobs=Recording(place.blobs, hook=hear), store=RecordingStore(place.store, hear)
        )


def news(place: Place) -> Work:
    return lambda: place.say(d="fourth", a="changed", c=None)


def test_killed_anywhere_the_same_command_serves_the_same() -> None:
    whole, sites = Place(), Sites()
    restored(sites.process(whole, news(whole)))
    expected, total = whole.world.served(), len(sites.seen)
    assert {seen.split()[1] for seen in sites.seen} >= {"create", "write", "build_index", "promote"}
    for end in range(1, total + 1, CAMPAIGN.pick(short=7, long=1)):
        place = Place()
        former = place.store.aliases()["notes"]
        with pytest.raises(Killed):
            restored(Sites(end).process(place, news(place)))
        switched = "restore" in place.kinds(0)
        if not switched:
            assert place.store.aliases()["notes"] == former
        if "d" not in {change.document_id for change in place.source.history}:
            news(place)()
        restored(place.process)
        assert place.world.served() == expected == place.process.folded(), end
        assert place.followers == {}
        assert place.process.verify(2).findings == ()


def test_killed_anywhere_it_is_closed_by_name_and_never_served() -> None:
    whole, sites = Place(), Sites()
    restored(sites.process(whole, news(whole)))
    closed = 0
    for end in range(5, len(sites.seen) + 1, CAMPAIGN.pick(short=8, long=1)):
        place = Place()
        former = place.store.aliases()["notes"]
        with pytest.raises(Killed):
            restored(Sites(end).process(place, news(place)))
        for follower in place.followers.values():
            place.drop(follower.physical)
            closed += 1
            assert place.store.aliases()["notes"] == former
            assert follower.physical not in place.store.collections()
        assert place.followers == {}
        place.process.ingest()
        assert place.world.served() == place.process.folded()
    assert closed
