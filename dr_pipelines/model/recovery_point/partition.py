"""Coverage of the days of a source."""

import hashlib
from collections.abc import Iterable, Mapping

from pydantic import Field as Constraint

from dr_pipelines.model.base import Count, Stored
from dr_pipelines.model.recovery_point.references import (
    CheckpointRef,
    Digests,
    extents,
    is_empty,
)


class Partition(Stored):
    """Coverage of one day: the source was read over (after, through].

    `anchor` identifies everything in the source up to the position `anchored`, which lies beyond
    `through` after a restore to the middle of what was read. `entry` is the log number that last
    brought or restored this day. `records` and `digests` are of every version in (after, through];
    the vectors' digest is known where the day's own segments still hold them all.

    As an item of a list it may lack its first `earlier` checkpoints of both stages, which the item
    of the day before it has.
    """

    epoch: Count
    after: Count
    through: Count
    anchor: str
    anchored: Count
    entry: Count = 0
    documents: tuple[CheckpointRef, ...] = ()
    chunks: tuple[CheckpointRef, ...] = ()
    quarantined: Count = 0
    records: Count = 0
    digests: Digests = Digests()
    earlier: Count = Constraint(default=0, exclude_if=is_empty)

    @property
    def empty(self) -> int:
        """Versions that were read and of which no chunk was made."""
        return sum(ref.empty for ref in self.chunks)

    @property
    def changes(self) -> int | None:
        """Changes that were read; None where a restore cut a checkpoint, so that its rows are more
        than those that count."""
        whole = list(extents(self.documents, self.through))
        if any(end != ref.through for ref, end in whole):
            return None
        return sum(ref.rows for ref, _ in whole)

    def since(self, before: "Partition | None") -> "Partition":
        """The item that a list gets, whose item of the day so far is `before`: without checkpoints
        that are in that already."""
        if before is None or not before.documents or not self._continues(before):
            return self
        count = len(before.documents)
        update = {
            "documents": self.documents[count:],
            "chunks": self.chunks[count:],
            "earlier": count,
        }
        return self.model_copy(update=update)

    def joined(self, before: "Partition") -> "Partition":
        """The day by this item and the one before it, which has the checkpoints that this one
        lacks."""
        update = {
            "documents": (*before.documents, *self.documents),
            "chunks": (*before.chunks, *self.chunks),
            "earlier": before.earlier,
        }
        return self.model_copy(update=update)

    def _continues(self, before: "Partition") -> bool:
        count = len(before.documents)
        same = self.documents[:count] == before.documents and len(before.chunks) == count
        return same and self.chunks[:count] == before.chunks

    def cut(self, through: int) -> "Partition":
        """The coverage up to a position. A checkpoint that begins there is not part of it: its
        changes are read again.
        """
        retained = [i for i, ref in enumerate(self.documents) if ref.after < through]
        update = {
            "through": min(self.through, through),
            "documents": tuple(self.documents[i] for i in retained),
            "chunks": tuple(self.chunks[i] for i in retained),
        }
        return self.model_copy(update=update)


def frontier_of(partitions: Iterable[Partition]) -> int:
    """The last position up to which the source was read without a gap."""
    reached = 0
    for partition in sorted(partitions, key=lambda p: p.after):
        if partition.after > reached:
            break
        reached = max(reached, partition.through)
    return reached


def read_mark(day: str, after: int, through: int, changes: int) -> int:
    """A number for a day of a source, of which so many changes were read: the SHA-256 of these as
    canonical JSON. Sums of them (modulo 2^256) are equal exactly when the days are."""
    data = f'["{day}",{after},{through},{changes}]'  # a day has nothing to be escaped
    return int.from_bytes(hashlib.sha256(data.encode()).digest(), "big")


def sum_of_marks(marks: Iterable[int]) -> str:
    """As it is stored."""
    return f"{sum(marks) % (1 << 256):064x}"


def read_marks(partitions: Mapping[str, Partition]) -> list[int]:
    """Those of some days, but for such as a restore cut."""
    return [
        read_mark(day, partition.after, partition.through, partition.changes)
        for day, partition in partitions.items()
        if partition.changes is not None
    ]
