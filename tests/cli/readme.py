"""The session in README.md and docs/commands.md: its commands, their output, and running them."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
COMMANDS = ROOT / "docs" / "commands.md"
PAGES = (README, COMMANDS)
"""One session, in this order."""
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Step:
    """A command and its output, as the pages have them."""

    command: str
    output: str


PROGRESS = re.compile(r"[\w-]+: [\d,]+ of [\d,]+ \w+, ")
"""A line now and then, on a machine so busy that it takes long."""


def session(text: str) -> Iterator[Step]:
    """The steps of all blocks, in order."""
    for block in BLOCK.findall(text):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            yield Step(command, output)


def furnish(directory: Path) -> None:
    """Copy the files of a checkout that the session needs."""
    shutil.copy(ROOT / "policies.yaml", directory)
    shutil.copytree(ROOT / "examples", directory / "examples")


def perform(command: str, directory: Path) -> str:
    """Output of a command, errors included, on 80 columns."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    result = subprocess.run(
        ["bash", "-c", command],
        cwd=directory,
        env={**os.environ, "PATH": path, "COLUMNS": "80"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    lines = [line for line in result.stdout.splitlines() if not PROGRESS.match(line)]
    return "".join(f"{line.rstrip()}\n" for line in lines)


def plain(text: str) -> str:
    """Without what differs from run to run: times, hashes, sizes, scores, spaces."""
    text = re.sub(r"\d{8}T\d{6}Z", "NOW", text)
    text = re.sub(r"\b(\d+)-[0-9a-f]{8}\b", r"\1-HASH", text)
    text = re.sub(r"\b\d+(\.\d+)? (s|min|h|d)( \d+ (s|min|h))?\b", "SPAN", text)
    text = re.sub(r"\b\d+(\.\d+)? (kB|MB)\b", "SIZE", text)
    text = re.sub(r"\b0\.\d{4}\b", "SCORE", text)  # its last digits are the processor's
    return " ".join(re.sub("─+", "─", text).split())


def written(text: str, directory: Path) -> str:
    """A page with the output of a run made now: `python -m tests.cli.readme` writes all."""

    def block(match: re.Match[str]) -> str:
        steps = session(match.group(0))
        transcript = "".join(f"$ {s.command}\n{perform(s.command, directory)}" for s in steps)
        return f"```console\n{transcript}```"

    return BLOCK.sub(block, text)


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        furnish(Path(scratch))
        for page in PAGES:
            page.write_text(written(page.read_text(), Path(scratch)))
