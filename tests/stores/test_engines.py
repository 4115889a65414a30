"""An engine states what it is in its own package; nothing else knows its name."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dr_pipelines.errors import InvalidRequest
from dr_pipelines.project.adapters import PolicyContext
from dr_pipelines.project.proposal.subject import StoreSubject, subject_of
from dr_pipelines.stores import engines
from dr_pipelines.stores.shared.engine import Engine, Location, Scheme
from tests.engines import ENGINES

ROOT = Path(__file__).parents[2]
ENGINE_NAMES = re.compile(
    r"(?i)(?<![a-z])lance|pgvector|postgres|psycopg|qdrant|milvus|chroma|duckdb"
)
ROOMS_OF_STORES = ("stores", "testing")
LIBRARY = {"duckdb"}
"""The fold is computed by DuckDB as a library: `repository` may import it, and say so."""


def names_of_engines(source: str) -> Iterator[str]:
    """Names and texts of a module that name an engine; docstrings and comments are prose."""
    tree = ast.parse(source)
    prose = {id(docstring) for docstring in _docstrings(tree)}
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if id(node) not in prose:
                yield from ENGINE_NAMES.findall(text)
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                yield from ENGINE_NAMES.findall(name)
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.alias(name=name):
                yield from ENGINE_NAMES.findall(name)
            case ast.ImportFrom(module=str(name)) | ast.keyword(arg=str(name)):
                yield from ENGINE_NAMES.findall(name)


def _docstrings(tree: ast.Module) -> Iterator[ast.Constant]:
    """Texts that are statements of their own."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node.value


def test_only_an_adapter_knows_the_name_of_its_engine() -> None:
    knowing = {}
    for path in [*(ROOT / "dr_pipelines").rglob("*.py"), *(ROOT / "assets").rglob("*.py")]:
        room = path.relative_to(ROOT).parts[1]
        if room in ROOMS_OF_STORES:
            continue
        names_used = {name.lower() for name in names_of_engines(path.read_text())}
        names_used -= LIBRARY if room == "repository" else set()
        if names_used:
            knowing[path.relative_to(ROOT).as_posix()] = sorted(names_used)
    assert knowing == {}


@pytest.mark.parametrize(
    "source",
    [
        "if engine == 'pgvector': pass",
        "import qdrant_client",
        "from dr_pipelines.stores.chroma import address",
        "from dr_pipelines.stores import milvus",
        "open(lancedb=1)",
        "def open_postgres(): pass",
        "url = f'duckdb:{directory}'",
    ],
)
def test_a_name_of_an_engine_is_seen_wherever_it_stands(source: str) -> None:
    assert list(names_of_engines(source)) != []


def test_every_engine_is_here_by_its_own_name() -> None:
    assert sorted(engines.own_engines()) == sorted(ENGINES)
    urls = [scheme.name for scheme in engines.schemes()]
    assert len(urls) == len(set(urls))


def test_reading_what_engines_state_imports_none_of_them() -> None:
    program = (
        "import sys; from dr_pipelines.stores import engines; engines.own_engines();"
        "print(*sorted(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = set(result.stdout.split())
    clients = {name for engine in engines.own_engines().values() for name in engine.packages}
    assert loaded & (clients | {"pyarrow", "numpy", "duckdb", "pydantic"}) == set()


@pytest.mark.parametrize(
    ("location", "good", "bad"),
    [
        (Location.SERVER, "x://host", ["x:host", "x://", "y://host", "x://a\nb"]),
        (Location.DIRECTORY, "x:place", ["x:", "y:place", "xx:place"]),
        (Location.MEMORY, "x:", ["x:place", "x"]),
    ],
)
def test_a_scheme_says_which_urls_are_its_own(
    location: Location, good: str, bad: list[str]
) -> None:
    scheme = Scheme(name="x", location=location, forms=("x",))
    assert scheme.fits(good)
    assert not any(scheme.fits(url) for url in bad)


# --- an engine that another package brings ----------------------------------------------------


def installed(directory: Path, module: str, *, name: str = "parquet") -> None:
    """Play that a package is installed, in a directory of the search path: a module and its entry
    point, as `pip` would leave them."""
    facts = directory / f"dr_{name}-1.0.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: dr-{name}\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(f"[dr_pipelines.engines]\n{name} = {module}\n")


def engine(name: str, scheme: str) -> Engine:
    return Engine(
        name=name,
        title=name,
        schemes=(Scheme(name=scheme, location=Location.DIRECTORY, forms=(scheme,)),),
        open=engines.MEMORY.open,
    )


TAKEN = engine("mine", "duckdb")
SAME = engine("duckdb", "mine")


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("tests.stores.test_engines:TAKEN", "'duckdb' is taken by another one"),
        ("tests.stores.test_engines:SAME", "'duckdb' is taken by another one"),
        ("tests.stores.test_engines:ROOT", "is no Engine"),
        ("tests.stores.test_engines:NONE", "cannot be loaded"),
        ("no_such_module:ENGINE", "cannot be loaded: No module named 'no_such_module'"),
    ],
)
def test_an_engine_that_cannot_be_is_refused_by_the_name_of_its_package(
    module: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(tmp_path, module, name="strange")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InvalidRequest, match=re.escape(message)) as refused:
        engines.engines()
    assert "dr-strange" in str(refused.value)
    assert engines.find_scheme("duckdb") is not None  # those of this package work
    subject = subject_of("duckdb:stores", PolicyContext(Path()))
    assert subject == StoreSubject("duckdb:stores", "duckdb:stores", {})
