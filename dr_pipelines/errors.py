"""Errors, grouped by what the caller does next.

Findings (a probe failed, an objective was missed) are values, not errors.
"""

from collections.abc import Mapping


class DrError(Exception):
    """Anything this package raises on purpose; its text is written for the person who reads it."""


def in_words(error: BaseException) -> str:
    """The message of an error, with what was noted beside it."""
    return "\n".join([str(error), *getattr(error, "__notes__", ())])


class InvalidRequest(DrError):
    """Ask for something else: the request itself is wrong (a policy, an argument, a filter)."""


class NotFound(InvalidRequest):
    """Ask for something else: the named collection, recovery point or object does not exist."""


class TextTooLong(InvalidRequest):
    """Ask for something else: a model does not read a text to its end.

    `counts` are the lengths of such texts by their place among those given, in tokens unless `unit`
    says otherwise, all that the model reads for a text included.
    """

    def __init__(
        self, counts: Mapping[int, int], *, limit: int, model: str, unit: str = "tokens"
    ) -> None:
        longest = max(counts.values(), default=0)
        super().__init__(
            f"model {model!r} reads {limit} {unit}, and {len(counts)} texts have more (up to "
            f"{longest}): they are not cut. Give shorter texts, or a model that reads more"
        )
        self.counts = dict(counts)
        self.limit = limit
        self.model = model
        self.unit = unit


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


class TimedOut(Unavailable):
    """Run it again, or give it more time: it took longer than it may. What it made stays."""


class OutcomeUnknown(DrError):
    """The answer to a commit was lost and could not be established; nothing was undone."""


UNREADABLE = (Damaged, InvalidRequest, Refused)
"""Why one collection of a store cannot be looked at. Anybody may have made it: it must not keep
another one from being restored, listed or ingested."""
