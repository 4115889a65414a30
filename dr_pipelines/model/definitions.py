"""The code that a store will execute to create a collection, listed before anything is touched."""

from dataclasses import dataclass
from hashlib import sha256

from dr_pipelines.model.base import canonical_json
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.compatibility import Note


@dataclass(frozen=True, slots=True)
class Call:
    """Code that making or using a collection runs and that needs somebody's consent: `caller` is
    the part of the definition, such as `policy p`, `callee` what it calls."""

    caller: str
    callee: str
    reason: str

    def __str__(self) -> str:
        return f"{self.caller} calls {self.callee}, which {self.reason}"


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement as the engine gets it, the step that it belongs to, and what it calls."""

    sql: str
    step: str
    calls: tuple[Call, ...] = ()


@dataclass(frozen=True, slots=True)
class Definitions:
    """The plan of a store for a specification. `spec` is the specification it will create and
    `code` all that needs consent. `unread` is the reason if definitions were not analysed: then
    there are no statements, and consent covers all of them unseen. `memberships` are the roles
    to be granted, each with its grantee.
    """

    spec: CollectionSpec
    statements: tuple[Statement, ...] = ()
    code: tuple[Call, ...] = ()
    notes: tuple[Note, ...] = ()
    memberships: tuple[tuple[str, str], ...] = ()
    unread: str | None = None

    @property
    def digest(self) -> str | None:
        """The digest that consent names. Equal digests mean equal statements and calls; None if no
        consent is needed.
        """
        if not self.code:
            return None
        # of unread definitions the whole specification is what is consented to
        whole = self.spec.model_dump(mode="json") if self.unread else None
        value = [
            [statement.sql for statement in self.statements] if whole is None else [],
            [[call.caller, call.callee, call.reason] for call in self.code],
            whole,
        ]
        return sha256(canonical_json(value)).hexdigest()
