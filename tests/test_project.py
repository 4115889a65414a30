"""Rules for the project as a whole: imports, documentation, packaging, start-up."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.parameter_names import numbered

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("dr_pipelines", "assets")
ENGINES = frozenset({"chroma", "lancedb", "milvus", "pgvector", "qdrant"})
INSTALLED_EXTRAS = frozenset({"dev", "dagster", "embeddings", "golden", "minilm", "ui"}) | ENGINES
SELF_EVIDENT_LINES = 6
REACHING_IN = frozenset(
    f"tests/stores/test_{name}.py"
    for name in ("pgvector_hidden_calls", "pgvector_traps", "qdrant_numbers")
)
"""They replace parts of an adapter that have no public seam yet; the list only shrinks. Private
attributes are ruff's to see (`SLF` in pyproject.toml)."""
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


def _contracts() -> dict[str, str]:
    """Names of the import contracts by their ids."""
    return {c["id"]: c["name"] for c in _pyproject()["tool"]["importlinter"]["contracts"]}


def test_the_import_contracts_are_kept() -> None:
    result = _lint_imports(ROOT)
    assert f"Contracts: {len(_contracts())} kept, 0 broken." in result.stdout, result.stdout
    assert result.returncode == 0


@dataclass(frozen=True)
class Offender:
    """A module that breaks a contract, and how the contract's report names it."""

    path: str
    source: str
    contract: str
    reported: str


OFFENDERS = {
    "model-imports-protocols": Offender(
        "dr_pipelines/model/offender_a.py",
        "from dr_pipelines import protocols",
        "layers",
        "dr_pipelines.model.offender_a -> dr_pipelines.protocols",
    ),
    "planning-imports-protocols": Offender(
        "dr_pipelines/planning/offender_b.py",
        "import dr_pipelines.protocols",
        "layers",
        "dr_pipelines.planning.offender_b -> dr_pipelines.protocols",
    ),
    "stores-import-blobs": Offender(
        "dr_pipelines/stores/offender_c.py",
        "import dr_pipelines.blobs.memory",
        "layers",
        "dr_pipelines.stores.offender_c -> dr_pipelines.blobs.memory",
    ),
    "repository-imports-stores": Offender(
        "dr_pipelines/repository/offender_d.py",
        "import dr_pipelines.stores.memory",
        "layers",
        "dr_pipelines.repository.offender_d -> dr_pipelines.stores.memory",
    ),
    "model-imports-repository": Offender(
        "dr_pipelines/model/offender_e.py",
        "import dr_pipelines.repository.log",
        "layers",
        "dr_pipelines.model.offender_e -> dr_pipelines.repository.log",
    ),
    "module-without-a-place": Offender(
        "dr_pipelines/offender_f.py", "", "layers", "- dr_pipelines.offender_f\n"
    ),
    "model-imports-assets": Offender(
        "dr_pipelines/model/offender_g.py",
        "import assets",
        "edge",
        "dr_pipelines.model.offender_g -> assets",
    ),
    "model-imports-dagster-late": Offender(
        "dr_pipelines/model/offender_h.py",
        "def late():\n    import dagster",
        "dagster",
        "dr_pipelines.model.offender_h -> dagster",
    ),
    "repository-imports-testing": Offender(
        "dr_pipelines/repository/offender_i.py",
        "import dr_pipelines.testing",
        "testing",
        "dr_pipelines.repository.offender_i -> dr_pipelines.testing",
    ),
    "stores-import-duckdb": Offender(
        "dr_pipelines/stores/offender_j.py",
        "import duckdb",
        "duckdb",
        "dr_pipelines.stores.offender_j -> duckdb",
    ),
    "planning-imports-duckdb": Offender(
        "dr_pipelines/planning/offender_k.py",
        "import duckdb",
        "duckdb",
        "dr_pipelines.planning.offender_k -> duckdb",
    ),
    "stores-import-chromadb": Offender(
        "dr_pipelines/stores/offender_l.py",
        "import chromadb",
        "engines",
        "dr_pipelines.stores.offender_l -> chromadb",
    ),
    "beside-qdrant-imports-psycopg": Offender(
        "dr_pipelines/stores/qdrant_offender_m.py",
        "import psycopg",
        "engines",
        "dr_pipelines.stores.qdrant_offender_m -> psycopg",
    ),
    "repository-imports-psycopg-late": Offender(
        "dr_pipelines/repository/offender_n.py",
        "def late():\n    import psycopg",
        "engines",
        "dr_pipelines.repository.offender_n -> psycopg",
    ),
    "blobs-import-boto3-late": Offender(
        "dr_pipelines/blobs/offender_o.py",
        "def late():\n    import boto3",
        "boto3",
        "dr_pipelines.blobs.offender_o -> boto3",
    ),
    "blobs-import-botocore": Offender(
        "dr_pipelines/blobs/offender_p.py",
        "from botocore.config import Config",
        "boto3",
        "dr_pipelines.blobs.offender_p -> botocore",
    ),
    "repository-imports-torch": Offender(
        "dr_pipelines/repository/offender_q.py",
        "import torch.nn",
        "models",
        "dr_pipelines.repository.offender_q -> torch",
    ),
    "model-imports-sentence-transformers": Offender(
        "dr_pipelines/model/offender_r.py",
        "from sentence_transformers import models",
        "models",
        "dr_pipelines.model.offender_r -> sentence_transformers",
    ),
    "blobs-import-rich": Offender(
        "dr_pipelines/blobs/offender_s.py",
        "from rich.console import Console",
        "terminal",
        "dr_pipelines.blobs.offender_s -> rich",
    ),
    "model-imports-typer": Offender(
        "dr_pipelines/model/offender_t.py",
        "import typer",
        "terminal",
        "dr_pipelines.model.offender_t -> typer",
    ),
    "assets-import-duckdb": Offender(
        "assets/offender_u.py", "import duckdb", "duckdb", "assets.offender_u -> duckdb"
    ),
    "assets-import-boto3": Offender(
        "assets/offender_v.py", "import boto3", "boto3", "assets.offender_v -> boto3"
    ),
    "assets-import-torch": Offender(
        "assets/offender_w.py", "import torch", "models", "assets.offender_w -> torch"
    ),
    "assets-import-typer": Offender(
        "assets/offender_x.py", "import typer", "terminal", "assets.offender_x -> typer"
    ),
}


