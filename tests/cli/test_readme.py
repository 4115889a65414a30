"""The README shows what really happens."""

import re
from pathlib import Path

import pytest
import yaml

from dr_pipelines.project.policy_file import load_policies
from tests.cli.commands import commands
from tests.cli.readme import (
    COMMANDS,
    PAGES,
    README,
    furnish,
    perform,
    plain,
    session,
)


@pytest.mark.timeout(900)  # a real model embeds; a busy machine is slow
def test_the_session_prints_what_the_readme_says(tmp_path: Path) -> None:
    furnish(tmp_path)
    steps = [step for page in PAGES for step in session(page.read_text())]
    assert len(steps) == 12
    for step in steps:
        printed = perform(step.command, tmp_path)
        assert plain(printed) == plain(step.output), step.command


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
    assert len(links) >= (6 if page == README else 1)
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_policies_in_the_readme_are_read(tmp_path: Path) -> None:
    blocks = re.findall(r"^```yaml\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    (text,) = [block for block in blocks if block.startswith("version:")]
    path = tmp_path / "policies.yaml"
    path.write_text(text)
    assert list(load_policies(path, {}).collections) == ["wiki"]
    assert yaml.safe_load(text)["repository"] == "s3://backups/vectors"


def test_the_table_of_commands_is_complete() -> None:
    row = r"^\| `dr ([a-z]+(?: [a-z]+)?)([^|]*(?:\\\|[^|]*)*)` \|(.*)\|$"
    rows = re.findall(row, COMMANDS.read_text(), re.M)
    listed = {name: arguments + text for name, arguments, text in rows}
    assert list(listed) == list(commands())
    assert re.findall(r"^\| `dr ([a-z ]+)` \|", README.read_text(), re.M) == list(commands())
    everywhere = {"--help", "--policies", "--json"}
    missing = [
        f"{name} {parameter.opts[0]}"
        for name, command in commands().items()
        for parameter in command.params
        if parameter.opts[0].startswith("--")
        and parameter.opts[0] not in everywhere
        and f"`{parameter.opts[0]}" not in listed[name]
    ]
    assert missing == []
