"""docs/verdict.md describes every check, under its name."""

import re

from dr_pipelines.model.verdict import CHECKS
from tests.named import ROOT


def test_every_check_is_described() -> None:
    page = (ROOT / "docs" / "verdict.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z]+)` \| .+ \| .+ \| .+ \|$", page, re.MULTILINE)
    assert tuple(rows) == CHECKS
