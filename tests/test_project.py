"""What holds for the project as a whole: imports, documentation, packaging, start-up."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("dr_pipelines", "assets")
ENGINES = frozenset({"chroma", "lancedb", "milvus", "pgvector", "qdrant"})
INSTALLED_EXTRAS = frozenset({"dev", "dagster", "embeddings", "minilm", "ui"}) | ENGINES
SELF_EVIDENT_LINES = 6
HEAVY = frozenset(
    [
        "boto3",
        "botocore",
        "dagster",
        "duckdb",
        "pandas",
        "pandera",
        "sentence_transformers",
        "torch",
        "transformers",
    ]
)
# A bracket in each word keeps these lines from finding themselves.
FOREIGN = re.compile(
    r"/w[o]rk/|/f[a]rm/|/r[o]ot/|/h[o]me/\w|/Us[e]rs/\w|p[y]pi[.]org|python[h]osted|d[e]b[.]debian"
    r"|npm[j]s[.]org|s[u]bagent|this s[e]ssion|developers?.? s[e]ssion",
    re.IGNORECASE,
)


def _modules(package: str, root: Path = ROOT) -> dict[str, ast.Module]:
    paths = sorted((root / package).rglob("*.py"))
    assert paths, f"{package} has no modules: this check would look at nothing"
    return {str(p.relative_to(root)): ast.parse(p.read_text()) for p in paths}


def _tree() -> list[Path]:
    """Everything that is in the repository, or would be after `git add .`."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    paths = [ROOT / name for name in listing.stdout.split("\0") if name]
    return [path for path in paths if path.is_file()]


def _pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


# --- who may import whom ---------------------------------------------------------------------


def _lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(
        [program, "--no-cache"], cwd=root, capture_output=True, text=True, check=False
    )


def _broken(report: str) -> list[str]:
    return re.findall(r"^(.+) BROKEN", report, flags=re.MULTILINE)


@pytest.fixture
def copied_tree(tmp_path: Path) -> Path:
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_import_contracts_are_kept() -> None:
    result = _lint_imports(ROOT)
    kept = len(_pyproject()["tool"]["importlinter"]["contracts"])
    assert f"Contracts: {kept} kept, 0 broken." in result.stdout, result.stdout + result.stderr
    assert result.returncode == 0


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("model/offender.py", "from dr_pipelines import protocols", "layers"),
        ("planning/offender.py", "import dr_pipelines.protocols", "layers"),
        ("stores/offender.py", "import dr_pipelines.blobs.memory", "layers"),
        ("repository/offender.py", "import dr_pipelines.stores.memory", "layers"),
        ("model/offender.py", "import dr_pipelines.repository.log", "layers"),
        ("offender.py", "", "layers"),  # a module that nobody has given a place
        ("model/offender.py", "import assets", "edge"),
        ("model/offender.py", "def late():\n    import dagster", "dagster"),
        ("repository/offender.py", "import dr_pipelines.testing", "testing"),
        ("stores/offender.py", "import duckdb", "duckdb"),
        ("planning/offender.py", "import duckdb", "duckdb"),
        ("stores/offender.py", "import chromadb", "engines"),
        ("stores/qdrant_offender.py", "import psycopg", "engines"),
        ("repository/offender.py", "def late():\n    import psycopg", "engines"),
        ("blobs/offender.py", "def late():\n    import boto3", "boto3"),
        ("blobs/offender.py", "from botocore.config import Config", "boto3"),
        ("repository/offender.py", "import torch.nn", "models"),
        ("model/offender.py", "from sentence_transformers import models", "models"),
        ("blobs/offender.py", "from rich.console import Console", "terminal"),
        ("model/offender.py", "import typer", "terminal"),
    ],
)
def test_an_import_that_breaks_a_contract_is_found(
    copied_tree: Path, module: str, line: str, contract: str
) -> None:
    path = copied_tree / "dr_pipelines" / module
    path.parent.mkdir(exist_ok=True)
    path.write_text(line + "\n")
    contracts = {c["id"]: c["name"] for c in _pyproject()["tool"]["importlinter"]["contracts"]}

    result = _lint_imports(copied_tree)

    assert contracts[contract] in _broken(result.stdout), result.stdout + result.stderr
    assert "offender" in result.stdout
    assert result.returncode != 0


@pytest.mark.parametrize("vendor", ["duckdb", "boto3", "torch", "typer"])
def test_an_asset_that_knows_a_vendor_is_found(copied_tree: Path, vendor: str) -> None:
    (copied_tree / "assets" / "offender.py").write_text(f"import {vendor}\n")
    assert f"assets.offender -> {vendor}" in _lint_imports(copied_tree).stdout


# --- documentation ---------------------------------------------------------------------------

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def _public(body: list[ast.stmt]) -> Iterator[Definition]:
    for node in body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from _public(node.body)


def _is_protocol(node: ast.stmt) -> bool:
    return isinstance(node, ast.ClassDef) and any(
        isinstance(base, ast.Name) and base.id == "Protocol" for base in node.bases
    )


def _promised(modules: dict[str, ast.Module]) -> set[str]:
    """Names of methods whose contract stands in a protocol, once for all that implement it."""
    protocols = [node for tree in modules.values() for node in tree.body if _is_protocol(node)]
    return {
        method.name
        for protocol in protocols
        if isinstance(protocol, ast.ClassDef)
        for method in protocol.body
        if isinstance(method, ast.FunctionDef)
    }


def _lines(node: Definition) -> int:
    return (node.body[-1].end_lineno or 0) - node.body[0].lineno + 1


