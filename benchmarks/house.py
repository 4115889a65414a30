"""Measure the source tree itself: entries, imports, sizes, parameters only passed on, vocabulary.

    python benchmarks/house.py [TREE] [--ids] [--add "NAME=VALUE" …] [--json FILE]
    python benchmarks/house.py BEFORE.json AFTER.json

The same program measures any commit that was exported into a directory, so two measurements can be
compared. It uses the standard library alone and imports nothing of the tree; `--ids` has the tree's
own pytest collect. Code means `dr_pipelines` and `assets`; imports are those inside `dr_pipelines`,
whether they stand at the top of a module, inside a function or under TYPE_CHECKING.
"""

import argparse
import ast
import json
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import UnionType

PACKAGE = "dr_pipelines"
CODE = (PACKAGE, "assets")
COUNTED = (*CODE, "tests", "benchmarks", "examples")
DIALECT = {"found", "said", "kept", "known", "wanted", "held", "asked", "given", "told"}
"""Names that say how a value came about and not what it is: `hits`, `message` or `expected` do."""

Figures = dict[str, dict[str, int | str]]  # section → row → figure
Modules = Mapping[Path, ast.Module]  # by path relative to the tree
Arrows = set[tuple[str, str]]  # (importer, imported)
Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = Function | ast.ClassDef


def measure(tree: Path) -> Figures:
    """Everything that can be read from the files of `tree`."""
    modules = {p.relative_to(tree): ast.parse(p.read_text()) for p in _files(tree, *CODE)}
    house = {path: module for path, module in modules.items() if path.parts[0] == PACKAGE}
    entries, packages = _arrows(house, _entry), _arrows(house, _package)
    sizes = {path: _lines(tree / path) for path in modules}
    nodes = [node for module in modules.values() for node in ast.walk(module)]
    functions = [node for node in nodes if isinstance(node, Function)]
    lengths = _lengths(modules, Function)
    docstrings = (
        ast.get_docstring(n) or "" for n in nodes if isinstance(n, Definition | ast.Module)
    )
    words = Counter(name for node in nodes for name in bound_names(node) if name in DIALECT)
    return {
        "figures": {
            "entries of `ls dr_pipelines`": len(list(_listed(tree / PACKAGE))),
            "rooms": len({path.parts[1] for path in house if len(path.parts) > 2}),
            "packages at every depth": len({path.parent for path in house}),
            "arrows between entries": len(entries),
            "arrows between packages": len(packages),
            "entries in circles": len(_in_circles(entries)),
            "floors (longest chain of entries)": _floors(entries),
            "layers of the import contract": _layers(tree / "pyproject.toml"),
            "modules": len(modules),
            "modules over 300 lines": sum(lines > 300 for lines in sizes.values()),
            "modules over 400 lines": sum(lines > 400 for lines in sizes.values()),
            "largest module": _largest({p.as_posix(): lines for p, lines in sizes.items()}),
            "largest function": _largest(lengths),
            "largest class": _largest(_lengths(modules, ast.ClassDef)),
            "functions": len(functions),
            "functions over 20 lines": sum(lines > 20 for lines in lengths.values()),
            "parameters": sum(len(parameters(function)) for function in functions),
            "parameters only passed on": sum(len(passed_on(f)) for f in functions),
            "… each time as the keyword of their name": sum(
                sum(passed_on(f).values()) for f in functions
            ),
            'docstrings that begin with "What" or "Whether"': sum(
                bool(re.match(r"(?:What|Whether)\b", text)) for text in docstrings
            ),
            "names in dialect": words.total(),
            "sentences in docs": sum(sentences(page.read_text()) for page in _pages(tree)),
        },
        "lines": {name: sum(map(_lines, _files(tree, name))) for name in COUNTED},
        "lines by package": _counted(p.parent.as_posix() for p in modules for _ in range(sizes[p])),
        "arrows out of": _counted(source for source, _ in entries),
        "arrows into": _counted(target for _, target in entries),
        "names in dialect": _counted(words.elements()),
    }


