"""The Dagster code location: assets open a project, call one verb and report what it said.

A checkout loads it as `assets`. The wheel carries it as `dr_pipelines_dagster`, for other code
locations to include: by `build_defs`, or by the component `DrPipelines`.
"""

try:
    import dagster as _  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "dagster":
        raise
    raise ModuleNotFoundError(
        "dr_pipelines_dagster needs Dagster. Run: pip install 'dr-pipelines[dagster]'",
        name="dagster",
    ) from None

from .builder import build_defs
from .component import DrPipelines

__all__ = ["DrPipelines", "build_defs"]
