"""A recovery: what is asked for, what is known before, what will be done, and what was done."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from dr_pipelines.model.base import Stored, Time
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.compatibility import CompatibilityReport, Note
from dr_pipelines.model.definitions import Definitions
from dr_pipelines.model.details import LeftBehind
from dr_pipelines.model.fitness import Fitness
from dr_pipelines.model.lineage import Provenance
from dr_pipelines.model.misfit import Misfit
from dr_pipelines.model.parts import PartFinding
from dr_pipelines.model.recovery_point import Digests, SourcePosition, Timeline
from dr_pipelines.model.verdict import Override, Verdict

OWNER = re.compile(r"engine\.[a-z]+\.owner")


class Route(StrEnum):
    """`load` takes the vectors that were kept; `replay` embeds the kept chunks again; `native` lays
    out the engine's own files, indexes included, where they were kept too."""

    LOAD = "load"
    REPLAY = "replay"
    NATIVE = "native"


WHOLE = "all"
"""The name by which a limit is one of a whole run."""
LIMITED = (
    *("access", "embed", "fold", "compare", "schema", "records", "files", "index"),
    *("prove", "catch-up", "rights", "probe", "warm", "switch", "confirm"),
)
"""Phases that may have a limit."""


class Terms(Stored):
    """On which terms a recovery is carried out, whatever it builds. `overrides` are findings that
    somebody goes on in spite of. `began` is when the loss began, from where the time of the
    recovery runs; by default it runs from the first start of the recovery.
    `limits` are the seconds that a phase may take, by its name, and a whole run, by `WHOLE`."""

    overrides: tuple[Override, ...] = ()
    began: Time | None = None
    limits: dict[str, float] = {}


AS_USUAL = Terms()


class Request(Stored):
    """A recovery as somebody asks for it. `at` names the point, a time by `clock`; `into` is a name
    of its own for what is built, `embedder` another one than the collection's, for a replay. Route
    `auto` is `native` where the engine's files were kept for the point, else `load`. The newest
    point catches up with what is logged meanwhile before it is served; `catch_up`: any other does.
    A loss, and code of others by its digest, are accepted here and nowhere else."""

    collection: str
    store: str
    at: str = "latest"
    clock: Literal["source", "log"] = "source"
    route: Route | Literal["auto"] = Route.LOAD
    embedder: str | None = None
    into: str | None = None
    switch: bool = False
    accept_loss: bool = False
    accept_code: str | None = None
    with_roles: bool = False
    terms: Terms = AS_USUAL
    catch_up: bool = False


class PointFacts(Stored):
    """A recovery point as far as a plan depends on it; `chunks` are the fingerprints of what made
    its chunks."""

    collection: str
    id: str
    number: int
    sha256: str
    until: SourcePosition | None = None
    spec: CollectionSpec
    engine: str
    provenance: Provenance | None = None
    records: int
    fitness: Fitness | None = None
    chunks: tuple[str, ...] = ()


class NameRules(Stored):
    """How a user frees a collection's name in a store: a statement of the engine or words, for an
    alias and for a collection that has it; `aftermath` is what stays as it was. `alias_limits` says
    how an alias is less there than a collection of that name; empty where it is not."""

    alias_limits: str = ""
    free_alias: str = "drop the alias"
    free_collection: str = "rename or drop it"
    aftermath: str = ""


class StoreFacts(Stored):
    """A store before a recovery into it: its collections with what each was built from, what stands
    for which of them, and how the recovered collection's name is freed."""

    name: str
    engine: str
    rules: NameRules = NameRules()
    origins: dict[str, str | None] = {}
    aliases: dict[str, str] = {}


class MakerFacts(Stored):
    """How a replay would make vectors, of chunks made by what `chunks` identifies."""

    provenance: Provenance
    chunks: str
    spec: CollectionSpec


class Facts(Stored):
    """Everything that a plan depends on, read before it is decided. `fitted` is what the store
    makes of the point's specification, `values` what becomes of values in another engine; `files`:
    the engine's own files were kept for the point, and the store can lay them out. `definitions`
    are those of what the plan builds, from a store that executes definitions. `behind` is the
    newest entry, where its state is another one than the point's. `candidates` are open in the
    store, with the timeline that each follows."""

    point: PointFacts
    timelines: tuple[Timeline, ...]
    timeline: int
    store: StoreFacts
    maker: MakerFacts | None = None
    files: bool = False
    fitted: CompatibilityReport
    values: tuple[Note, ...] = ()
    definitions: Definitions | None = None
    behind: int | None = None
    candidates: dict[str, int] = {}

    @property
    def current(self) -> Timeline:
        """The timeline that is served."""
        return next(t for t in self.timelines if t.id == self.timeline)


@dataclass(frozen=True, slots=True)
class Phase:
    """One timed step of a recovery."""

    name: str
    seconds: float
    rows: int = 0


