"""On which terms a recovery is carried out: findings to go on in spite of, and since when somebody
waits for it."""

from collections.abc import Sequence
from datetime import UTC, datetime

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.notation import duration
from dr_pipelines.model.recovery import LIMITED, WHOLE, Terms
from dr_pipelines.model.verdict import MOST_CHARACTERS, Override


def moment(text: str) -> datetime:
    """A time in UTC; without a zone it is in UTC. Raises `ValueError`."""
    time = datetime.fromisoformat(text)
    try:
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except OverflowError as error:
        raise ValueError(f"{text} is outside of the years 1 to 9999") from error


def terms_of(
    go_on: Sequence[str],
    *,
    by: str,
    reason: str,
    began: datetime | None,
    now: datetime,
    time_out: Sequence[str] = (),
) -> Terms:
    """The terms that somebody asks for.

    Raises:
        InvalidRequest: one of three that go together is absent, or longer than is kept; the loss
            began in the future; or a limit is none.
    """
    if began is not None and began > now:
        raise InvalidRequest(f"--began {began.isoformat()} is in the future")
    by, reason = by.strip(), reason.strip()
    if len({bool(go_on), bool(by), bool(reason)}) > 1:
        raise InvalidRequest("--go-on FINDING, --by NAME and --reason TEXT go together")
    for option, words in (("--by", by), ("--reason", reason)):
        if len(words) > MOST_CHARACTERS:
            raise InvalidRequest(
                f"{option} has {len(words):,} characters, and {MOST_CHARACTERS:,} are kept at most"
            )
    overrides = (
        Override(finding=finding, by=by, reason=reason, at=now) for finding in dict.fromkeys(go_on)
    )
    limits = dict(_limit(text) for text in time_out)
    return Terms(overrides=tuple(overrides), began=began, limits=limits)


def _limit(text: str) -> tuple[str, float]:
    """A phase, or all of a recovery, and its seconds: `DURATION` or `PHASE=DURATION`."""
    phase, _, length = text.rpartition("=")
    if phase and phase not in LIMITED:
        raise InvalidRequest(f"--time-out {text}: expected a phase, one of {', '.join(LIMITED)}")
    try:
        seconds = duration(length).total_seconds()
    except ValueError:
        raise InvalidRequest(
            f"--time-out {text}: expected a duration such as 90s, 15m or 1h, or PHASE=DURATION"
        ) from None
    return phase or WHOLE, seconds
