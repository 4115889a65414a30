"""Where configuration becomes objects; the only clocks of this code location.

What a run needs of the world is opened here and handed to a verb. No decision belongs here.
"""

import os
import time
from datetime import datetime
from functools import cache
from pathlib import Path

import dagster as dg

from dr_pipelines.host.allocator import retain_memory
from dr_pipelines.project.process import now
from dr_pipelines.project.project import Project, open_project

PROJECT = "dr_project"
"""The key of the resource, and so the parameter's name in every asset, check, op and sensor."""
POLICIES_VARIABLE = "DR_POLICIES"
POLICIES_DEFAULT = "policies.yaml"


class ProjectResource(dg.ConfigurableResource[None]):
    """The project of a policies file, opened anew for every step: nothing is shared by processes
    but the repository, the stores and the locks."""

    policies: str

    def open(self) -> Project:
        """Read the policies; raises `InvalidPolicy`."""
        retain_memory(os.environ)
        return open_project(Path(self.policies), os.environ)

    def now(self) -> datetime:
        """The current time, aware, in UTC."""
        return now()

    def elapsed(self) -> float:
        """Seconds of a clock that never goes back, for measuring."""
        return time.monotonic()


@cache
def project_resource(policies: str) -> ProjectResource:
    """The one resource of a policies file: Dagster takes two for a conflict, although they are
    equal, where a code location includes some collections here and others there."""
    return ProjectResource(policies=policies)


def policies_path() -> Path:
    """The file that `DR_POLICIES` names, or `policies.yaml` in the working directory."""
    return Path(os.environ.get(POLICIES_VARIABLE) or POLICIES_DEFAULT).absolute()
