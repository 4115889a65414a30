"""A collection beside the one being served, phase by phase: made of rows or of an engine's own
files, indexed, read back and compared."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

import pyarrow as pa

from dr_pipelines.errors import InvalidRequest, Refused
from dr_pipelines.live.left_out import (
    NOTHING_LEFT,
    Filling,
    Left,
    read_left_out,
)
from dr_pipelines.live.observe import observe_store
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.record import store_schema
from dr_pipelines.model.recovery import Plan, Route
from dr_pipelines.model.recovery_point import Manifest, RecoveryPoint
from dr_pipelines.model.verdict import Check
from dr_pipelines.planning.parts import namespace
from dr_pipelines.protocols import (
    BulkLoad,
    Definer,
    Progress,
    VectorStore,
)
from dr_pipelines.recovery.beside import building_beside
from dr_pipelines.recovery.equality import records_check
from dr_pipelines.recovery.phases import Stopwatch
from dr_pipelines.recovery.resources import Resources
from dr_pipelines.repository.history import History
from dr_pipelines.repository.native_files import OpenKept, as_version, kept_for
from dr_pipelines.repository.observation import Observed
from dr_pipelines.repository.prefetch import map_concurrently, prefetch
from dr_pipelines.repository.repository import Repository
from dr_pipelines.repository.rows import newest_rows, strings
from dr_pipelines.repository.state import State


@dataclass
class Building:
    """A collection beside the one being served, phase by phase."""

    point: RecoveryPoint
    plan: Plan
    resources: Resources
    watch: Stopwatch
    left: Left = NOTHING_LEFT
    two_writers: bool = False
    indexed_beside: bool = False

    @property
    def store(self) -> VectorStore:
        return self.resources.store

    @property
    def repository(self) -> Repository:
        return self.resources.repository

    def whole(self, state: State) -> None:
        """Everything but its index: the engine's own files, or schema and records."""
        if self.plan.route is Route.NATIVE:
            self.of_files()
        else:
            self.of_rows(state)

    def of_rows(self, state: State) -> None:
        """Schema, then records; what the engine refuses of them is left out."""
        with self.watch.phase("schema"):
            spec = self._spec()
            self._require_as_planned(spec)
            self.store.create(spec)
        with self.watch.phase("records") as rows, self._kept_whole():
            filling = Filling(self.store, self.plan.physical, self._spec())
            if self.store.status(self.plan.physical).records:
                rows[0] = _complete(state, filling, self.watch)
            else:
                self.two_writers = _takes_two_writers(filling)
                rows[0] = _fill(state, filling, self.watch, two_writers=self.two_writers)
            self.left = filling.left_out()
            self._require_some()

    def bring(self, state: State, documents: pa.Array) -> int:
        """Write the newest version of some documents; returns the rows written."""
        filling = Filling(self.store, self.plan.physical, self._spec())
        written = _write(state, filling, documents, self.watch)
        self.left += filling.left_out()
        return written

    def _require_some(self) -> None:
        """An engine that refuses every record is no place to restore into."""
        if self.left.total and self.store.status(self.plan.physical).records == 0:
            raise InvalidRequest(str(self.left.named[0]))

    def _require_as_planned(self, spec: CollectionSpec) -> None:
        """Whoever consented did so to what the definitions called then."""
        planned = self.plan.definitions
        if planned is None or not isinstance(self.store, Definer):
            return
        if self.store.definitions(spec, with_roles=True).digest != planned.digest:
            raise Refused(
                f"{self.plan.physical!r}: what its definitions call is not what it was when the "
                "restore was planned. Nothing was touched: run the command again"
            )

    def open_up(self) -> bool:
        """The rights of others, when there is nothing left that may fail but the switch. Whether
        the engine has such rights."""
        if not isinstance(self.store, Definer):
            return False
        with self.watch.phase("rights"):
            self.store.open_up(self.plan.physical)
        return True

    @contextmanager
    def _kept_whole(self) -> Iterator[None]:
        """A record that the engine does not keep ends every restore into it: what this one has made
        goes again."""
        try:
            yield
        except InvalidRequest as error:
            if self.plan.resumed:
                raise
            self.store.drop(self.plan.physical)
            raise InvalidRequest(
                f"{error}. {self.plan.physical!r} is not complete and was removed again: restore "
                "into another engine with --store"
            ) from error

    def of_files(self) -> None:
        """The engine's own files, laid out in one step; what is there is whole, but for what was
        left out before they were kept."""
        native, history = self.resources.native, History(self.repository, self.plan.collection)
        files = kept_for(history, self.point, engine=namespace(self.store.engine))
        if native is None or files is None:
            raise InvalidRequest(f"{self.plan.collection}: --route native needs the engine's files")
        version, proven = files
        with self.watch.phase("files"):
            if self.plan.physical not in self.store.collections():
                native.restore_native(
                    self.plan.physical,
                    as_version(version),
                    read=OpenKept(self.repository, version),
                    spec=self._spec(),
                )
            self.left = read_left_out(self.repository, proven)

    def proven(
        self,
        state: State,
        manifest: Manifest,
        *,
        stops: Callable[[Check], bool],
        progress: Progress | None,
    ) -> tuple[Observed, Check]:
        """Build what searches need, nothing if it came with the files, and read every record back
        and compare it: both at once where the engine lets readers go on, and nothing that indexes
        call could change what was read already. Then a check that `stops` the recovery ends the
        building."""
        beside = self._beside()
        if beside is None:
            self.index(progress)
            return self.verified(state, manifest)
        with building_beside(beside, self.plan.physical, progress) as wait:
            observed, check = self.verified(state, manifest)
            if stops(check):
                return observed, check
            with self.watch.phase("index"):
                wait()
                self.store.build_index(self.plan.physical, progress=progress)
        self.indexed_beside = True
        return observed, check

    def _beside(self) -> BulkLoad | None:
        definitions = self.plan.definitions
        calls = definitions is not None and bool(definitions.code or definitions.unread)
        return self.store if isinstance(self.store, BulkLoad) and not calls else None

    def chosen(self) -> tuple[tuple[str, str], ...]:
        """How this run filled the collection, where the store had a choice."""
        if not isinstance(self.store, BulkLoad):
            return ()
        settings = self.store.chosen(self.plan.physical)
        settings |= {"writers": "2"} if self.two_writers else {}
        settings |= {"index": "while records were read back"} if self.indexed_beside else {}
        return tuple(sorted(settings.items()))

    def index(self, progress: Progress | None) -> None:
        """Build what searches need; nothing if it came with the files."""
        with self.watch.phase("index"):
            self.store.build_index(self.plan.physical, progress=progress)

    def verified(
        self, state: State, manifest: Manifest, *, phase: str = "prove"
    ) -> tuple[Observed, Check]:
        """Every record read back and compared."""
        with self.watch.phase(phase) as rows:
            observed, check = records_check(
                state, manifest, self.plan, store=self.store, left=self.left, watch=self.watch
            )
            rows[0] = observed.rows
        return observed, check

    def _spec(self) -> CollectionSpec:
        return self.plan.spec.physical(self.plan.physical, origin=self.plan.origin)


