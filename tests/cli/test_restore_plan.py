"""`dr restore --plan` prints what `dr restore` does, and whatever would keep it from doing so."""

import pytest

from tests.cli.workplace import Workplace

SAME = ["collection", "point", "route", "physical", "store", "resumed", "records", "notes"]


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--switch"],
        ["--into", "copy"],
        ["--store", "other", "--accept-loss"],
        ["--route", "replay"],
        ["--route", "auto"],
        ["--at", "log:2"],
    ],
    ids=lambda words: " ".join(words) or "nothing else",
)
def test_a_plan_is_what_is_carried_out(protected: Workplace, words: list[str]) -> None:
    plan = protected.dr("restore", "notes", *words, "--plan", "--json")
    again = protected.dr("restore", "notes", *words, "--plan", "--json")
    assert (plan.code, plan.json["refusals"], plan.out) == (0, [], again.out)
    done = protected.dr("restore", "notes", *words, "--json")
    assert done.code == 0, done.err
    assert {key: done.json[key] for key in SAME} == {key: plan.json[key] for key in SAME}
    assert done.json["switched"] is plan.json["switch"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--into", "a b"], 2),
        (["--into", "notes"], 2),
        (["--route", "native"], 1),
        (["--embedder", "hashing"], 2),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, list) else str(words),
)
def test_a_plan_says_why_it_would_be_refused(
    protected: Workplace, words: list[str], code: int
) -> None:
    plan = protected.dr("restore", "notes", *words, "--plan", "--json")
    (refusal,) = plan.json["refusals"]
    shown = protected.dr("restore", "notes", *words, "--plan")
    refused = protected.dr("restore", "notes", *words)
    assert (plan.code, shown.code, refused.code) == (code, code, code)
    assert refusal["message"] in refused.err
    assert f"refused: {refusal['message']}" in " ".join(shown.out.split())