def _is_variation(node: Definition, promised: set[str]) -> bool:
    """Whether all that a class does is to do what its base promises otherwise, as its name says."""
    if not isinstance(node, ast.ClassDef) or not node.bases or _is_protocol(node):
        return False
    methods = {method.name for method in _public(node.body)}
    return bool(methods) and methods <= promised


def _undocumented(modules: dict[str, ast.Module]) -> list[str]:
    """Public definitions that are neither documented, short, promised by a protocol, variations of
    something that is, nor the sentences of a contract suite."""
    promised = _promised(modules)
    return [
        f"{path}:{node.lineno} {node.name}"
        for path, tree in modules.items()
        for node in _public(tree.body)
        if not ast.get_docstring(node)
        and (_lines(node) > SELF_EVIDENT_LINES or _is_protocol(node))
        and node.name not in promised
        and not _is_variation(node, promised)
        and not node.name.startswith("test_")
    ]


def test_every_module_says_what_it_is_for() -> None:
    modules = {**_modules("dr_pipelines"), **_modules("assets")}
    assert [path for path, tree in modules.items() if not ast.get_docstring(tree)] == []


def test_public_names_are_documented() -> None:
    assert _undocumented(_modules("dr_pipelines")) == []
    assert _undocumented(_modules("assets")) == []


def test_a_public_name_without_documentation_is_found() -> None:
    source = (ROOT / "dr_pipelines/blobs/capabilities.py").read_text()
    tree = ast.parse(source)
    documented = [n for n in _public(tree.body) if ast.get_docstring(n)]
    large = next(n for n in documented if _lines(n) > SELF_EVIDENT_LINES + 3)
    del large.body[0]
    assert _undocumented({"capabilities.py": tree}) == [
        f"capabilities.py:{large.lineno} {large.name}"
    ]


def test_assets_do_not_postpone_annotations() -> None:
    """Dagster reads annotations when it decorates; postponed ones are strings to it."""
    postponed = [
        path
        for path, tree in _modules("assets").items()
        if any(isinstance(n, ast.ImportFrom) and n.module == "__future__" for n in ast.walk(tree))
    ]
    assert postponed == []


# --- the tree --------------------------------------------------------------------------------


def test_the_project_speaks_of_itself_alone() -> None:
    paths = _tree()
    assert ROOT / "pyproject.toml" in paths
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}"
        for path in paths
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1)
        if FOREIGN.search(line)
    ]
    assert found == []


@pytest.mark.parametrize(
    "text",
    ["see /w" + "ork/main/README.md", "from https://p" + "ypi.org/simple", "/ho" + "me/ada/x"],
)
def test_a_word_of_some_other_place_is_recognised(text: str) -> None:
    assert FOREIGN.search(text)


def _named_in_the_tree(text: str) -> list[str]:
    """Modules and packages in the drawing of the architecture, which ends each name's column with
    two spaces."""
    drawing = text.split("## The tree")[1].split("```")[1]
    rows = re.findall(r"^├── (.+?)(?:  |$)|^└── (.+?)(?:  |$)", drawing, flags=re.MULTILINE)
    return sorted(name for row in rows for name in "".join(row).split())


def test_the_architecture_names_every_module_and_no_other() -> None:
    entries = (ROOT / "dr_pipelines").iterdir()
    packages = {f"{path.name}/" for path in entries if (path / "__init__.py").is_file()}
    modules = {path.name for path in (ROOT / "dr_pipelines").glob("*.py")} - {"__init__.py"}
    named = _named_in_the_tree((ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"))
    assert named == sorted(packages | modules)


# --- packaging -------------------------------------------------------------------------------


def _applies(requirement: Requirement, extras: frozenset[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": e}) for e in extras | {""})


def _requirements(name: str) -> list[str]:
    try:
        return metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return []


def _closure() -> set[str]:
    """Canonical names of everything that `make install` asks for, directly or not."""
    project = _pyproject()["project"]
    optional = project["optional-dependencies"]
    lines = [*project["dependencies"], *(r for e in INSTALLED_EXTRAS for r in optional[e])]
    queue = [Requirement(line) for line in lines]
    seen: set[tuple[str, frozenset[str]]] = set()
    while queue:
        requirement = queue.pop()
        wanted = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if wanted in seen:
            continue
        seen.add(wanted)
        inner = [Requirement(line) for line in _requirements(wanted[0])]
        queue += [r for r in inner if _applies(r, wanted[1])]
    return {name for name, _ in seen}


def _pins() -> dict[str, Version]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): Version(version) for name, version in pairs}


def test_every_requirement_is_pinned_and_nothing_else() -> None:
    assert set(_pins()) == _closure()


def test_what_make_install_installs_is_every_extra_but_parts_of_others() -> None:
    optional = _pyproject()["project"]["optional-dependencies"]
    asked = re.search(r"-e '\.\[(.+)\]'", (ROOT / "Makefile").read_text())
    assert asked is not None
    assert set(asked.group(1).split(",")) == INSTALLED_EXTRAS
    installed = {line for extra in INSTALLED_EXTRAS for line in optional[extra]}
    assert {line for lines in optional.values() for line in lines} == installed


# --- start-up --------------------------------------------------------------------------------


@pytest.mark.parametrize("module", ["dr_pipelines.cli", "dr_pipelines.project.adapters"])
def test_starting_loads_no_engine(module: str) -> None:
    program = f"import sys, {module}; print(*sorted(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    loaded = set(result.stdout.split())
    assert module in loaded
    assert loaded & HEAVY == set()
