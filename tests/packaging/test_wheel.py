"""The contents of the wheel, and how another code location includes it."""

import importlib
import json
import os
import re
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from tests.packaging.conftest import ROOT
from tests.packaging.somebody import POLICIES, scaffold

DAILY = ("documents", "chunks", "embeddings", "collection")
INCLUDED = {f"vectors/notes/{name}" for name in (*DAILY, "snapshot", "recovery_point")}
CHECKS = {"schema", "counts", "provenance", "partition_digests", "equal", "restorable"}
DG = "from dagster_dg_cli.cli import main; main()"
LOADED = """
import json, sys
import dr_pipelines, dr_pipelines_dagster
from dagster.components.core.package_entry import discover_entry_point_package_objects
from somebody.definitions import defs

loaded = defs()
repository = loaded.get_repository_def()
repository.load_all_definitions()
print(json.dumps({
    "from": [dr_pipelines.__file__, dr_pipelines_dagster.__file__],
    "assets": [spec.key.to_user_string() for spec in loaded.resolve_all_asset_specs()],
    "groups": sorted({spec.group_name for spec in loaded.resolve_all_asset_specs()}),
    "jobs": [job.name for job in loaded.resolve_all_job_defs()],
    "sensors": [sensor.name for sensor in repository.sensor_defs],
    "components": [key.to_typename() for key in discover_entry_point_package_objects()],
}))
"""


def modules(package: str, *, called: str) -> set[str]:
    paths = {path.relative_to(ROOT / package) for path in (ROOT / package).rglob("*.py")}
    return {f"{called}/{path.as_posix()}" for path in paths}


def test_the_wheel_holds_the_package_and_the_assets_under_a_name_of_their_own(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()

    assert {name.split("/")[0] for name in names} == {
        "dr_pipelines",
        "dr_pipelines_dagster",
        f"dr_pipelines-{metadata.version('dr-pipelines')}.dist-info",
    }
    assert {name for name in names if name.endswith(".py")} == (
        modules("dr_pipelines", called="dr_pipelines")
        | modules("assets", called="dr_pipelines_dagster")
    )


def test_the_wheel_says_that_its_annotations_may_be_relied_on(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {"dr_pipelines/py.typed", "dr_pipelines_dagster/py.typed"} <= set(names)


def test_a_project_of_somebody_else_includes_the_assets(unpacked: Path, tmp_path: Path) -> None:
    project = scaffold(tmp_path / "project")
    path = os.pathsep.join([str(unpacked), str(project / "src")])

    result = subprocess.run(
        [sys.executable, "-c", LOADED],
        cwd=project,
        env=os.environ | {"PYTHONPATH": path, "DAGSTER_HOME": ""},
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stderr
    loaded: dict[str, Any] = json.loads(result.stdout)
    assert all(place.startswith(str(unpacked)) for place in loaded["from"])
    assert set(loaded["assets"]) == INCLUDED | {"report"}
    assert loaded["groups"] == ["default", "protected"]
    assert {"restore", "vectors_restore", "vectors_ingest_notes", "vectors_snapshot_notes"} <= set(
        loaded["jobs"]
    )
    assert loaded["sensors"] == ["vectors_rpo_notes"]
    assert "dr_pipelines_dagster.DrPipelines" in loaded["components"]


@pytest.mark.long
def test_dg_checks_and_lists_them_where_the_wheel_is_installed(wheel: Path, tmp_path: Path) -> None:
    project = scaffold(tmp_path / "project")
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    python = venv / "bin" / "python"
    pip: list[str | Path] = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--no-index", wheel], check=True)
    site = next((venv / "lib").glob("python3*")) / "site-packages"
    others = [path for path in sys.path if path.endswith("site-packages")]
    (site / "others.pth").write_text("\n".join([*others, str(project / "src")]) + "\n")

    def dg(*words: str) -> str:
        result = subprocess.run(
            [python, "-c", DG, *words],
            cwd=project,
            env={k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "DAGSTER_HOME")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    dg("check", "yaml")
    dg("check", "defs")
    listed = json.loads(dg("list", "defs", "--json"))
    assert {asset["asset_key"] for asset in listed["assets"]} == INCLUDED | {"report"}
    assert {check["name"] for check in listed["asset_checks"]} >= CHECKS
    assert "dr_pipelines_dagster.DrPipelines" in dg("list", "components", "--json")


def blocks(kind: str) -> list[str]:
    """The README's blocks in a language that are about the assets."""
    fenced = re.findall(rf"```{kind}\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return [block for block in fenced if "dr_pipelines_dagster" in block]


@pytest.fixture
def furnished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "policies.yaml").write_text(POLICIES)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("way", ["component", "call"])
def test_the_readme_includes_the_assets(furnished: Path, way: str) -> None:
    if way == "component":
        ((kind, attributes),) = [yaml.safe_load(b).values() for b in blocks("yaml")]
        package, _, name = kind.rpartition(".")
        component = getattr(importlib.import_module(package), name).model_validate(attributes)
        defs = component.build_defs(SimpleNamespace(path=furnished))
    else:
        (code,) = blocks("python")
        names: dict[str, Any] = {}
        exec(code, names)
        defs = names["defs"]

    keys = {spec.key.to_user_string() for spec in defs.resolve_all_asset_specs()}
    assert keys >= INCLUDED
    assert "vectors/memories/recovery_point" in keys