@pytest.fixture(scope="module")
def reports_by_contract(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The report on each broken contract, by its name, for one tree that holds all offenders."""
    root = tmp_path_factory.mktemp("offenders")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, root / package)
    shutil.copy(ROOT / "pyproject.toml", root)
    for offender in OFFENDERS.values():
        (root / offender.path).write_text(offender.source + "\n")
    result = _lint_imports(root)
    assert result.returncode != 0
    sections = re.split(r"^(.+)\n-{10,}\n", result.stdout, flags=re.MULTILINE)
    return dict(zip(sections[1::2], sections[2::2], strict=True))


def test_every_contract_has_an_offender() -> None:
    assert {offender.contract for offender in OFFENDERS.values()} == set(_contracts())


@pytest.mark.parametrize("name", OFFENDERS)
def test_an_import_that_breaks_a_contract_is_found(
    reports_by_contract: dict[str, str], name: str
) -> None:
    offender = OFFENDERS[name]
    assert offender.reported in reports_by_contract[_contracts()[offender.contract]]


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
    """True if a class only does differently what its base promises, as its name says."""
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


VERBS = ("live", "ingestion", "contents", "proof", "backup", "recovery", "upkeep", "monitoring")


def _questions_in_sql(modules: dict[str, ast.Module]) -> list[str]:
    """Places that write SQL, or reach for a database to send it to."""
    return [
        f"{path}:{node.lineno}"
        for path, tree in modules.items()
        for node in ast.walk(tree)
        if (isinstance(node, ast.Attribute) and node.attr in ("sql", "batches"))
        or (
            isinstance(node, ast.Constant)
            and re.match(r"\s*(SELECT|INSERT|CREATE|UPDATE|WITH|FROM) ", str(node.value))
        )
    ]


@pytest.mark.parametrize("room", VERBS)
def test_the_folds_database_is_asked_by_methods_alone(room: str) -> None:
    """SQL and the names of its tables stay in `repository`, where both are made."""
    assert _questions_in_sql(_modules(f"dr_pipelines/{room}")) == []


@pytest.mark.parametrize(
    "code",
    ["state.sql.execute(query)", 'ALL = """\n  SELECT * FROM records"""', "state.batches(q)"],
)
def test_a_question_in_sql_is_recognised(code: str) -> None:
    assert len(_questions_in_sql({"verb.py": ast.parse(code)})) == 1


# --- the tree --------------------------------------------------------------------------------


def test_the_project_speaks_of_itself_alone() -> None:
    paths = _tree()
    assert ROOT / "pyproject.toml" in paths
    offenders = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}"
        for path in paths
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1)
        if FOREIGN.search(line)
    ]
    assert offenders == []


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


def _private(name: object) -> bool:
    return isinstance(name, str) and bool(re.fullmatch(r"_[a-z]\w*", name))


def _reached_into(tree: ast.Module) -> Iterator[str]:
    """Private names of the project that a test imports, or replaces by their names: ruff's SLF sees
    those that it gets as attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGES):
            yield from (alias.name for alias in node.names if _private(alias.name))
        if isinstance(node, ast.Call) and len(node.args) > 1:
            names = [arg.value for arg in node.args[1:3] if isinstance(arg, ast.Constant)]
            called = ast.unparse(node.func)
            if called.endswith(("setattr", "before_first")):
                yield from (str(name) for name in names if _private(name))


