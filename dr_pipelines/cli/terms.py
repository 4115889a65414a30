"""Options of a recovery's terms: findings to go on in spite of, and since when it is waited for."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dr_pipelines.cli.output import asking

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dr_pipelines.model.recovery import Terms


def a_time(text: str) -> datetime:
    """A moment; without a zone it is in UTC."""
    from dr_pipelines.planning.terms import moment

    try:
        return moment(text)
    except ValueError:
        expected = "expected a time such as 2026-01-31T12:00:00Z"
        raise typer.BadParameter(f"{expected}, not {text!r}") from None


GoOn = Annotated[
    list[str] | None,
    typer.Option(
        "--go-on",
        metavar="FINDING",
        help="Go on in spite of this finding, which the refusal names; may be repeated. Needs --by "
        "and --reason; all three are recorded.",
    ),
]
By = Annotated[
    str | None, typer.Option("--by", metavar="NAME", help="Who goes on in spite of a finding.")
]
Reason = Annotated[
    str | None, typer.Option("--reason", metavar="TEXT", help="Why, for those who read it later.")
]
Began = Annotated[
    datetime | None,
    typer.Option(
        "--began",
        parser=a_time,
        metavar="TIME",
        help="When the loss began: the recovery's time runs from then; by default from the first "
        "start of the recovery.",
    ),
]
EvidenceDirectory = Annotated[
    Path | None,
    typer.Option(
        "--evidence",
        metavar="DIR",
        help="Write the report of the recovery there, as JSON and as a page; by default under the "
        "state directory of this machine.",
    ),
]


TimeOut = Annotated[
    list[str] | None,
    typer.Option(
        "--time-out",
        metavar="[PHASE=]DURATION",
        help="End the recovery, or a phase of it, once it takes longer; may be repeated. What it "
        "made stays, and the same command goes on.",
    ),
]


def given_terms(
    go_on: "Sequence[str] | None",
    *,
    by: str | None,
    reason: str | None,
    began: datetime | None,
    time_out: "Sequence[str] | None" = None,
) -> "Terms":
    """The terms that options give; raises `Mistake` where they do not go together."""
    from dr_pipelines.planning.terms import terms_of

    now = datetime.now(UTC)
    with asking():
        return terms_of(
            go_on or (),
            by=by or "",
            reason=reason or "",
            began=began,
            now=now,
            time_out=time_out or (),
        )
