"""What contributors are given to work with agrees with the tree: hooks, reports, reference."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "reference" / "build.py"
LEFT_OUT = {"cli", "host", "blobs", "chunkers", "embedders", "sources", "stores"}


def _recipe(target: str) -> list[str]:
    """The commands of a target of the Makefile."""
    rule = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert rule is not None, f"no target {target}"
    return [line.strip() for line in rule.group(1).splitlines()]


# --- hooks -----------------------------------------------------------------------------------


def test_a_commit_is_checked_by_what_make_lint_runs() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    (hooks,) = [repository["hooks"] for repository in config["repos"]]
    assert [hook["entry"].replace(".venv/bin", "$(BIN)") for hook in hooks] == _recipe("lint")
    assert {hook["language"] for hook in hooks} == {"system"}


def test_the_hooks_are_valid() -> None:
    program = Path(sys.executable).with_name("pre-commit")
    subprocess.run([program, "validate-config", ".pre-commit-config.yaml"], cwd=ROOT, check=True)


# --- the API reference -----------------------------------------------------------------------


def test_each_room_is_in_the_reference_or_left_out_on_purpose() -> None:
    public = runpy.run_path(str(REFERENCE))["PUBLIC"]
    entries = {
        path.stem for path in (ROOT / "dr_pipelines").iterdir() if path.suffix in ("", ".py")
    }
    assert sorted([*public, *LEFT_OUT]) == sorted(n for n in entries if not n.startswith("_"))


@pytest.mark.long
def test_the_reference_is_built_without_a_warning(tmp_path: Path) -> None:
    built = subprocess.run(
        [sys.executable, REFERENCE, tmp_path], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (built.returncode, built.stdout, built.stderr) == (0, "", "")
    assert "VectorReader" in (tmp_path / "dr_pipelines" / "protocols.html").read_text()