def collected(tree: Path) -> int:
    """How many tests `make test` runs in `tree`, as this interpreter's pytest collects them."""
    options = ["--collect-only", "-q", "-m", "not long", "-o", "addopts=", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *options]
    result = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    total = re.search(r"^(\d+)(?:/\d+)? tests? collected", result.stdout, flags=re.MULTILINE)
    if result.returncode or total is None:
        raise SystemExit(f"pytest could not collect {tree}:\n{result.stdout}{result.stderr}")
    return int(total.group(1))


# --- files -----------------------------------------------------------------------------------


def _files(tree: Path, *names: str) -> list[Path]:
    return [path for name in names for path in sorted((tree / name).rglob("*.py"))]


def _listed(directory: Path) -> Iterator[str]:
    """As `ls` lists it, but for the interpreter's cache."""
    names = (path.name for path in directory.iterdir())
    return (name for name in names if not name.startswith(".") and name != "__pycache__")


def _pages(tree: Path) -> list[Path]:
    return [*sorted(tree.glob("*.md")), *sorted((tree / "docs").rglob("*.md"))]


def _lines(path: Path) -> int:
    return len(path.read_text().splitlines())


def sentences(markdown: str) -> int:
    """Sentences outside code blocks, by the full stops, question and exclamation marks."""
    prose = re.sub(r"^```.*?^```", "", markdown, flags=re.DOTALL | re.MULTILINE)
    return len(re.findall(r"[.!?][)*_\"]*(?=\s|$)", prose))


# --- imports ---------------------------------------------------------------------------------


def _entry(path: Path) -> str:
    """The room, or the module beside the rooms, where a module lies."""
    return path.parts[1]


def _package(path: Path) -> str:
    return path.parent.as_posix()


def _arrows(house: Modules, unit: Callable[[Path], str]) -> Arrows:
    """Distinct imports of one unit by another."""
    names = {_dotted(path): path for path in house}
    pairs = {
        (unit(path), unit(names[name]))
        for path, module in house.items()
        for name in _imports(path, module, names.keys())
    }
    return {(importer, imported) for importer, imported in pairs if importer != imported}


