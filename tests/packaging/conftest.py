"""The wheel as it is published, unpacked beside the checkout and in front of it."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = "from hatchling.build import build_wheel; print(build_wheel('dist'))"


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the tree."""
    tree = tmp_path_factory.mktemp("tree")
    left_out = shutil.ignore_patterns("__pycache__")
    for name in ("dr_pipelines", "assets", "tests"):
        shutil.copytree(ROOT / name, tree / name, ignore=left_out)
    for name in ("dr_pipelines_dagster", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree, follow_symlinks=False)
    (tree / "dist").mkdir()
    built = subprocess.run(
        [sys.executable, "-c", BUILD], cwd=tree, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    return tree / "dist" / built.stdout.split()[-1]


@pytest.fixture(scope="session")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The installed layout of the wheel, for a PYTHONPATH."""
    directory = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(directory)
    return directory
