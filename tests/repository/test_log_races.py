"""Writers, lost answers, late requests and killed processes, in any order, against one log."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from enum import StrEnum

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dr_pipelines.blobs.memory import MemoryBlobStore
from dr_pipelines.errors import Conflict, OutcomeUnknown, Unavailable
from dr_pipelines.model.details import RefusalEvidence
from dr_pipelines.model.recovery_point import Body, Head
from dr_pipelines.repository.log import Draft, Log
from dr_pipelines.testing.memory_witness import MemoryWitness
from tests.repository.builders import ENTRY_MANIFEST, REFUSED, examples, log


class Fault(StrEnum):
    """A fault in one create of a log entry."""

    NONE = "nothing"
    DONE = "done, the answer lost"
    DROPPED = "never done, the answer lost"
    RETRIED = "done, reported as a conflict"
    LATE = "done later, or too late; the answer lost"
    BLIND = "done, the answer lost, and reading fails once"
    KILLED_BEFORE = "the process ends before it"
    KILLED_AFTER = "the process ends after it"
    RIVAL = "another writer commits first"
    RIVAL_LOST = "another writer commits first, and the answer is lost"


class Killed(BaseException):
    """The process ended."""


class Faulty:
    """A store whose next creates of log entries meet the scripted faults."""

    url = "faulty:"

    def __init__(self, blobs: MemoryBlobStore, late: list[tuple[str, bytes]]) -> None:
        self._blobs, self._late = blobs, late
        self.script: deque[Fault] = deque()
        self.rival: Callable[[], None] = lambda: None
        self._blind = 0

    def create(self, key: str, data: bytes | memoryview) -> None:
        fault = self.script.popleft() if self.script else Fault.NONE
        if fault is Fault.KILLED_BEFORE:
            raise Killed
        if fault in (Fault.RIVAL, Fault.RIVAL_LOST):
            self.rival()
        if fault is Fault.LATE:
            self._late.append((key, bytes(data)))
        if fault not in (Fault.LATE, Fault.DROPPED):
            self._create(key, data, certain=fault in (Fault.NONE, Fault.RIVAL, Fault.RETRIED))
        if fault is Fault.KILLED_AFTER:
            raise Killed
        if fault is Fault.RETRIED:
            raise Conflict(key)
        if fault is Fault.BLIND:
            self._blind = 1
        if fault not in (Fault.NONE, Fault.RIVAL):
            raise OutcomeUnknown(key)

    def _create(self, key: str, data: bytes | memoryview, *, certain: bool) -> None:
        try:
            self._blobs.create(key, data)
        except Conflict:
            if certain:
                raise

    def read(self, key: str, range: tuple[int, int] | None = None) -> bytes:
        if self._blind:
            self._blind -= 1
            raise Unavailable(key)
        return self._blobs.read(key, range)

    def size(self, key: str) -> int:
        return self._blobs.size(key)

    def keys(self, prefix: str) -> Iterator[str]:
        return self._blobs.keys(prefix)

    def delete(self, key: str) -> None:
        raise AssertionError(f"nothing is ever deleted, but {key} was")


SCRIPTS = st.lists(st.sampled_from(list(Fault)), max_size=6)
WRITERS = ("w1", "w2", "w3")


class Races(RuleBasedStateMachine):
    """`acknowledged` transactions are in the log at their numbers, `unsure` ones may be."""

    def __init__(self) -> None:
        super().__init__()
        self.blobs = MemoryBlobStore()
        self.late: list[tuple[str, bytes]] = []
        self.acknowledged: dict[str, int] = {}
        self.unsure: set[str] = set()
        self.stores: dict[str, Faulty] = {}
        self.logs: dict[str, Log] = {}
        self.begun: list[str] = []
        self.seen: list[bytes] = []
        self.witnesses = {writer: MemoryWitness() for writer in WRITERS}
        for writer in WRITERS:
            self.start(writer)

    def start(self, writer: str) -> None:
        """A fresh process; its witness file has outlived the one before."""
        store = Faulty(self.blobs, self.late)
        self.stores[writer] = store
        self.logs[writer] = log(
            store, writer=writer, witness=self.witnesses[writer], new_transaction=self.begin
        )

    def begin(self) -> str:
        self.begun.append(f"t{len(self.begun)}")
        return self.begun[-1]

    @rule(writer=st.sampled_from(WRITERS), script=SCRIPTS, rival=st.sampled_from(WRITERS))
    def append(self, writer: str, script: list[Fault], rival: str) -> None:
        store = self.stores[writer]
        store.script = deque(script)
        store.rival = lambda: self.clean_append(rival)
        transaction = f"t{len(self.begun)}"
        drafted: list[Head] = []

        def build(head: Head) -> Draft:
            drafted.append(head)
            return Draft(
                1, Body(manifest=ENTRY_MANIFEST, detail=RefusalEvidence(reason=transaction))
            )

        try:
            head = self.logs[writer].append("evidence", build)
        except (OutcomeUnknown, Killed) as error:
            self.unsure.add(transaction)
            if isinstance(error, Killed):
                self.start(writer)
        else:
            self.acknowledged[transaction] = head.number
            assert drafted[-1].number == head.number - 1
            assert head.entry is not None
            assert (head.entry.transaction, head.entry.previous) == (
                transaction,
                drafted[-1].sha256,
            )
            assert self.witnesses[writer].newest("books") == (head.number, head.sha256)
        store.script.clear()

    def clean_append(self, writer: str) -> None:
        """Somebody else, who meets no fault."""
        rival = log(self.blobs, writer=f"rival-of-{writer}", new_transaction=self.begin)
        transaction = f"t{len(self.begun)}"
        head = rival.append(
            "evidence", lambda head: Draft(1, Body(manifest=ENTRY_MANIFEST, detail=REFUSED))
        )
        self.acknowledged[transaction] = head.number

    @rule()
    def a_late_request_arrives(self) -> None:
        if self.late:
            key, data = self.late.pop(0)
            with suppress(Conflict):
                self.blobs.create(key, data)

    @rule(writer=st.sampled_from(WRITERS))
    def read_the_head(self, writer: str) -> None:
        before = self.witnesses[writer].newest("books") or (0, "")
        head = self.logs[writer].head()
        assert head.number == len(self.stored()) >= before[0]

    @invariant()
    def entries_follow_each_other_and_none_ever_changes(self) -> None:
        entries = list(log(self.blobs).entries())
        stored = self.stored()
        assert len(entries) == len(stored)
        assert stored[: len(self.seen)] == self.seen
        self.seen = stored

    @invariant()
    def every_acknowledged_transaction_is_there_once_and_no_aborted_one(self) -> None:
        numbers = {entry.transaction: entry.i for entry, _ in log(self.blobs).entries()}
        assert len(numbers) == len(self.stored())
        assert self.acknowledged.items() <= numbers.items()
        assert set(numbers) <= set(self.acknowledged) | self.unsure

    def stored(self) -> list[bytes]:
        return [self.blobs.read(key) for key in self.blobs.keys("books/log/")]


TestRaces = Races.TestCase
TestRaces.settings = settings(examples(20), stateful_step_count=15)
