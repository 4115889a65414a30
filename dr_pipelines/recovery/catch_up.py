"""Catching up: what the served line is told while a recovery builds is written to the candidate
too, and read back, before the switch. The served line goes on meanwhile, and is not written to."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa

from dr_pipelines.errors import Conflict
from dr_pipelines.live.left_out import Left, all_but
from dr_pipelines.model.recovery import Plan
from dr_pipelines.model.recovery_point import Manifest, RecoveryPoint
from dr_pipelines.planning.candidate import require_same_line
from dr_pipelines.recovery.build import Building
from dr_pipelines.recovery.candidate import Candidate, begin, follow, is_open
from dr_pipelines.repository.history import History
from dr_pipelines.repository.rows import newest_rows
from dr_pipelines.repository.state import State

ROUNDS = 8
"""Times that a recovery looks for what was logged meanwhile. Each reads everything back, so a log
that is still growing after so many grows faster than it can be proven."""


@dataclass
class CatchUp:
    """Follows the served line with what a plan builds, where the plan says so. A candidate is
    opened when there is something to follow, and not before."""

    history: History
    plan: Plan
    building: Building
    candidate: Candidate | None = None
    rounds: int = 0

    def resume(self) -> None:
        """Before anything is written: who was going on with the candidate ends here."""
        if self.plan.catch_up and is_open(self.history.head(), self.plan):
            self.candidate = begin(self.history, self.plan)

    def newer(self, point: RecoveryPoint) -> RecoveryPoint | None:
        """The newest point, where its manifest is another one than that of `point`; None where
        there is nothing to catch up. Raises `Conflict` where the log grows faster than that."""
        if not self.plan.catch_up:
            return None
        newest = self.history.latest()
        if newest.entry.body.manifest == point.entry.body.manifest:
            return None
        require_same_line(
            self.plan.collection,
            served=newest.manifest.timeline,
            follows=self.plan.timeline,
            physical=self.plan.physical,
        )
        self.rounds += 1
        if self.rounds > ROUNDS:
            raise Conflict(
                f"{self.plan.collection}: the log still grew when {self.plan.physical!r} had "
                f"caught up {ROUNDS} times. Nothing was switched: run the command again when less "
                "is written, it goes on from here"
            )
        return newest

    @contextmanager
    def following(self, point: RecoveryPoint, newer: RecoveryPoint) -> Iterator["Following"]:
        """One round, from a point that was read back to a newer one: the candidate is open, and
        has followed at the end of the context, in which it is `brought` and read back."""
        if self.candidate is None:
            self.candidate = begin(self.history, self.plan)
        entries = range(point.number + 1, newer.number + 1)
        documents = self.history.touched_documents(newer.manifest, entries=entries)
        round_ = Following(self.history, self.building, point.manifest, documents)
        yield round_
        follow(
            self.history,
            self.candidate,
            position=newer.number,
            written=len(documents),
            records=round_.records,
        )


@dataclass
class Following:
    """One round: the documents that the line was told of since a manifest, and the records that
    were read back then."""

    history: History
    building: Building
    before: Manifest
    documents: pa.Array
    records: int = 0

    def bring(self, state: State) -> None:
        """Write the newest version of these documents, whatever the candidate has of them: an
        interrupted round is repeated."""
        building = self.building
        with building.watch.phase("catch-up") as rows:
            building.left = self._still_left(building.left)
            rows[0] = building.bring(state, self.documents)

    def _still_left(self, left: Left) -> Left:
        """Without records of these documents: what is refused of them now is said anew."""
        if not left.total or not len(self.documents):
            return left
        with self.history.fold(self.before, documents=self.documents) as state:
            ids = [rows["id"].combine_chunks() for rows in newest_rows(state)]
        gone = pa.concat_arrays(ids) if ids else pa.array([], pa.string())
        names = set(gone.to_pylist())
        named = tuple(misfit for misfit in left.named if misfit.record not in names)
        return Left(all_but(left.table, gone), named)