def _dotted(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(path: Path, module: ast.Module, names: Iterable[str]) -> Iterator[str]:
    """Those of `names` that a module imports, or imports something from."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from {alias.name for alias in node.names}.intersection(names)
        elif isinstance(node, ast.ImportFrom):
            above = path.parts[: -node.level] if node.level else ()
            base = ".".join([*above, *filter(None, [node.module])])
            inside = {f"{base}.{alias.name}" for alias in node.names}.intersection(names)
            yield from inside or {base}.intersection(names)


def _below(arrows: Arrows) -> dict[str, set[str]]:
    """Everything that each unit imports, directly or through others."""
    below = {unit: {t for s, t in arrows if s == unit} for pair in arrows for unit in pair}
    for middle in below:
        for reached in below.values():
            if middle in reached:
                reached |= below[middle]
    return below


def _in_circles(arrows: Arrows) -> set[str]:
    return {unit for unit, reached in _below(arrows).items() if unit in reached}


def _floors(arrows: Arrows) -> int:
    """Units in the longest chain of imports; those that import each other share a floor."""
    below = _below(arrows)

    @cache
    def floor(unit: str) -> int:
        return 1 + max((floor(t) for t in below[unit] if unit not in below[t]), default=0)

    return max(map(floor, below), default=1)


def _layers(pyproject: Path) -> int:
    contracts = tomllib.loads(pyproject.read_text())["tool"]["importlinter"]["contracts"]
    return max(len(c["layers"]) for c in contracts if c["type"] == "layers")


# --- definitions -----------------------------------------------------------------------------


def _lengths(modules: Modules, kind: type[Definition] | UnionType) -> dict[str, int]:
    """Lines of each definition, without its decorators."""
    return {
        f"{path.as_posix()}:{node.lineno} {node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path, module in modules.items()
        for node in ast.walk(module)
        if isinstance(node, Definition) and isinstance(node, kind)
    }


def _largest(lines: Mapping[str, int]) -> str:
    name = max(lines, key=lambda name: lines[name])
    return f"{lines[name]} ({name})"


def parameters(function: Function) -> set[str]:
    """Names of a function's parameters, but for `self`, `cls`, `*args` and `**options`."""
    listed = function.args
    every = (*listed.posonlyargs, *listed.args, *listed.kwonlyargs)
    return {parameter.arg for parameter in every} - {"self", "cls"}


def passed_on(function: Function) -> dict[str, bool]:
    """Parameters whose every use, at least one, is to be an argument of a call, unchanged.

    The value says whether each of those arguments is a keyword of the same name.
    """
    nodes = [node for statement in function.body for node in ast.walk(statement)]
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    keywords = {id(k.value): k.arg for call in calls for k in call.keywords if k.arg}
    arguments = keywords | {id(a): None for call in calls for a in call.args}
    uses = {name: list[int]() for name in parameters(function)}
    for node in nodes:
        if isinstance(node, ast.Name) and node.id in uses:
            uses[node.id].append(id(node))
    return {
        name: all(arguments[use] == name for use in places)
        for name, places in uses.items()
        if places and arguments.keys() >= set(places)
    }


def bound_names(node: ast.AST) -> list[str]:
    """Names that a node gives to values, parameters, attributes, functions, classes and imports."""
    match node:
        case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
            return [name]
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
            return [name]
        case ast.MatchStar(name=str(name)) | ast.MatchMapping(rest=str(name)):
            return [name]
        case ast.arg(arg=name) | ast.alias(asname=str(name)):
            return [name]
    return []


# --- tables ----------------------------------------------------------------------------------


def table(columns: Mapping[str, Figures]) -> str:
    """Markdown tables, one for each section, with a column for each measurement."""
    sections = dict.fromkeys(section for figures in columns.values() for section in figures)
    return "\n".join(_section(name, columns) for name in sections)


def _section(section: str, columns: Mapping[str, Figures]) -> str:
    shown = [figures.get(section, {}) for figures in columns.values()]
    names = dict.fromkeys(name for rows in shown for name in rows)
    rows = [[name, *(_cell(figures.get(name, "–")) for figures in shown)] for name in names]
    heading = [[section, *columns], ["---", *("--:" for _ in columns)]]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in [*heading, *rows])


def _cell(figure: int | str) -> str:
    return f"{figure:,}" if isinstance(figure, int) else figure


def _counted(names: Iterable[str]) -> dict[str, int | str]:
    return dict(sorted(Counter(names).items()))


def main() -> None:
    """Print the tables of one tree, or of two measurements beside each other."""
    parser = argparse.ArgumentParser()
    parser.usage = "\n".join(line for line in (__doc__ or "").splitlines() if "house.py" in line)
    parser.add_argument("paths", nargs="*", type=Path, help="a tree, or two measurements")
    parser.add_argument("--json", type=Path, help="keep the measurement in this file")
    parser.add_argument("--ids", action="store_true", help="collect the tests and count them")
    parser.add_argument("--add", action="append", default=[], help="NAME=VALUE, measured elsewhere")
    arguments = parser.parse_args()
    if len(arguments.paths) == 2:
        print(table({path.stem: json.loads(path.read_text()) for path in arguments.paths}), end="")
        return
    tree = (arguments.paths or [Path()])[0].resolve()
    figures = measure(tree)
    if arguments.ids:
        figures["figures"]["tests collected, without `long`"] = collected(tree)
    figures["figures"] |= dict(line.split("=", 1) for line in arguments.add)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n")
    print(table({"figure": figures}), end="")


if __name__ == "__main__":
    main()
