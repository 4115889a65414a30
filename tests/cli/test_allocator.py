"""The setting of the allocator is shown where the machine is looked at."""

import os
from dataclasses import asdict

from dr_pipelines.host.allocator import retain_memory
from tests.cli.workplace import Workplace


def test_status_says_what_was_chosen(fresh: Workplace) -> None:
    allocator = fresh.dr("status", "--json").json["allocator"]
    assert allocator == asdict(retain_memory(os.environ))
