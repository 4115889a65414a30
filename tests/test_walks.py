"""The walks of docs/architecture.md: short, and along files that are there."""

import re

from tests import named

PAGE = (named.ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
MOST_STEPS = 8


def walks() -> dict[str, list[str]]:
    """Steps of each numbered walk, by its heading."""
    sections = re.split(r"^### (.+)\n", PAGE, flags=re.MULTILINE)[1:]
    pairs = zip(sections[::2], sections[1::2], strict=True)
    return {name: re.split(r"^\d+\. ", body, flags=re.MULTILINE)[1:] for name, body in pairs}


def test_a_walk_has_at_most_eight_steps_and_each_names_a_file_that_is_there() -> None:
    assert len(walks()) >= 2
    for name, steps in walks().items():
        assert 3 <= len(steps) <= MOST_STEPS, name
        for step in steps:
            files = re.findall(r"`([a-z_]+/[a-z_/]+\.py)`", step)
            assert files, f"{name}: {step}"
            for file in files:
                package = named.ROOT if file.startswith("assets/") else named.ROOT / "dr_pipelines"
                assert (package / file).is_file(), f"{name}: {file}"
