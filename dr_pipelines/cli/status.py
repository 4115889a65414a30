"""The command that shows how everything stands: status."""

import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dr_pipelines.cli.fitness import fit_facts, fit_value, not_finite_phrase
from dr_pipelines.cli.options import POLICIES, Json, Policies
from dr_pipelines.cli.output import Answer, ExitCode, give
from dr_pipelines.cli.session import open_project
from dr_pipelines.cli.unread import reading_value, unread_lines, unread_value
from dr_pipelines.host.allocator import retain_memory
from dr_pipelines.model.display import displayed_line

if TYPE_CHECKING:  # imported by the commands that need them
    from datetime import datetime, timedelta

    from rich.console import Console

    from dr_pipelines.model.recovery_point import Follower
    from dr_pipelines.monitoring.status import Report


def status(policies: Policies = POLICIES, as_json: Json = False) -> int:
    """Show how every collection stands.

    Where it is served from, how old its newest recovery point is, what no recovery point covers
    yet, and whether the objective is met. Collections come in order of priority.

    Example:
      dr status

    Exit code 3: an objective is missed, or something could not be looked at.
    """
    from dr_pipelines.monitoring.status import report
    from dr_pipelines.project.process import now

    project = open_project(policies)
    time = now()
    reports = [
        report(
            name,
            protected.policy,
            repository=project.reading,
            catalog=protected.catalog,
            require_whole=protected.require_whole,
            stands=protected.protection_status,
            now=time,
        )
        for name in project.policies.in_order()
        for protected in [project.collection(name)]
    ]
    of_stores = dict.fromkeys(warning for report in reports for warning in report.warnings)
    warnings = [*project.exposed(), *of_stores]  # one store has many collections
    return give(_status_answer(reports, time, warnings=warnings), as_json=as_json)


def _status_answer(reports: "list[Report]", now: "datetime", *, warnings: list[str]) -> Answer:
    value = {
        "at": now.isoformat(),
        "collections": [_value(report, now) for report in reports],
        "warnings": warnings,
        "allocator": asdict(retain_memory(os.environ)),
    }

    def show(console: "Console") -> None:
        from dr_pipelines.cli.console import facts

        for number, report in enumerate(reports):
            if number:
                console.print()
            console.print(report.collection, style="bold")
            console.print(facts(_lines(report, now)))
        for warning in warnings:
            console.print(f"warning: {warning}")

    well = all(report.met and not report.problems for report in reports)
    return Answer(value, show, ExitCode.SUCCEEDED if well else ExitCode.PARTIAL)


def _value(report: "Report", now: "datetime") -> dict[str, Any]:
    return {
        "collection": report.collection,
        "owner": report.owner,
        "escalation": report.escalation,
        "store": report.store,
        "physical": report.physical,
        "store_looked_at": report.looked_at,
        "log": report.log,
        "kind": report.kind,
        "at": report.at.isoformat() if report.at else None,
        "age_seconds": (now - report.at).total_seconds() if report.at else None,
        "proven": report.proven,
        "assurance": report.assurance,
        "uncounted": report.uncounted,
        "proven_at": report.proven_at.isoformat() if report.proven_at else None,
        "frontier": report.frontier,
        "documents": report.documents,
        "records": report.records,
        "versions_without_chunks": report.empty,
        "vectors_not_finite": report.not_finite,
        "pending": list(report.pending),
        "candidates": [follower.model_dump(mode="json") for follower in report.candidates],
        "days_behind": report.behind,
        "refused": _refusal(report),
        "unread": None if report.unread is None else unread_value(report.unread),
        "source_read": reading_value(report.reading),
        "exposed_seconds": _total(report.exposed),
        "rpo_seconds": _total(report.rpo),
        "met": report.met,
        "fit": fit_value(report.fitness, report.accepted),
        "problems": list(report.problems),
    }


def _refusal(report: "Report") -> dict[str, str] | None:
    """Why what is behind was not embedded when that was last tried."""
    if report.refused_since is None:
        return None
    return {"since": report.refused_since.isoformat(), "reason": report.refused}


def _total(span: "timedelta | None") -> float | None:
    return None if span is None else span.total_seconds()


def _lines(report: "Report", now: "datetime") -> list[tuple[str, str]]:
    from dr_pipelines.cli.console import age, number

    absent = "nowhere" if report.looked_at else "unknown"
    lines = [("served from", f"{report.physical or absent} in store {report.store}")]
    if report.at is not None and report.documents is not None and report.records is not None:
        newest = f"log:{report.log} ({report.kind}), {age(now - report.at)} old"
        if report.proven_at is not None:
            newest += f"; proven: log:{report.proven}, {age(now - report.proven_at)} old"
        size_words = f"{number(report.documents)} documents, {number(report.records)} records"
        lines += [
            ("newest point", newest),
            ("holds", f"{size_words}, source position {report.frontier}"),
        ]
    if report.assurance is not None or report.uncounted is not None:
        lines.insert(2, ("rests on", _grounds(report)))
    if report.empty:
        lines.append(("no chunk", f"versions read without one: {number(report.empty)}"))
    if report.not_finite:
        lines.append(("vectors", not_finite_phrase(report.not_finite)))
    if report.pending:
        lines.append(("not in store", f"{len(report.pending)} log entries; dr ingest applies them"))
    lines += [("candidate", _candidate(each, report.timeline)) for each in report.candidates]
    lines.append(("exposed", _exposed(report)))
    if report.unread is not None:
        lines += [("unread", line) for line in unread_lines(report.unread)]
    if report.reading is not None and (report.reading.before or report.reading.unexpected):
        lines.append(("source", report.reading.sentence))
    lines += fit_facts(report.fitness, report.accepted, now)
    lines.append(("owner", f"{report.owner}; call {report.escalation}"))
    lines += [("problem", problem) for problem in report.problems]
    return lines


def _candidate(follower: "Follower", served: int | None) -> str:
    """A collection that a recovery builds, how far it has come, and the ways out."""
    name = displayed_line(follower.physical)
    if follower.timeline != served:
        return (
            f"{name} in store {follower.store} follows a line that is not served any more: it "
            f"never will be. dr drop {name} closes it"
        )
    reached = f"read back at log:{follower.position}" if follower.position else "not read back yet"
    return (
        f"{name} in store {follower.store}, begun in log:{follower.began}, {reached}; not served. "
        f"The same dr restore goes on with it; dr drop {name} closes it"
    )


def _grounds(report: "Report") -> str:
    """The grounds of the proven point, and a newer one that rests on too little."""
    if report.uncounted is None:
        return str(report.assurance)
    return (
        f"{report.assurance or 'no point that counts'}; log:{report.uncounted} is newer and rests "
        "on less than the objective accepts: it does not count. Read all: "
        f"dr backup {report.collection} --every-value"
    )


def _exposed(report: "Report") -> str:
    from dr_pipelines.cli.console import age

    objective = f"objective {age(report.rpo)}"
    if report.met is None:
        return f"unknown; {objective}"
    verdict = "met" if report.met else "MISSED"
    if report.exposed is None:
        return f"everything, since nothing is proven yet; {objective} {verdict}"
    behind = f", {report.behind} days not ingested" if report.behind else ""
    return f"{age(report.exposed) if report.exposed else 'nothing'}{behind}; {objective} {verdict}"
