"""The Dagster code location: assets open a project, call one verb and report what it said.

Where things are: `documents`, `chunks`, `embeddings`, `collections` and `snapshots` are the assets;
`checks`, `jobs`, `restores` and `sensors` the rest that users see. A new check is a function in
`checks`, a new figure a line in `metadata`. `declare` is how assets are declared, `tracked` the
collection as all of these see it. Sensors ask `runs` which runs of Dagster there are, `run_process`
whether their processes live, and `outside_runs` what was done without Dagster. `failures` shows
errors; `builder`, `component` and `definitions` put everything together.

A checkout loads it as `assets`. The wheel carries it as `dr_pipelines_dagster`, for other code
locations to include: by `build_defs`, or by the component `DrPipelines`.
"""

try:
    import dagster as _  # noqa: F401 - looked for, so that its absence is said in one sentence
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
