"""Short campaigns in `make test`, long ones in `make test-long`, which leave a result file."""

import json
import os
import shlex
import subprocess
from dataclasses import dataclass
from typing import Any, TypeVar

from tests.campaigns.evidence import RESULTS, ROOT, write_page

T = TypeVar("T")


@dataclass(frozen=True)
class Campaign:
    long: bool

    def pick(self, *, short: T, long: T) -> T:
        """A size, by the length of the campaign."""
        return long if self.long else short

    def seed(self, usual: int) -> int:
        """The campaign's seed, or another one that DR_SEED asks for."""
        return int(os.environ.get("DR_SEED", usual))


CAMPAIGN = Campaign(long=os.environ.get("DR_LONG", "") not in ("", "0"))


def record_result(name: str, **figures: Any) -> None:
    """Leave what a long campaign did in docs/; short ones leave nothing."""
    if not CAMPAIGN.long:
        return
    git = ["git", "rev-parse", "HEAD"]
    commit = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=False)
    test = os.environ["PYTEST_CURRENT_TEST"].removesuffix(" (call)")
    value = {
        "command": f"DR_LONG=1 pytest {shlex.quote(test)}",
        "commit": commit.stdout.strip(),
        **figures,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
    write_page()
