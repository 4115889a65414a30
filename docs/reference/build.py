"""Build the API reference from the docstrings: `python docs/reference/build.py DIRECTORY`.

It covers what a program that uses the package, or adds an adapter to it, can call: not the command
line, and not the adapters of single engines (docs/adapters/). Warnings are errors.
"""

import sys
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pdoc.doc
import pdoc.render

from dr_pipelines.model import query

PUBLIC = (
    *("protocols", "errors", "model", "planning", "project", "repository", "live"),
    *("ingestion", "backup", "contents", "proof", "recovery", "upkeep", "monitoring", "testing"),
)
LONGEST_VALUE = 200  # characters; samples of the contract suites hold megabytes
# Types that exist for a type checker alone, so that pdoc cannot look them up.
UNRESOLVED = (
    ".*JsonValue",  # pydantic's JsonDict names a type that is imported nowhere
    r".*'itertools\.count' is not subscriptable",  # it is one in annotations only
)


def build(directory: Path) -> None:
    """Write the pages; raise for an annotation that cannot be resolved."""
    # pdoc has no limit of its own for the values that it shows
    whole = vars(pdoc.doc.Variable)["default_value_str"].func
    pdoc.doc.Variable.default_value_str = property(  # type: ignore[assignment, method-assign]
        lambda variable: _cut(whole(variable))
    )
    query.FloatArray = npt.NDArray[np.float32]  # a text at run time: NumPy is not imported for it
    pdoc.render.configure(docformat="markdown", show_source=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for message in UNRESOLVED:
            warnings.filterwarnings("ignore", message)
        pdoc.pdoc(*(f"dr_pipelines.{name}" for name in PUBLIC), output_directory=directory)


def _cut(value: str) -> str:
    return value if len(value) <= LONGEST_VALUE else f"{value[:LONGEST_VALUE]} …"


if __name__ == "__main__":
    build(Path(sys.argv[1]))
