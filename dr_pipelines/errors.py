"""What can go wrong, grouped by what the caller does next.

Findings (a probe failed, an objective was missed) are values, not errors.
"""


class DrError(Exception):
    """Anything this package raises on purpose; its text is written for the person who reads it."""


class InvalidRequest(DrError):
    """Ask for something else: the request itself is wrong (a policy, an argument, a filter)."""


class NotFound(InvalidRequest):
    """Ask for something else: the named collection, recovery point or object does not exist."""


class AlreadyExists(InvalidRequest):
    """Ask for something else: the name is taken by something that is not the same thing."""


class Conflict(DrError):
    """Read again and decide: somebody else wrote first."""


class TimelineClosed(Conflict):
    """Read again and decide: the history this writer was bound to was ended by a restore."""


class Damaged(DrError):
    """Use another recovery point or copy: an object is missing, truncated, altered or foreign."""


class Refused(DrError):
    """Stop: going on would mix what must not mix, or destroy what must be kept."""


class SourceRewritten(Refused):
    """Stop: the source's head moved back or its history changed; a new epoch must be accepted."""


class ProvenanceChanged(Refused):
    """Stop: the vectors would come from another model, chunker or source than those kept."""


class Unavailable(DrError):
    """Try again later: a store is locked or out of reach."""


class OutcomeUnknown(DrError):
    """The answer to a commit was lost and could not be established; nothing was undone."""
