"""The wheel, installed with what one store needs and nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import backed_up  # noqa: F401 - a fixture
from tests.packaging.conftest import ROOT

ABSENT = ("dagster", "pandera", "sentence_transformers", "tokenizers", "torch", "transformers")
PROBE = f"""
from importlib.util import find_spec
print([name for name in {ABSENT} if find_spec(name)])
"""


@pytest.mark.long
@pytest.mark.timeout(900)
def test_one_store_restores_without_dagster_and_models(
    wheel: Path,
    backed_up: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    pip: list[str | Path] = [sys.executable, "-m", "pip", "--python", python, "install", "-qq"]
    pins: list[str | Path] = ["-c", ROOT / "constraints.txt"]
    subprocess.run([*pip, *pins, f"dr-pipelines[pgvector] @ {wheel.as_uri()}"], check=True)

    def output_of(*command: str | Path, code: int = 0) -> str:
        result = subprocess.run(
            command,
            cwd=backed_up,
            env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert result.returncode == code, result.stdout
        return " ".join(result.stdout.split())

    dr = tmp_path / "venv" / "bin" / "dr"
    assert output_of(python, "-I", "-c", PROBE) == "[]"
    for path in (backed_up / "stores").glob("*.duckdb*"):
        path.unlink()
    assert "read back and compared" in output_of(dr, "restore", "notes", "--switch")
    assert "sound at level 3" in output_of(dr, "verify", "notes", "--level", "3")
    assert "pip install 'dr-pipelines[ingest]'" in output_of(dr, "ingest", "notes", code=2)
    assert "needs Dagster. Run: pip install 'dr-pipelines[dagster]'" in output_of(
        python, "-I", "-c", "import dr_pipelines_dagster", code=1
    )
