"""Everything that a backup works with, opened."""

from dataclasses import dataclass

from dr_pipelines.backup.hashed import Hashing
from dr_pipelines.live.live import Live
from dr_pipelines.model.assurance import USUAL_REQUIREMENT, Required
from dr_pipelines.proof.trial import NOWHERE, Scratch
from dr_pipelines.protocols import NativeFiles
from dr_pipelines.repository.history import History


@dataclass(frozen=True, slots=True)
class Resources:
    """The log, the collection as it is served, a place for trials, and the engine's files where
    they are to be kept. `has_source`: documents come from a source, so that ingestion begins the
    log. `required` is what the objective asks of a snapshot; `hashing` is there where it
    accepts hashed files, and the engine has such."""

    history: History
    live: Live
    store_name: str
    has_source: bool = True
    scratch: Scratch = NOWHERE
    required: Required = USUAL_REQUIREMENT
    hashing: Hashing | None = None
    native: NativeFiles | None = None
