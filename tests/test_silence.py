"""docs/silence.md: whatever is skipped, cut or approximated is said somewhere, and tested."""

import re
from collections.abc import Iterator

import pytest

from tests import named

PAGE = (named.ROOT / "docs" / "silence.md").read_text(encoding="utf-8")
HEAD = ["way", "command", "JSON", "status", "Dagster", "tests"]
AREAS = [
    "Sources",
    "Texts and models",
    "Backup and proof",
    "Restore",
    "Search",
    "Engines",
    "PostgreSQL",
    "Storage",
    "Dagster",
    "Lists that name a few",
]
FEW = re.compile(
    r"^(?:NAMED|SHOWN|LISTED|LOOK_BACK|MENTIONED|EXAMPLES|SNIPPET|MAX_DETAIL|LONGEST|SENTENCE|FIRST_LINE"
    r"|MOST_LINES|MOST_FIELDS)"
    r"(?:_CHARACTERS|_BYTES)?(?:: int)? = \d",
    re.MULTILINE,
)
"""How the code calls a limit of what is shown."""


def sections() -> dict[str, str]:
    parts = re.split(r"^## (.+)\n", PAGE, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def rows(section: str) -> Iterator[list[str]]:
    for line in sections()[section].splitlines():
        if line.startswith("|"):
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))]


def reasons() -> set[str]:
    return set(re.findall(r"^- (—[a-z]): ", PAGE, re.MULTILINE))


def test_every_area_is_there() -> None:
    assert list(sections()) == AREAS


@pytest.mark.parametrize("area", AREAS[:-1])
def test_no_cell_is_empty_and_every_test_exists(area: str) -> None:
    head, _, *cells = rows(area)
    assert head == HEAD
    assert len(cells) >= 5
    for row in cells:
        assert len(row) == len(HEAD), row
        assert all(row), row
        for cell in row[1:-1]:
            assert not cell.startswith("—") or cell[:2] in reasons(), row
        tests = [test.strip("`") for test in row[-1].split("<br>")]
        assert named.missing(tests) == []


def test_a_cell_without_a_reason_is_found() -> None:
    assert reasons() == {"—a", "—b", "—c", "—d", "—e", "—f"}
    assert named.missing(["tests/test_silence.py::test_that_nobody_wrote"]) != []


def test_every_list_that_names_a_few_is_in_the_table() -> None:
    """A limit of what is shown that the code has, and the page does not, is silent."""
    cells = [row[0] for row in rows(AREAS[-1])][2:]
    listed = {module.strip().strip("`") for cell in cells for module in cell.split(",")}
    assert listed == set(limited()), "docs/silence.md, at its end: say there where the rest is"


def limited() -> Iterator[str]:
    for package in ("dr_pipelines", "assets"):
        for path in sorted((named.ROOT / package).rglob("*.py")):
            module = path.relative_to(named.ROOT).with_suffix("").as_posix()
            if "/testing/" in module or "/demo/" in module:
                continue
            if FEW.search(path.read_text(encoding="utf-8")):
                yield module.removeprefix("dr_pipelines/")
