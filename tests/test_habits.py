"""Contributors' tools agree with the tree: pages, hooks, container."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from dr_pipelines import __version__

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "reference" / "build.py"
PAGES = (
    *("README.md", "CONTRIBUTING.md", "SECURITY.md"),
    *("docs/containers.md", "docs/house/README.md", "docs/releasing.md", "docs/upgrading.md"),
)
MADE = (".dr", ".venv", "../", "build/", "defs.yaml", "dist/")  # or examples of what users have
SPAN = re.compile(r"`([^`\n]+)`|\]\(([^)#\s]+)")
FILE = re.compile(
    r"[\w./-]*\w\.(?:md|py|toml|txt|yaml|json)|[\w.-]+(?:/[\w.-]+)*/|[\w.-]+(?:/[\w.-]+)+"
)
COMMAND = re.compile(r"\.venv/bin/pytest .*?(tests/\S+)(?: -k (\w+))?")
INSTRUCTION = re.compile(r"(FROM|ARG|COPY|WORKDIR|RUN|ENV|USER|ENTRYPOINT|CMD) (.+)")
LEFT_OUT = {"cli", "host", "blobs", "chunkers", "embedders", "sources", "stores"}


def _recipe(target: str) -> list[str]:
    """The commands of a target of the Makefile."""
    rule = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert rule is not None, f"no target {target}"
    return [line.strip() for line in rule.group(1).splitlines()]


# --- what the pages name ---------------------------------------------------------------------


def _files_named(page: str) -> list[Path]:
    """Files and directories of the tree that a page names in code spans and links."""
    text, directory = (ROOT / page).read_text(), (ROOT / page).parent
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    paths = list[Path]()
    for span, link in SPAN.findall(text):
        if link and not link.startswith("https:"):
            paths.append(directory / link)
        elif FILE.fullmatch(span) and not span.startswith(MADE):
            paths.append(ROOT / span)
    return paths


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_a_page_names_is_there(page: str) -> None:
    named = _files_named(page)
    assert named
    assert [str(path.relative_to(ROOT)) for path in named if not path.exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_target_that_a_page_names_is_there(page: str) -> None:
    named = set(re.findall(r"(?:`|^)make ([a-z][a-z-]*)", (ROOT / page).read_text(), re.MULTILINE))
    assert named <= set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_the_tests_that_contributors_are_told_to_run_are_there() -> None:
    named = COMMAND.findall((ROOT / "CONTRIBUTING.md").read_text())
    assert len(named) >= 4
    assert any(word for _, word in named)
    for node, word in named:
        path, _, function = node.partition("::")
        assert f"def {function}" in (ROOT / path).read_text()
        assert not word or any(word in name for name in _tests_of(ROOT / path))


def _tests_of(path: Path) -> list[str]:
    """Names of the tests in a file, and of those in the contracts that it may subclass."""
    contracts = sorted((ROOT / "dr_pipelines" / "testing").rglob("*.py"))
    text = "".join(each.read_text() for each in (path, *contracts))
    return re.findall(r"def (test_\w+)", text)


def test_the_changelog_has_the_version_or_says_what_the_next_will_be() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert f"## [{__version__}]" in changelog or f"to become {__version__}." in changelog


# --- the container ---------------------------------------------------------------------------


def _container() -> list[tuple[str, str]]:
    """Instructions of the Containerfile with their arguments; one that is not known is an error."""
    joined = (ROOT / "Containerfile").read_text().replace("\\\n", " ")
    lines = [line for line in joined.splitlines() if line and not line.startswith("#")]
    matches = [INSTRUCTION.fullmatch(line) for line in lines]
    assert all(matches), lines
    return [match.groups() for match in matches if match]  # type: ignore[misc]


def test_the_container_installs_what_the_readme_says() -> None:
    arguments = dict(text.split("=", 1) for word, text in _container() if word == "ARG")
    (line,) = [text for word, text in _container() if word == "RUN" and "pip" in text]
    line = line.replace("${EXTRAS}", arguments["EXTRAS"]).replace('"', "'")
    assert f"`{line}`" in (ROOT / "README.md").read_text()
    assert "PIP_CONSTRAINT=/source/constraints.txt" in dict(_container()[::-1])["ENV"]


def test_the_container_is_sent_what_the_wheel_is_built_from() -> None:
    lines = (ROOT / ".containerignore").read_text().splitlines()
    sent = {line[1:] for line in lines if line.startswith("!")}
    built_from = {"dr_pipelines", "dr_pipelines_dagster", "assets", "pyproject.toml"}
    assert sent == built_from | {"README.md", "LICENSE", "constraints.txt"}
    assert (ROOT / ".dockerignore").resolve() == ROOT / ".containerignore"


def test_commands_of_the_container_can_be_parsed_and_it_runs_without_rights() -> None:
    for word, text in _container():
        if word == "RUN":
            subprocess.run(["sh", "-n", "-c", text], check=True)
    assert dict(_container())["USER"] == "dr"


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
