"""A backup: as it is asked for, and as it will be carried out."""

from typing import Literal

from dr_pipelines.model.assurance import Assurance
from dr_pipelines.model.base import Stored
from dr_pipelines.model.recovery_point import Timeline
from dr_pipelines.model.unread import Unread

Step = Literal["snapshot", "confirm", "prove", "files"]


class BackupRequest(Stored):
    """A backup as somebody asks for it. `accept_absence` records that many documents are gone.
    With `if_changed` nothing is scanned where the engine says that nothing changed, with
    `every_value` every value is read whatever the policy accepts; `files` keeps the engine's own
    files too. The losses `accept_losses` are accepted, by `by` for `reason`.
    Without `prove` somebody else proves the snapshot."""

    collection: str
    accept_absence: bool = False
    if_changed: bool = False
    every_value: bool = False
    files: bool = False
    accept_losses: tuple[str, ...] = ()
    reason: str = ""
    by: str = ""
    prove: bool = True


class BackupFacts(Stored):
    """Everything that a backup's plan depends on. `physical` is the collection in the store;
    `begun`: something is logged; `owed` is the least that a backup has to assure now. `unchanged`
    is the snapshot since which nothing changed, by the engine's own word, where that was asked for
    or suffices, and `unfit` its parts that cannot be restored. `unread` is what of the source is in
    no backup."""

    store: str
    physical: str
    has_source: bool
    begun: bool
    owed: Assurance = Assurance.EVERY_VALUE
    unchanged: int | None = None
    unfit: tuple[str, ...] = ()
    unread: Unread | None = None


class BackupPlan(Stored):
    """Decided before anything is read but the log and names; equal for equal facts. `steps` are
    carried out in order, on the collection in `store`; those after the snapshot only where it is
    equal to the live store; `confirm` records that nothing changed since `unchanged`, by the
    engine's word. `assurance` is the least that the snapshot will rest on. `adopt` is the timeline
    that a log begins with, where there is none yet."""

    request: BackupRequest
    store: str
    steps: tuple[Step, ...]
    assurance: Assurance = Assurance.EVERY_VALUE
    adopt: Timeline | None = None
    unchanged: int | None = None
    unfit: tuple[str, ...] = ()
    unread: Unread | None = None
