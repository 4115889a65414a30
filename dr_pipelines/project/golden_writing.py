"""A golden set → a file that somebody reads, judges and names in the policies."""

from pathlib import Path

import yaml

from dr_pipelines.errors import AlreadyExists, InvalidRequest
from dr_pipelines.model.golden import GoldenSet

HEAD = """\
# Proposed by `dr golden record`: what an exact search finds now. Judge each query before you
# name this file in the policies (docs/golden.md): take out what is no good answer, add what people
# ask, and set must_hold where nothing may be served while a query fails.
"""


def golden_text(golden: GoldenSet) -> str:
    """The set as YAML that `load_golden` reads, with a comment for whoever judges it."""
    value = golden.model_dump(mode="json", exclude_defaults=True)
    return HEAD + yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100)


def write_golden(golden: GoldenSet, path: Path) -> None:
    """Write a new file; raises `AlreadyExists` and leaves one that is there as it is,
    or `InvalidRequest` where it cannot be written."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(golden_text(golden))
    except FileExistsError as error:
        raise AlreadyExists(
            f"{path} exists, and is left as it is: name another file with --to"
        ) from error
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be written: {error.strerror}") from error
