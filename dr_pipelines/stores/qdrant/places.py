"""What the drivers have in common."""

import os
from collections.abc import Mapping
from pathlib import Path

from dr_pipelines.errors import Refused


def refuse_served(name: str, aliases: Mapping[str, str]) -> None:
    """Raise `Refused` where an alias stands for the collection."""
    pointing = sorted(alias for alias, target in aliases.items() if target == name)
    if pointing:
        raise Refused(f"{name!r} is served as {pointing}; promote another collection first")


def size_of(directory: Path) -> int:
    """Bytes on disk; files that vanish meanwhile do not count."""
    total = 0
    for folder, _, files in os.walk(directory):
        for file in files:
            try:
                total += (Path(folder) / file).stat().st_blocks * 512
            except FileNotFoundError:
                continue
    return total
