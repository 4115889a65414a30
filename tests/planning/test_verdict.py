"""The judge of a restored collection."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.model.verdict import CHECKS, Check, CheckName, Finding, Override, Verdict
from dr_pipelines.planning.verdict import judge, least_share

NOW = datetime(2026, 5, 1, tzinfo=UTC)
CLEAN = Check(name="digests", looked_at=10)


def finding(check: CheckName = "filters", place: str = "team='cloud'", **changes: str) -> Finding:
    return Finding.model_validate(
        {"check": check, "place": place, "message": "40 records, not 42", **changes}
    )


def override(id_: str, **changes: str) -> Override:
    values = {"finding": id_, "by": "ada", "reason": "known, see the incident", "at": NOW}
    return Override.model_validate(values | changes)


def damaged(*findings: Finding) -> Check:
    return Check(name="filters", looked_at=7, findings=findings)


def test_checks_without_findings_pass() -> None:
    verdict = judge([CLEAN])
    assert (verdict.outcome, verdict.serves, verdict.findings) == ("passed", True, ())


def test_a_finding_refuses_and_is_named_by_its_check_and_place() -> None:
    verdict = judge([CLEAN, damaged(finding())])
    assert (verdict.outcome, verdict.serves) == ("refused", False)
    assert [f.id for f in verdict.in_the_way] == ["filters:team='cloud'"]


def test_a_warning_refuses_nothing() -> None:
    verdict = judge([CLEAN, damaged(finding(gate="warns"))])
    assert verdict.outcome == "passed"
    assert len(verdict.findings) == 1


def test_a_check_that_looked_at_too_little_is_a_finding() -> None:
    verdict = judge([CLEAN, Check(name="coverage", looked_at=3, least=10)])
    assert verdict.outcome == "refused"
    assert [f.id for f in verdict.findings] == ["coverage:nothing-looked-at"]


def test_a_check_that_was_not_made_is_no_finding_and_keeps_its_reason() -> None:
    skipped = Check(name="canaries", least=10, skipped="no model is here")
    verdict = judge([CLEAN, skipped])
    assert verdict.outcome == "passed"
    assert verdict.checks[1].skipped == "no model is here"


@pytest.mark.parametrize("checks", [[], [Check(name="canaries", skipped="no model is here")]])
def test_without_a_check_that_was_made_there_is_no_verdict(checks: list[Check]) -> None:
    with pytest.raises(InvalidRequest, match="no verdict without a check"):
        judge(checks)


def test_an_operator_goes_on_by_finding() -> None:
    verdict = judge([CLEAN, damaged(finding())], [override("filters:team='cloud'")])
    assert (verdict.outcome, verdict.serves, verdict.in_the_way) == ("overridden", True, ())


def test_one_override_does_not_cover_another_finding() -> None:
    checks = [damaged(finding(), finding(place="team='data'"))]
    verdict = judge(checks, [override("filters:team='cloud'")])
    assert verdict.outcome == "refused"
    assert [f.place for f in verdict.in_the_way] == ["team='data'"]


@pytest.mark.parametrize("gate", ["refuses", "warns"])
def test_an_override_of_a_finding_that_is_not_there_is_a_mistake(gate: str) -> None:
    with pytest.raises(InvalidRequest, match="no finding 'filters:elsewhere'"):
        judge([damaged(finding(gate=gate))], [override("filters:elsewhere")])


@pytest.mark.parametrize("missing", ["by", "reason"])
@pytest.mark.parametrize("blank", ["", "  "])
def test_who_goes_on_and_why_is_needed(missing: str, blank: str) -> None:
    with pytest.raises(ValidationError):
        override("filters:x", **{missing: blank})


def test_a_phase_out_of_time_is_an_outcome_of_its_own() -> None:
    verdict = judge([damaged(finding())], timed_out="probe")
    assert (verdict.outcome, verdict.timed_out, verdict.serves) == ("timed-out", "probe", False)


def test_a_place_of_others_does_nothing_on_a_terminal() -> None:
    place = finding(place="team='\x1b[2J\n'").place
    assert place == "team='\\x1b[2J\\n'"
    assert len(finding(place="x" * 5_000).place) < 200


def test_the_share_that_a_sample_could_miss_is_of_the_records_that_were_asked_for() -> None:
    verdict = judge([CLEAN, Check(name="coverage", looked_at=500)])
    assert verdict.least_share == pytest.approx(0.005974, abs=1e-6)
    assert judge([CLEAN]).least_share == 1.0


@given(st.integers(1, 100_000))
def test_a_sample_misses_damage_of_that_share_with_five_percent(records: int) -> None:
    share = least_share(records)
    assert (1 - share) ** records == pytest.approx(0.05)
    assert least_share(records + 1) < share <= 0.95


places = st.lists(st.sampled_from(["a", "b", "c", "d"]), unique=True)


@given(places, places, st.data())
def test_nothing_serves_with_a_finding_that_nobody_took_on(
    refusing: list[str], warning: list[str], data: st.DataObject
) -> None:
    findings = [finding(place=p) for p in refusing]
    findings += [finding("recall", p, gate="warns") for p in warning]
    taken = data.draw(st.lists(st.sampled_from(refusing), unique=True) if refusing else st.just([]))
    verdict = judge([CLEAN, damaged(*findings)], [override(f"filters:{p}") for p in taken])
    assert verdict.serves == (set(taken) == set(refusing))
    assert Verdict.model_validate_json(verdict.model_dump_json()) == verdict


def test_every_check_has_one_name() -> None:
    assert len(set(CHECKS)) == len(CHECKS) == 17


def test_places_that_begin_alike_have_ids_of_their_own() -> None:
    """They are cut to be typed, and one override is of one of them."""
    long = [f"tenant='{'x' * 200}{n}'" for n in range(3)]
    ids = [finding(place=place).id for place in long]
    assert len(set(ids)) == 3
    assert all(len(name) <= 120 + len("filters:") for name in ids)
    again = Finding.model_validate_json(finding(place=long[0]).model_dump_json())
    assert again.id == ids[0]
    assert (
        judge([damaged(*(finding(place=place) for place in long))], [override(ids[0])]).outcome
        == "refused"
    )
