"""This checkout's code location: every collection of the policies in force, and nothing else."""

import dagster as dg

from .builder import build_defs
from .resources import policies_path


@dg.definitions
def defs() -> dg.Definitions:
    """The definitions of the policies file in force; raises `InvalidPolicy` with all its
    problems."""
    return build_defs(policies_path(), executor=dg.in_process_executor)
