"""A Dagster project of somebody else's, laid out as `create-dagster project` does."""

from pathlib import Path

PROJECT = """\
[project]
name = "somebody"
version = "0.1.0"
requires-python = ">=3.11"

[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "somebody"
"""
DEFINITIONS = """\
from pathlib import Path

import dagster as dg


@dg.definitions
def defs():
    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
"""
OWN = """\
import dagster as dg


class Project(dg.ConfigurableResource):
    name: str = "mine"


@dg.asset(deps=[dg.AssetKey(["vectors", "notes", "recovery_point"])])
def report(project: Project) -> None:
    pass


@dg.job
def restore():
    pass


defs = dg.Definitions(
    assets=[report],
    jobs=[restore],
    resources={"project": Project()},
    executor=dg.in_process_executor,
)
"""
COMPONENT = """\
type: dr_pipelines_dagster.DrPipelines

attributes:
  collections: [notes]
  key_prefix: [vectors]
  group_name: protected
  name_prefix: vectors_
"""
POLICIES = """\
version: 1
repository: repository
stores:
  local: {url: "duckdb:stores"}
embedders:
  hashing: {kind: hashing, dimension: 8}
collections:
  notes:
    owner: team:search
    store: local
    source: {kind: jsonl, path: feed.jsonl}
    chunker: {kind: characters, size: 30}
    embedder: hashing
    partitions_start: 2026-01-05
    objectives: {rpo: 1h, rto: 30m}
  memories:
    owner: team:assistants
    authority: store
    store: local
    dimension: 4
    objectives: {rpo: 1h, rto: 30m}
"""


def scaffold(directory: Path) -> Path:
    """The project: assets of its own, and a folder with a component and its policies."""
    module = directory / "src" / "somebody"
    folder = module / "defs" / "vectors"
    folder.mkdir(parents=True)
    texts = {
        directory / "pyproject.toml": PROJECT,
        module / "__init__.py": "",
        module / "definitions.py": DEFINITIONS,
        module / "defs" / "__init__.py": "",
        module / "defs" / "own.py": OWN,
        folder / "defs.yaml": COMPONENT,
        folder / "policies.yaml": POLICIES,
    }
    for path, text in texts.items():
        path.write_text(text)
    return directory