def _takes_two_writers(filling: Filling) -> bool:
    store, name = filling.store, filling.physical
    return isinstance(store, BulkLoad) and store.takes_two_writers(name)


def _fill(state: State, filling: Filling, watch: Stopwatch, *, two_writers: bool) -> int:
    """Write all records, into a collection that has none; returns the rows written."""
    with closing(prefetch(newest_rows(state))) as read:
        tables = watch.watched(read)
        if two_writers:
            return sum(map_concurrently(filling.write, tables))
        return sum(map(filling.write, tables))


def _complete(state: State, filling: Filling, watch: Stopwatch) -> int:
    """Write what is not there yet; returns the rows written."""
    store, physical = filling.store, filling.physical
    scan = watch.watched(store.scan(physical, ordered=False))
    observation = observe_store(state, scan, store=store, physical=physical)
    documents = strings(observation.differences()["document_id"])
    return _write(state, filling, documents, watch)


def _write(state: State, filling: Filling, documents: pa.Array, watch: Stopwatch) -> int:
    """Write the newest version of some documents, and remove those that have no records."""
    store, physical = filling.store, filling.physical
    written, written_before = 0, set[str]()
    with closing(prefetch(newest_rows(state, documents=documents))) as tables:
        for rows in watch.watched(tables):
            present = rows["document_id"].unique().to_pylist()
            written += filling.write(rows, replaces=present)
            written_before.update(present)
    extra = [document for document in documents.to_pylist() if document not in written_before]
    if extra:
        store.write(physical, store_schema(state.spec).empty_table(), replaces=extra)
    return written