class RunRecord(Stored):
    """This machine's record of runs of a plan that did not finish: the phases that ended, oldest
    first, and the one that was `running`. `origin` is the plan's, `started` when the first of them
    began."""

    origin: str
    started: Time | None = None
    phases: tuple[Phase, ...] = ()
    running: str | None = None


class Refusal(Stored):
    """Why a plan is not carried out as it is. `about` is what stands in the way: with `loss` and
    `code` it is somebody's consent, which `Request` can give; `error` is the kind of error that
    carrying it out ends with."""

    about: Literal["route", "name", "loss", "code"]
    error: Literal["InvalidRequest", "AlreadyExists", "Refused"]
    message: str


class Plan(Stored):
    """Decided before anything is touched; equal for equal facts, byte for byte as JSON.

    `point`, `number`, `sha256` and `until` are the recovery point. `spec` is what the store will be
    asked to create, `notes` say what becomes of parts that are not plainly the same there, `losses`
    are those of them that will not be in force. `origin` is what the collection will say that it
    was built from, `provenance` (its fingerprint) how its vectors are made. `estimate` is how long
    each phase will take, going by the last recovery into such an engine; empty where there was
    none. `begins` is the timeline that a name begins which an earlier one had; None for a name that
    is new. `definitions` is what the engine will be told to execute, code of others included, where
    it takes statements. `misfits` counts the records that the backup knows this engine to refuse,
    of which some are `refused`: they will be left out. `timeline` is the one that is served: a plan
    that switches is not carried out once another is. With `catch_up`, what that one is told
    meanwhile is caught up before the switch; `behind` is the newest entry where it has told other
    things than the point and is not. With `refusals` it is not carried out.
    `terms` are those of the request.
    """

    collection: str
    point: str
    number: int
    sha256: str
    until: SourcePosition | None = None
    route: Route
    physical: str
    store: str
    switch: bool
    records: int
    resumed: bool
    spec: CollectionSpec
    origin: str
    provenance: str | None = None
    notes: tuple[Note, ...] = ()
    losses: tuple[Note, ...] = ()
    estimate: tuple[Phase, ...] = ()
    begins: int | None = None
    definitions: Definitions | None = None
    misfits: int = 0
    refused: tuple[Misfit, ...] = ()
    timeline: int
    catch_up: bool = False
    behind: int | None = None
    refusals: tuple[Refusal, ...] = ()
    terms: Terms = AS_USUAL


@dataclass(frozen=True, slots=True)
class Evidence:
    """Where the evidence of a recovery is: the log entry, the files; and why it is not there."""

    entry: int | None = None
    not_logged: str | None = None
    files: tuple[str, ...] = ()
    not_written: str | None = None


@dataclass(frozen=True, slots=True)
class Recovery:
    """The result of a recovery. `digests` were computed by scanning the restored collection.
    `findings` are parts of the specification that the store reports differently, or not at all.
    `left_out` counts records that the engine refused, `refused` names the first of them: they
    stay in the recovery point. `same_model`: the vectors are those of the point, or were made
    again as those were. `earlier` are the phases of runs before it that were interrupted, the
    last of them in `interrupted`; `dropped` are those whose work was gone and was done again.
    `unrecorded` is why this machine's record of phases may lack some. `chosen` are settings that
    were chosen for this run, under the engine's names. `verdict` is on what was restored, by the
    checks of this run, each `made_in` a phase. `evidence` is where the report of it is. `caught_up`
    is the entry whose state it is, where that is not the point's. Of one that was switched to,
    `left_behind` is what the former line has beyond it; what was changed in the former store after
    the entry `unseen_since` was not looked at (0: never; None: not for long).
    """

    plan: Plan
    phases: tuple[Phase, ...]
    records: int
    documents: int
    digests: Digests
    bit_identical: bool
    switched: bool
    entry: int | None
    verdict: Verdict
    made_in: tuple[str, ...]
    evidence: Evidence
    embedded: int = 0
    same_model: bool = True
    earlier: tuple[Phase, ...] = ()
    interrupted: str | None = None
    dropped: tuple[Phase, ...] = ()
    unrecorded: str | None = None
    findings: tuple[PartFinding, ...] = ()
    left_out: int = 0
    refused: tuple[Misfit, ...] = ()
    chosen: tuple[tuple[str, str], ...] = ()
    caught_up: int | None = None
    left_behind: LeftBehind | None = None
    unseen_since: int | None = None

    @property
    def missing(self) -> tuple[PartFinding, ...]:
        """Findings but for those that nobody can look at, and who owns it: no data, and said."""
        return tuple(
            finding
            for finding in self.findings
            if not finding.unreported and not OWNER.fullmatch(finding.part)
        )

    @property
    def whole(self) -> bool:
        """True if every record and every part that can be looked at is as it was, and nobody had to
        go on in spite of a finding."""
        return not self.missing and not self.left_out and not self.verdict.overrides
