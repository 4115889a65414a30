"""The report of a recovery as one page of HTML: it opens from disk, asks nothing of a network and
runs nothing."""

from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined, Template

from dr_pipelines.model.display import displayed
from dr_pipelines.model.recovery_report import RecoveryReport
from dr_pipelines.planning.standing import SERVES
from dr_pipelines.recovery.line_report import left_behind_lines
from dr_pipelines.recovery.verdict_report import IN_WORDS, looked_at, result

TEMPLATE = "page.html.j2"


def page(report: RecoveryReport) -> str:
    """The page. Whatever a document, a record or a finding is called is text there."""
    return _template().render(
        report=report,
        outcome=IN_WORDS.get(report.outcome, report.outcome.upper()),
        mark={"passed": "yes", "overridden": "overridden"}.get(report.outcome, "no"),
        objective=_objective(report),
        left_behind=list(left_behind_lines(report.left_behind)) if report.left_behind else [],
    )


@cache
def _template() -> Template:
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters |= {
        "seconds": _seconds,
        "time": _time,
        "looked_at": looked_at,
        "result": result,
    }
    source = files("dr_pipelines.recovery").joinpath(TEMPLATE).read_text(encoding="utf-8")
    return environment.from_string(source)


def _shown(value: Any) -> Any:
    """Text of others acts on nothing: directions of writing are escapes too."""
    return displayed(value) if type(value) is str else value


def _seconds(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.3f} s" if value < 1 else f"{value:,.1f} s"


def _time(value: datetime) -> str:
    return f"{value:%Y-%m-%d %H:%M:%S} UTC"


def _objective(report: RecoveryReport) -> str:
    """The recovery time against its objective, in one sentence."""
    time = report.time
    if time.measured_seconds is None and report.entry is not None:
        return "not measured: the loss is said to have begun after this recovery had ended"
    if time.measured_seconds is None:
        return "not measured: nothing is served from it"
    since = "the loss, as it was given" if time.began_given else "the first start of this recovery"
    people = (
        f", and {_seconds(time.allowance_seconds)} for people" if time.allowance_seconds else ""
    )
    measured = f"{_seconds(time.measured_seconds)} from {since}{people}"
    if time.rto_seconds is None:
        return f"{measured}; there is no objective to hold it to"
    objective = f"{measured}; objective {_seconds(time.rto_seconds)}"
    if report.outcome not in SERVES:
        return f"{objective}: NOT MET: what is served was not shown to answer"
    return f"{objective}: {'met' if time.met else 'MISSED'}"