def test_no_test_reaches_into_what_is_private() -> None:
    reached = {path: list(_reached_into(tree)) for path, tree in _modules("tests").items()}
    assert {path for path, names in reached.items() if names} == REACHING_IN


@pytest.mark.parametrize(
    "line",
    [
        "from dr_pipelines.repository.codec import _parse",
        'monkeypatch.setattr(codec, "_parse", None)',
        'before_first(monkeypatch, writes, "_merge", other)',
    ],
    ids=["import", "setattr", "before_first"],
)
def test_a_test_that_reaches_into_what_is_private_is_found(line: str) -> None:
    assert len(list(_reached_into(ast.parse(line)))) == 1


def test_no_id_of_a_test_is_a_number_that_pytest_gave(request: pytest.FixtureRequest) -> None:
    """Of all tests of this run: in the whole suite, of all there are."""
    assert request.node in request.session.items
    assert numbered(request.session.items) == []


def test_an_id_that_pytest_numbered_is_found(pytester: pytest.Pytester) -> None:
    items = pytester.getitems(
        "import pytest\n@pytest.mark.parametrize('case', [{}, 'plain'])\ndef test_it(case): pass"
    )
    assert numbered(items) == [items[0].nodeid]


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
        package = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if package in seen:
            continue
        seen.add(package)
        inner = [Requirement(line) for line in _requirements(package[0])]
        queue += [r for r in inner if _applies(r, package[1])]
    return {name for name, _ in seen}


def _pins() -> dict[str, Version]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): Version(version) for name, version in pairs}


def test_every_requirement_is_pinned_and_nothing_else() -> None:
    assert set(_pins()) == _closure()


def test_what_make_install_installs_is_every_extra_but_parts_of_others() -> None:
    optional = _pyproject()["project"]["optional-dependencies"]
    extras = re.search(r"-e '\.\[(.+)\]'", (ROOT / "Makefile").read_text())
    assert extras is not None
    assert set(extras.group(1).split(",")) == INSTALLED_EXTRAS
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
