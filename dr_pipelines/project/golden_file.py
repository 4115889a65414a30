"""A file of golden queries → `GoldenSet`, or every problem of it at once, each with its place."""

import json
from pathlib import Path

from pydantic import ValidationError

from dr_pipelines.model.golden import GoldenSet
from dr_pipelines.project.policy_file import InvalidPolicy, in_lines, problems_of, text_of
from dr_pipelines.project.policy_places import START, Problem, read_document

WAY_OUT = "docs/golden.md says how one is written"


def load_golden(path: Path) -> GoldenSet:
    """Read and check a file of golden queries.

    Raises `InvalidPolicy`, whose text has a line `file:line:column: key: found …, expected …` for
    every problem, in the order of the file.
    """
    document = read_document(text_of(path, what="golden queries", way_out=WAY_OUT))
    problems = document.problems
    if not problems and not document.spots:
        problems = [Problem(START, (), f"the file is empty; {WAY_OUT}")]
    if not problems:
        try:
            return GoldenSet.model_validate_json(json.dumps(document.value))
        except ValidationError as error:
            problems = problems_of(document, error, GoldenSet.model_json_schema())
    raise InvalidPolicy(in_lines(path, problems))
